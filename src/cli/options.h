/* Command-line options from a declarative table. */
#ifndef KM_CLI_OPTIONS_H
#define KM_CLI_OPTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum km_option_kind {
    KM_OPTION_FLAG,   /* --name: target is bool * */
    KM_OPTION_TEXT,   /* --name VALUE or --name=VALUE: target is const char ** */
    KM_OPTION_COUNT,  /* a whole number: target is uint64_t * */
    KM_OPTION_NUMBER, /* a finite number: target is double * */
    KM_OPTION_LIST,   /* may be given again: target is struct km_option_list * */
    KM_OPTION_JOBS, /* --jobs N, or --workers N: target is uint32_t *, 0 = all cores, at most KM_JOBS_LIMIT */
};

#define KM_JOBS_LIMIT 4096u
/* The option itself, of every command that uses threads; the answer never depends on it. */
#define KM_JOBS_OPTION(target)                                                                               \
    {                                                                                                        \
        "--jobs", KM_OPTION_JOBS, target, "N", "threads; one a core by default (same result)"                \
    }

struct km_option_list {
    const char *items[256];
    size_t count;
};

struct km_option {
    const char *name; /* with its dashes; NULL ends the table */
    enum km_option_kind kind;
    void *target;
    const char *value_name; /* for the help; NULL for a flag */
    const char *help;
};

/* Read argv[1 ..]; the `positional_count` arguments that are not options go to `positionals`, and each must
 * be there. `--help` prints the usage to stdout and sets *helped. Unknown or repeated options, missing or bad
 * values: KM_BAD_INPUT. */
enum km_status km_options_read(int argc, char **argv, const char *arguments, const struct km_option *options,
                               const char **positionals, size_t positional_count, bool *helped,
                               struct km_error *error);

#endif
