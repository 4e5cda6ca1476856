/* Running `kingman` as its users do: exit code, stdout and stderr, in a folder of the test's own. */
#ifndef KM_TESTS_PROGRAM_H
#define KM_TESTS_PROGRAM_H

#include <stddef.h>

/* Group set-up and tear-down: a fresh folder under /tmp, in which the program runs, and its removal. */
int open_program_folder(void **state);
int close_program_folder(void **state);
const char *program_folder(void);

/* Files of that folder, by name. Owned by the caller; NULL when there is no such file. */
char *slurp(const char *name);
void put(const char *name, const char *text);

struct outcome {
    int code;
    char *out, *err; /* owned */
};

/* `kingman ARGUMENTS`, words and quotes as a shell reads them. A failed sanitizer exits 1 by itself, which
 * would pass for an answer: it is made to exit 99. */
struct outcome kingman(const char *arguments);
/* The same with `NAME=value` words of the environment before it. */
struct outcome kingman_in(const char *environment, const char *arguments);
void release(struct outcome *outcome);

size_t count_lines(const char *text);

#endif
