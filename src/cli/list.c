/* `kingman list`: what there is to choose from. */
#include "base/suggest.h"
#include "batching/batching.h"
#include "cli/command.h"
#include "cost/cost.h"
#include "engine/flags.h"
#include "executor/executor.h"
#include "kv/kv.h"
#include "model/model.h"
#include "prediction/prediction.h"
#include "routing/routing.h"
#include "scaling/scaling.h"
#include "scenario/lookup.h"
#include "workload/trace/trace.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *what;
    const struct km_entry *const *registry; /* NULL: names of files */
    enum km_lookup_kind kind;
    const char *(*name)(size_t i); /* instead of files; NULL past the end */
} lists[] = {
    {"batching", km_batching_registry, 0, NULL},  {"kv", km_kv_registry, 0, NULL},
    {"routing", km_routing_registry, 0, NULL},    {"prediction", km_prediction_registry, 0, NULL},
    {"scaling", km_scaling_registry, 0, NULL},    {"cost", km_cost_registry, 0, NULL},
    {"executors", km_executor_registry, 0, NULL}, {"traces", km_trace_registry, 0, NULL},
    {"models", NULL, KM_LOOKUP_MODEL, NULL},      {"families", NULL, 0, km_model_family},
    {"devices", NULL, KM_LOOKUP_DEVICE, NULL},    {"engines", NULL, KM_LOOKUP_ENGINE, NULL},
    {"profiles", NULL, KM_LOOKUP_PROFILE, NULL},
};
#define LIST_COUNT (sizeof lists / sizeof lists[0])
#define ARGUMENTS                                                                                            \
    "batching|kv|routing|prediction|scaling|cost|executors|traces|models "                                   \
    "[--verbose]|families|devices|engines [--verbose]|profiles"

/* Its parameters, in all and for a token, beside what the name says; its layers and formats. */
static void print_model(const char *name, struct km_arena *arena)
{
    const char *path = km_lookup_find(KM_LOOKUP_MODEL, name, "", arena);
    struct km_model model;
    struct km_error error = {0};
    struct km_parameters parameters;
    double total, active;
    if (!path || km_model_read(path, arena, &model, &error) != KM_OK) {
        printf("%-21s %s\n", name, error.message);
        return;
    }
    km_model_parameters(&model, &parameters);
    km_model_name_parameters(name, &total, &active);
    printf("%-21s %8.2f G, %6.2f G a token", name, parameters.total / 1e9, parameters.active / 1e9);
    if (total > 0.0)
        printf(" (named %g G", total / 1e9);
    if (total > 0.0 && active > 0.0)
        printf(", %g G a token", active / 1e9);
    printf("%s; %u layers, %s as stored, %s\n", total > 0.0 ? ")" : "", model.layer_count,
           km_dtype_name(model.precision.weights), model.family);
}

/* What engines call their settings, and what those are called here. */
static void print_flags(void)
{
    for (const struct km_engine_flag *flag = km_engine_flags; flag->flag; flag++)
        printf("%-7s %-38s %s%s%s%s\n", flag->engine, flag->flag,
               flag->key ? flag->key : "not modelled: ", flag->key && flag->note ? " (" : "",
               flag->note ? flag->note : "", flag->key && flag->note ? ")" : "");
}

static int run(int argc, char **argv, struct km_error *error)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "--help") == 0 || strcmp(what, "-h") == 0) {
        puts("usage: kingman list " ARGUMENTS);
        return 0;
    }
    size_t i = 0;
    while (i < LIST_COUNT && strcmp(lists[i].what, what) != 0)
        i++;
    const bool verbose = argc == 3 && strcmp(argv[2], "--verbose") == 0;
    if (argc != 2 && !verbose)
        return km_exit_code(km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "usage: kingman list " ARGUMENTS));
    if (i == LIST_COUNT) {
        struct km_suggestion suggestion = {.word = what};
        for (size_t n = 0; n < LIST_COUNT; n++)
            km_suggest_offer(&suggestion, lists[n].what);
        return km_exit_code(km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "list: unknown word \"%s\"; %s%s", what,
                                    suggestion.best ? "did you mean " : "there are ",
                                    suggestion.best ? suggestion.best : ARGUMENTS));
    }
    if (verbose && (lists[i].registry || lists[i].name ||
                    (lists[i].kind != KM_LOOKUP_MODEL && lists[i].kind != KM_LOOKUP_ENGINE)))
        return km_exit_code(
            km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "list: only models and engines have --verbose"));
    if (lists[i].registry) {
        for (const struct km_entry *const *entry = lists[i].registry; *entry; entry++)
            printf("%-19s %s\n", (*entry)->name, (*entry)->summary);
        return 0;
    }
    for (size_t n = 0; lists[i].name && lists[i].name(n); n++)
        puts(lists[i].name(n));
    if (lists[i].name)
        return 0;
    struct km_arena arena = {0};
    const char *const *names;
    size_t count = km_lookup_names(lists[i].kind, &arena, &names);
    for (size_t n = 0; n < count; n++) {
        if (verbose && lists[i].kind == KM_LOOKUP_MODEL)
            print_model(names[n], &arena);
        else
            puts(names[n]);
    }
    if (verbose && lists[i].kind == KM_LOOKUP_ENGINE)
        print_flags();
    km_arena_release(&arena);
    return 0;
}

const struct km_command km_command_list = {"list", "WHAT",
                                           "names to choose from: policies, models, devices, ...", run};
