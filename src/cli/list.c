/* `kingman list`: what there is to choose from. */
#include "base/suggest.h"
#include "batching/batching.h"
#include "cli/command.h"
#include "cost/cost.h"
#include "executor/executor.h"
#include "kv/kv.h"
#include "routing/routing.h"
#include "scaling/scaling.h"
#include "scenario/lookup.h"
#include "workload/trace.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *what;
    const struct km_entry *const *registry; /* NULL: names of files */
    enum km_lookup_kind kind;
} lists[] = {
    {"batching", km_batching_registry, 0}, {"kv", km_kv_registry, 0},
    {"routing", km_routing_registry, 0},   {"scaling", km_scaling_registry, 0},
    {"cost", km_cost_registry, 0},         {"executors", km_executor_registry, 0},
    {"traces", km_trace_registry, 0},      {"models", NULL, KM_LOOKUP_MODEL},
    {"devices", NULL, KM_LOOKUP_DEVICE},   {"engines", NULL, KM_LOOKUP_ENGINE},
    {"profiles", NULL, KM_LOOKUP_PROFILE},
};
#define LIST_COUNT (sizeof lists / sizeof lists[0])
#define ARGUMENTS  "batching|kv|routing|scaling|cost|executors|traces|models|devices|engines|profiles"

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
    if (argc != 2)
        return km_exit_code(km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "usage: kingman list " ARGUMENTS));
    if (i == LIST_COUNT) {
        struct km_suggestion suggestion = {.word = what};
        for (size_t n = 0; n < LIST_COUNT; n++)
            km_suggest_offer(&suggestion, lists[n].what);
        return km_exit_code(km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "list: unknown word \"%s\"; %s%s", what,
                                    suggestion.best ? "did you mean " : "there are ",
                                    suggestion.best ? suggestion.best : ARGUMENTS));
    }
    if (lists[i].registry) {
        for (const struct km_entry *const *entry = lists[i].registry; *entry; entry++)
            printf("%-19s %s\n", (*entry)->name, (*entry)->summary);
        return 0;
    }
    struct km_arena arena = {0};
    const char *const *names;
    size_t count = km_lookup_names(lists[i].kind, &arena, &names);
    for (size_t n = 0; n < count; n++)
        puts(names[n]);
    km_arena_release(&arena);
    return 0;
}

const struct km_command km_command_list = {"list", "WHAT",
                                           "names to choose from: policies, models, devices, ...", run};
