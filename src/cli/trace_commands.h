/* The parts of `kingman trace`; each takes the arguments after its own name and returns the exit code, or -1
 * with `error` filled. Private to trace*.c. */
#ifndef KM_CLI_TRACE_COMMANDS_H
#define KM_CLI_TRACE_COMMANDS_H

#include "base/error.h"
#include "base/file.h"

/* The whole subcommand: argv[0] is "trace". Returns the exit code; on bad input fills `error` and returns 2.
 */
int km_trace_main(int argc, char **argv, struct km_error *error);

int km_trace_inspect(int argc, char **argv, struct km_error *error);
int km_trace_fit(int argc, char **argv, struct km_error *error);
int km_trace_convert(int argc, char **argv, struct km_error *error);
int km_trace_generate(int argc, char **argv, struct km_error *error);

/* One option "--name VALUE" or "--name=VALUE" of a part. */
struct km_trace_option {
    const char *name;  /* with its dashes; NULL ends the table */
    const char *help;  /* what the value is, for messages: "a number", "kingman, azure or mooncake" */
    const char *value; /* filled; NULL = not given */
};

/* Fill options and up to `position_count` positional arguments, all of which must be there. */
enum km_status km_trace_options(int argc, char **argv, struct km_trace_option *options,
                                const char **positions, const char *const *position_names, int position_count,
                                struct km_error *error);

/* An output file, or stdout for "-". */
enum km_status km_trace_output_open(struct km_outfile *file, const char *path, FILE **stream,
                                    struct km_error *error);
/* Close it: keep it if `status` is ok, else remove it; returns `status` or what went wrong in closing. */
enum km_status km_trace_output_close(struct km_outfile *file, enum km_status status, struct km_error *error);

#endif
