/* `kingman` under faults from outside (tests/faults/preload.c), in folders of its own: what was there before,
 * what the command would have made of it, and what there is now. */
#ifndef KM_TESTS_FAULTY_H
#define KM_TESTS_FAULTY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define MOST_OUTPUTS 6

/* A command that is asked under faults. */
struct subject {
    const char *name;      /* its folder, too */
    const char *arguments; /* of kingman, there; words are separated by single blanks */
    const char *outputs[MOST_OUTPUTS];
    bool resumes; /* a sweep: its file grows, and the same command goes on from there; else it is replaced */
};

extern const struct subject subjects[]; /* ends with a nameless one */

/* What is brought in; NULL: nothing of the kind. */
struct fault {
    const char *allocation, *call, *clock, *locale;
    bool counted; /* tell what there was, below */
};

struct ended {
    int code; /* 1000 + the signal that killed it */
    unsigned long allocations, calls, synced;
};

/* Group set-up and tear-down: every subject's folder under /tmp with its inputs, its outputs of another seed
 * ("before") and of its own
 * ("after") taken to memory. The set-up fails where faults cannot be brought in. */
int open_faulty_folders(void **state);
int close_faulty_folders(void **state);

pid_t begin_faulty(const struct subject *subject, const struct fault *fault);
struct ended finish_faulty(const struct subject *subject, pid_t child);
struct ended run_faulty(const struct subject *subject, const struct fault *fault);
const char *faulty_out(void); /* what the latest one wrote to stdout and to stderr; valid until the next */
const char *faulty_err(void);

/* The folder as before: the outputs of another seed; of a sweep, nothing. */
void stage(const struct subject *subject);

/* How the outputs are now: all of before, all of after, or - of several - on the way: each whole, and the
 * last, which seals them, not there. */
enum outputs { OUTPUTS_BEFORE, OUTPUTS_AFTER, OUTPUTS_MIXED, OUTPUTS_BROKEN };
enum outputs outputs_now(const struct subject *subject);
bool has_leftovers(const struct subject *subject); /* anything there beyond inputs and outputs? */

bool has_negative_times(const struct subject *subject); /* wall times, in the outputs or on stdout */

/* One line, ending in `end`. */
bool is_one_line(const char *text, const char *end);

/* Points to try of `count`, from 1 on at an even stride: as many as the environment's KM_FAULT_POINTS says,
 * else `usual`; "all". */
unsigned long point_stride(unsigned long count, unsigned long usual);

#endif
