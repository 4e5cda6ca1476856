/* kingman: a capacity-planning simulator for batched LLM serving. */
#include "cli/command.h"

#include "base/memory.h"
#include "base/suggest.h"
#include "cli/interrupt.h"

#include <stdio.h>
#include <string.h>

extern const struct km_command km_command_run, km_command_plan, km_command_advise, km_command_sweep,
    km_command_explain, km_command_queue, km_command_trace, km_command_calibrate, km_command_accuracy,
    km_command_list;

static const struct km_command *const commands[] = {
    &km_command_run,
    &km_command_plan,
    &km_command_advise,
    &km_command_sweep,
    &km_command_explain,
    &km_command_queue,
    &km_command_trace,
    &km_command_calibrate,
    &km_command_accuracy,
    &km_command_list,
    NULL,
};

static void usage(FILE *stream)
{
    fputs("usage: kingman COMMAND ...\n\n", stream);
    for (size_t i = 0; commands[i]; i++)
        fprintf(stream, "  kingman %-9s %-28s %s\n", commands[i]->name, commands[i]->arguments,
                commands[i]->summary);
    fputs("\nkingman COMMAND --help tells more.\n", stream);
}

/* What was printed must have arrived, else it is no answer. */
static int finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fputs("cannot write to stdout\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    km_memory_guard_libraries();
    km_interrupt_guard();
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return finish(0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("kingman " KM_VERSION);
        return finish(0);
    }
    struct km_suggestion suggestion = {.word = argv[1]};
    for (size_t i = 0; commands[i]; i++) {
        km_suggest_offer(&suggestion, commands[i]->name);
        if (strcmp(commands[i]->name, argv[1]) != 0)
            continue;
        struct km_error error = {0};
        int code = commands[i]->run(argc - 1, argv + 1, &error);
        if (error.status != KM_OK) {
            char line[1200];
            km_error_format(&error, line, sizeof line);
            fprintf(stderr, "%s\n", line);
            return km_exit_code(error.status);
        }
        return finish(code);
    }
    fprintf(stderr, "unknown command \"%s\"%s%s%s\n", argv[1],
            suggestion.best ? "; did you mean " : " (kingman --help lists them)",
            suggestion.best ? suggestion.best : "", suggestion.best ? "?" : "");
    return 2;
}
