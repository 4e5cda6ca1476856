#include "cli/trace_commands.h"

#include <stdio.h>
#include <string.h>

enum km_status km_trace_output_open(struct km_outfile *file, const char *path, FILE **stream,
                                    struct km_error *error)
{
    *file = (struct km_outfile){0};
    if (strcmp(path, "-") == 0) {
        *stream = stdout;
        return KM_OK;
    }
    enum km_status status = km_outfile_open(file, path, error);
    *stream = file->stream;
    return status;
}

enum km_status km_trace_output_close(struct km_outfile *file, enum km_status status, struct km_error *error)
{
    if (status != KM_OK)
        km_outfile_abort(file);
    else if (file->stream)
        return km_outfile_commit(file, error);
    else if (fflush(stdout) != 0 || ferror(stdout))
        return km_fail(error, KM_IO, NULL, 0, 0, "cannot write to stdout");
    return status;
}
