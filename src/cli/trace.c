#include "cli/command.h"
#include "cli/trace_commands.h"

#include "base/suggest.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const struct km_command *const parts[] = {
    &km_trace_inspect,
    &km_trace_convert,
    &km_trace_generate,
    &km_trace_fit,
};
#define PART_COUNT (sizeof parts / sizeof parts[0])

/* A part's own name, behind "trace ". */
static const char *part_name(const struct km_command *part)
{
    return strchr(part->name, ' ') + 1;
}

static int print_usage(void)
{
    puts("usage:");
    for (size_t i = 0; i < PART_COUNT; i++)
        printf("  kingman %-14s  %s\n", parts[i]->name, parts[i]->summary);
    puts("\nTraces are kingman or Azure CSV or Mooncake JSONL, told apart by their first line.\n"
         "kingman trace PART --help tells more.");
    return 0;
}

int km_trace_main(int argc, char **argv, struct km_error *error)
{
    if (argc < 2) {
        km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                "trace: expected inspect, convert, generate or fit (kingman trace --help)");
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_usage();
    struct km_suggestion suggestion = {.word = argv[1]};
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (strcmp(argv[1], part_name(parts[i])) == 0) {
            argv[1] = (char *)(uintptr_t)parts[i]->name; /* for usage lines; never written to */
            return parts[i]->run(argc - 1, argv + 1, error);
        }
        km_suggest_offer(&suggestion, part_name(parts[i]));
    }
    km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "trace: unknown part \"%s\"%s%s%s", argv[1],
            suggestion.best ? "; did you mean " : " (there are inspect, convert, generate, fit)",
            suggestion.best ? suggestion.best : "", suggestion.best ? "?" : "");
    return 2;
}

extern const struct km_command km_command_trace; /* for main.c */
const struct km_command km_command_trace = {"trace", "inspect|convert|generate|fit ...",
                                            "look at, convert and make traces of requests", km_trace_main};
