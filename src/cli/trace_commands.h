/* The parts of `kingman trace`, each a command of its own whose argv[0] is "trace PART". Private to trace*.c
 * and their tests. */
#ifndef KM_CLI_TRACE_COMMANDS_H
#define KM_CLI_TRACE_COMMANDS_H

#include "base/error.h"
#include "base/outfile.h"
#include "cli/command.h"

int km_trace_main(int argc, char **argv, struct km_error *error); /* the whole: argv[0] is "trace" */

extern const struct km_command km_trace_inspect, km_trace_fit, km_trace_convert, km_trace_generate;

/* An output file, or stdout for "-". */
enum km_status km_trace_output_open(struct km_outfile *file, const char *path, FILE **stream,
                                    struct km_error *error);
/* Close it: keep it if `status` is ok, else remove it; returns `status` or what went wrong in closing. */
enum km_status km_trace_output_close(struct km_outfile *file, enum km_status status, struct km_error *error);

#endif
