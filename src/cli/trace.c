#include "cli/command.h"
#include "cli/trace_commands.h"

#include "base/suggest.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv, struct km_error *error);
} parts[] = {
    {"inspect", km_trace_inspect},
    {"convert", km_trace_convert},
    {"generate", km_trace_generate},
    {"fit", km_trace_fit},
};
#define PART_COUNT (sizeof parts / sizeof parts[0])

static const char usage[] =
    "usage: kingman trace inspect  FILE [--json FILE|-]\n"
    "       kingman trace convert  IN OUT --to kingman|azure|mooncake\n"
    "       kingman trace generate OUT --requests N --arrivals A --prompt-tokens D --output-tokens D\n"
    "                              [--seed N] [--rate-scale X] [--end-s S] [--to FORMAT]\n"
    "                              [--turns D --turn-gap-s D [--system-prompt-tokens N] [--max-prompt-tokens "
    "N]]\n"
    "       kingman trace fit      FILE\n"
    "\n"
    "FILE is a kingman or Azure CSV or a Mooncake JSONL trace, found by its first line; OUT may be - for "
    "stdout.\n"
    "A is process=poisson|gamma|weibull|constant,rate_per_s=R[,cv=C]; D is a number or "
    "distribution=NAME,key=value,...\n"
    "as in a scenario, for example distribution=lognormal,mean=1020,sd=980,max=14000. --turns makes "
    "conversations:\n"
    "A is then the arrival of sessions, --prompt-tokens the length of each new message.\n";

enum km_status km_trace_options(int argc, char **argv, struct km_trace_option *options,
                                const char **positions, const char *const *position_names, int position_count,
                                struct km_error *error)
{
    int position = 0;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || word[1] == '\0') {
            if (position == position_count)
                return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "unexpected argument \"%s\"", word);
            positions[position++] = word;
            continue;
        }
        const char *equals = strchr(word, '=');
        size_t length = equals ? (size_t)(equals - word) : strlen(word);
        struct km_suggestion suggestion = {.word = word};
        struct km_trace_option *option = options;
        for (; option->name; option++) {
            if (strlen(option->name) == length && strncmp(option->name, word, length) == 0)
                break;
            km_suggest_offer(&suggestion, option->name);
        }
        if (!option->name)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "unknown option %s%s%s%s", word,
                           suggestion.best ? "; did you mean " : "", suggestion.best ? suggestion.best : "",
                           suggestion.best ? "?" : "");
        if (option->value)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: given twice", option->name);
        if (!equals && i + 1 == argc)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: expected %s after it", option->name,
                           option->help);
        option->value = equals ? equals + 1 : argv[++i];
    }
    if (position < position_count)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s is missing", position_names[position]);
    return KM_OK;
}

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

int km_trace_main(int argc, char **argv, struct km_error *error)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        if (argc >= 2)
            return fputs(usage, stdout) < 0 ? 2 : 0;
        km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                "trace: expected inspect, convert, generate or fit (kingman trace --help)");
        return 2;
    }
    struct km_suggestion suggestion = {.word = argv[1]};
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (strcmp(argv[1], parts[i].name) == 0) {
            int code = parts[i].run(argc - 2, argv + 2, error);
            return code < 0 ? 2 : code;
        }
        km_suggest_offer(&suggestion, parts[i].name);
    }
    km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "trace: unknown part \"%s\"%s%s%s", argv[1],
            suggestion.best ? "; did you mean " : " (there are inspect, convert, generate, fit)",
            suggestion.best ? suggestion.best : "", suggestion.best ? "?" : "");
    return 2;
}

const struct km_command km_command_trace = {"trace", "inspect|convert|generate|fit ...",
                                            "what a trace holds; convert, draw and fit traces", km_trace_main};
