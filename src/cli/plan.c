/* `kingman plan`: of many plans, the cheapest that sustains the load within the SLO. */
#include "planner/plan.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/overrides.h"
#include "cli/publish.h"
#include "report/plan_report.h"

#include <stdio.h>
#include <string.h>

#define ARGUMENTS "SCENARIO.yaml [options]"

struct flags {
    const char *json, *seed;
    uint32_t jobs;
    bool exhaustive, quick, all;
};

static void write_answer(const struct km_plan *plan, bool all, struct km_text *text, struct km_text *json)
{
    struct km_text scenario_json = {0};
    km_scenario_write_json(&plan->scenario, &scenario_json);
    const struct km_plan_report report = {
        .plan = plan, .scenario_json = km_text_c(&scenario_json), .version = KM_VERSION, .all = all};
    if (json)
        km_plan_report_json(&report, json);
    km_plan_report_text(&report, text);
    km_text_release(&scenario_json);
}

/* One search; *holding: some plan holds. Appends the answer. */
static enum km_status answer(const char *path, const struct km_cli_overrides *overrides,
                             const struct flags *flags, bool *holding, struct km_text *text,
                             struct km_text *json, struct km_error *error)
{
    struct km_progress progress;
    struct km_plan plan;
    const struct km_plan_options options = {.workers = flags->jobs,
                                            .exhaustive = flags->exhaustive,
                                            .quick = flags->quick,
                                            .watch = km_progress_watch(&progress)};
    km_progress_begin(&progress, stderr, "reading plans");
    enum km_status status = km_plan_create(path, overrides->items, overrides->count, &options, &plan, error);
    km_progress_end(&progress);
    if (status != KM_OK)
        return status;
    *holding = plan.holding > 0;
    write_answer(&plan, flags->all, text, flags->json ? json : NULL);
    km_plan_release(&plan);
    return KM_OK;
}

/* One load after the other: a table each, and a JSON object each in the list `loads`. */
static enum km_status answer_loads(const char *path, const struct km_cli_overrides *overrides,
                                   const struct flags *flags, const char *key, const char *const *values,
                                   uint32_t count, bool *holding, struct km_text *text, struct km_text *json,
                                   struct km_error *error)
{
    enum km_status status = KM_OK;
    *holding = true;
    km_text_puts(json, "{\"schema\": 1, \"loads\": [");
    for (uint32_t i = 0; i < count && status == KM_OK; i++) {
        struct km_cli_overrides with = *overrides;
        bool holds = false;
        km_cli_overrides_add(&with, key, values[i]);
        km_text_printf(text, "%s%s: %s\n\n", i ? "\n" : "", key, values[i]);
        km_text_puts(json, i ? ",\n" : "\n");
        status = answer(path, &with, flags, &holds, text, json, error);
        *holding = *holding && holds;
    }
    km_text_puts(json, "]}\n");
    return status;
}

static enum km_status plan(const char *path, const struct km_cli_overrides *overrides,
                           const struct flags *flags, bool *holding, struct km_error *error)
{
    struct km_arena arena = {0};
    struct km_scenario scenario;
    struct km_text text = {0}, json = {0};
    const char *key, *const *values;
    uint32_t count = 0;
    enum km_status status = km_scenario_read(path, overrides->items, overrides->count, &scenario, error);
    if (status != KM_OK)
        return status;
    status = km_search_loads(&scenario, &arena, &key, &values, &count, error);
    km_scenario_release(&scenario);
    if (status == KM_OK && count > 0)
        status = answer_loads(path, overrides, flags, key, values, count, holding, &text, &json, error);
    else if (status == KM_OK)
        status = answer(path, overrides, flags, holding, &text, &json, error);
    if (status == KM_OK)
        status = km_publish(flags->json, &json, &text, error);
    km_text_release(&text);
    km_text_release(&json);
    km_arena_release(&arena);
    return status;
}

static int run(int argc, char **argv, struct km_error *error)
{
    struct km_option_list sets = {0};
    struct flags flags = {0};
    const char *path = NULL;
    bool helped, holding = false;
    const struct km_option options[] = {
        {"--set", KM_OPTION_LIST, &sets, "KEY=VALUE", "override a key of the scenario; may be given again"},
        {"--json", KM_OPTION_TEXT, &flags.json, "FILE|-",
         "write every candidate as JSON; - prints it instead of the table"},
        {"--all", KM_OPTION_FLAG, &flags.all, NULL, "print every plan and every reason"},
        {"--exhaustive", KM_OPTION_FLAG, &flags.exhaustive, NULL,
         "simulate every plan that fits, whatever the bounds say (same winner, slower)"},
        {"--quick", KM_OPTION_FLAG, &flags.quick, NULL,
         "the winner's maximum rate to a few per cent, without its interval"},
        KM_JOBS_OPTION(&flags.jobs),
        {"--seed", KM_OPTION_TEXT, &flags.seed, "N", "instead of the scenario's seed"},
        {0},
    };
    enum km_status status = km_options_read(argc, argv, ARGUMENTS, options, &path, 1, &helped, error);
    if (status != KM_OK || helped)
        return km_exit_code(status);
    struct km_cli_overrides overrides;
    status = km_cli_overrides_read(&sets, &overrides, error);
    if (status != KM_OK)
        return km_exit_code(status);
    if (flags.seed)
        km_cli_overrides_add(&overrides, "seed", flags.seed);
    status = plan(path, &overrides, &flags, &holding, error);
    return km_exit_code(status == KM_OK && !holding ? KM_NO : status);
}

const struct km_command km_command_plan = {"plan", ARGUMENTS,
                                           "the cheapest plan that sustains a load within its SLO", run};
