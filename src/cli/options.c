#include "cli/options.h"

#include "base/suggest.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(const char *command, const char *arguments, const struct km_option *options)
{
    printf("usage: kingman %s %s\n\n", command, arguments);
    for (; options->name; options++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", options->name, options->value_name ? " " : "",
                 options->value_name ? options->value_name : "");
        printf("  %-26s %s\n", left, options->help);
    }
}

/* What --jobs was called in some commands. */
#define JOBS_ALIAS "--workers"

static bool is_called(const char *name, const char *word, size_t length)
{
    return strlen(name) == length && strncmp(name, word, length) == 0;
}

static const struct km_option *find(const struct km_option *options, const char *word, size_t length,
                                    struct km_suggestion *suggestion)
{
    for (; options->name; options++) {
        if (is_called(options->name, word, length) ||
            (options->kind == KM_OPTION_JOBS && is_called(JOBS_ALIAS, word, length)))
            return options;
        km_suggest_offer(suggestion, options->name);
    }
    return NULL;
}

static enum km_status store(const struct km_option *option, const char *value, struct km_error *error)
{
    char *end = NULL;
    errno = 0;
    if (option->kind == KM_OPTION_TEXT && !*value)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: expected %s, got nothing", option->name,
                       option->value_name);
    if (option->kind == KM_OPTION_TEXT) {
        *(const char **)option->target = value;
    } else if (option->kind == KM_OPTION_LIST) {
        struct km_option_list *list = option->target;
        if (list->count == sizeof list->items / sizeof list->items[0])
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: given more than %zu times", option->name,
                           list->count);
        list->items[list->count++] = value;
    } else if (option->kind == KM_OPTION_COUNT || option->kind == KM_OPTION_JOBS) {
        unsigned long long number = strtoull(value, &end, 10);
        if (errno || end == value || *end || value[0] < '0' || value[0] > '9')
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: expected a whole number, got \"%s\"",
                           option->name, value);
        if (option->kind == KM_OPTION_COUNT) {
            *(uint64_t *)option->target = number;
            return KM_OK;
        }
        if (number > KM_JOBS_LIMIT)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: at most %u", option->name, KM_JOBS_LIMIT);
        *(uint32_t *)option->target = (uint32_t)number;
    } else {
        double number = strtod(value, &end);
        if (errno || end == value || *end || !isfinite(number))
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: expected a number, got \"%s\"", option->name,
                           value);
        *(double *)option->target = number;
    }
    return KM_OK;
}

enum km_status km_options_read(int argc, char **argv, const char *arguments, const struct km_option *options,
                               const char **positionals, size_t positional_count, bool *helped,
                               struct km_error *error)
{
    size_t positional = 0;
    uint64_t seen = 0;
    *helped = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_help(argv[0], arguments, options);
            *helped = true;
            return KM_OK;
        }
        if (word[0] != '-' || word[1] == '\0') {
            if (positional == positional_count)
                return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                               "unexpected argument \"%s\"; usage: kingman %s %s", word, argv[0], arguments);
            positionals[positional++] = word;
            continue;
        }
        const char *equals = strchr(word, '=');
        struct km_suggestion suggestion = {.word = word};
        const struct km_option *option =
            find(options, word, equals ? (size_t)(equals - word) : strlen(word), &suggestion);
        if (!option)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "unknown option %s%s%s%s", word,
                           suggestion.best ? "; did you mean " : "", suggestion.best ? suggestion.best : "",
                           suggestion.best ? "?" : "");
        uint64_t bit = (uint64_t)1 << (option - options);
        if (seen & bit && option->kind != KM_OPTION_LIST)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: given twice", option->name);
        seen |= bit;
        if (option->kind == KM_OPTION_FLAG) {
            if (equals)
                return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: takes no value", option->name);
            *(bool *)option->target = true;
            continue;
        }
        if (!equals && i + 1 == argc)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: expected %s after it", option->name,
                           option->value_name);
        enum km_status status = store(option, equals ? equals + 1 : argv[++i], error);
        if (status != KM_OK)
            return status;
    }
    if (positional < positional_count)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "missing argument; usage: kingman %s %s", argv[0],
                       arguments);
    return KM_OK;
}
