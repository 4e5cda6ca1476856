/* Subcommands: one file each, ending in one const entry that main.c lists. */
#ifndef KM_CLI_COMMAND_H
#define KM_CLI_COMMAND_H

#include "base/error.h"

struct km_command {
    const char *name;
    const char *arguments; /* for the usage line */
    const char *summary;
    /* argv[0] is the command's name. Returns the exit code; when `error` is filled, main() prints it and its
     * status decides. */
    int (*run)(int argc, char **argv, struct km_error *error);
};

/* Exit code of a failure. */
int km_exit_code(enum km_status status);

#endif
