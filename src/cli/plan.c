/* `kingman plan`: of many plans, the cheapest that sustains the load within the SLO. */
#include "planner/plan.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/overrides.h"
#include "cli/publish.h"
#include "report/plan_report.h"

#include <stdio.h>
#include <string.h>

#define ARGUMENTS "SCENARIO.yaml [options]"

static enum km_status publish(const struct km_plan *plan, const char *json_path, bool all,
                              struct km_error *error)
{
    struct km_text scenario_json = {0}, text = {0}, json = {0};
    km_scenario_write_json(&plan->scenario, &scenario_json);
    const struct km_plan_report report = {
        .plan = plan, .scenario_json = km_text_c(&scenario_json), .version = KM_VERSION, .all = all};
    if (json_path)
        km_plan_report_json(&report, &json);
    km_plan_report_text(&report, &text);
    enum km_status status = km_publish(json_path, &json, &text, error);
    km_text_release(&scenario_json);
    km_text_release(&text);
    km_text_release(&json);
    return status;
}

static int run(int argc, char **argv, struct km_error *error)
{
    struct km_option_list sets = {0};
    const char *path = NULL, *json = NULL, *seed = NULL;
    uint32_t jobs = 0;
    bool exhaustive = false, quick = false, all = false, helped;
    const struct km_option options[] = {
        {"--set", KM_OPTION_LIST, &sets, "KEY=VALUE", "override a key of the scenario; may be given again"},
        {"--json", KM_OPTION_TEXT, &json, "FILE|-",
         "write every candidate as JSON; - prints it instead of the table"},
        {"--all", KM_OPTION_FLAG, &all, NULL, "print every plan and every reason"},
        {"--exhaustive", KM_OPTION_FLAG, &exhaustive, NULL,
         "simulate every plan that fits, whatever the bounds say (same winner, slower)"},
        {"--quick", KM_OPTION_FLAG, &quick, NULL,
         "the winner's maximum rate to a few per cent, without its interval"},
        KM_JOBS_OPTION(&jobs),
        {"--seed", KM_OPTION_TEXT, &seed, "N", "instead of the scenario's seed"},
        {0},
    };
    enum km_status status = km_options_read(argc, argv, ARGUMENTS, options, &path, 1, &helped, error);
    if (status != KM_OK || helped)
        return km_exit_code(status);
    struct km_cli_overrides overrides;
    status = km_cli_overrides_read(&sets, &overrides, error);
    if (status != KM_OK)
        return km_exit_code(status);
    if (seed)
        km_cli_overrides_add(&overrides, "seed", seed);

    struct km_progress progress;
    struct km_plan plan;
    const struct km_plan_options plan_options = {.workers = jobs,
                                                 .exhaustive = exhaustive,
                                                 .quick = quick,
                                                 .stop = &km_interrupted,
                                                 .watch = km_progress_watch(&progress)};
    km_interrupt_catch();
    km_progress_begin(&progress, stderr, "reading plans");
    status = km_plan_create(path, overrides.items, overrides.count, &plan_options, &plan, error);
    km_progress_end(&progress);
    km_interrupt_release();
    if (status != KM_OK)
        return km_exit_code(status);
    int code = plan.holding ? 0 : km_exit_code(KM_NO);
    status = publish(&plan, json, all, error);
    km_plan_release(&plan);
    return status == KM_OK ? code : km_exit_code(status);
}

const struct km_command km_command_plan = {"plan", ARGUMENTS,
                                           "the cheapest plan that sustains a load within its SLO", run};
