/* `kingman run`: one scenario, simulated, into a table, JSON and CSV. */
#include "answer/describe.h"
#include "answer/run_output.h"
#include "base/progress.h"
#include "base/wall_clock.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/overrides.h"
#include "cli/publish.h"
#include "report/report.h"
#include "scenario/fleet.h"

#include <stdio.h>
#include <string.h>

#define ARGUMENTS "SCENARIO.yaml [options]"

struct flags {
    struct km_option_list sets;
    const char *output, *json;
    uint64_t seed;
    bool no_fast_forward;
    bool has_seed;
};

struct sinks {
    struct km_progress progress;
    struct km_run_output output;
};

static void request_ended(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct sinks *sinks = context;
    km_run_output_request(&sinks->output, outcome, record);
}

static void stepped(void *context, const struct km_step_record *record)
{
    struct sinks *sinks = context;
    km_run_output_step(&sinks->output, record);
}

static void replica_ended(void *context, const struct km_replica_result *result)
{
    struct sinks *sinks = context;
    km_run_output_replica(&sinks->output, result);
}

static void resized(void *context, const struct km_group_size *size)
{
    struct sinks *sinks = context;
    km_run_output_resized(&sinks->output, size);
}

static void show_progress(void *context, double share, uint64_t requests)
{
    struct sinks *sinks = context;
    (void)requests;
    km_progress_update(&sinks->progress, share);
}

static enum km_status publish(const struct flags *flags, const struct km_report *report, struct sinks *sinks,
                              struct km_error *error)
{
    struct km_text json = {0}, table = {0};
    km_report_json(report, &json);
    km_report_text(report, &table);
    const bool json_only = flags->json && strcmp(flags->json, "-") == 0;
    enum km_status status =
        km_run_output_commit(&sinks->output, &json, json_only ? NULL : flags->json, error);
    if (status == KM_OK)
        status = km_publish(json_only ? "-" : NULL, &json, &table, error);
    km_text_release(&json);
    km_text_release(&table);
    return status;
}

static enum km_status simulate(const struct km_scenario *scenario, const struct flags *flags, int *code,
                               struct km_error *error)
{
    struct km_fleet fleet = {0};
    struct sinks sinks = {0};
    struct km_run_result result;
    struct km_text scenario_json = {0};
    struct km_arena arena = {0};
    struct km_error failure = {0};
    uint64_t seed = scenario->seed;
    enum km_status status = km_fleet_create(scenario, &fleet, error);
    if (status == KM_OK)
        status = km_run_output_open(&sinks.output, flags->output, error);
    if (status != KM_OK)
        goto out;

    const struct km_run_options options = {.fast_forward = !flags->no_fast_forward,
                                           .ended = request_ended,
                                           .stepped = flags->output ? stepped : NULL,
                                           .replica_ended = replica_ended,
                                           .resized = resized,
                                           .context = &sinks,
                                           .progress = show_progress,
                                           .stop = &km_interrupted};
    km_interrupt_catch();
    double start_s = km_wall_now_s();
    km_progress_begin(&sinks.progress, stderr, "simulating");
    const enum km_status ran = km_fleet_run(&fleet, &scenario->workload, seed, &options, &result, &failure);
    km_progress_end(&sinks.progress);
    double wall_s = km_wall_now_s() - start_s;
    km_interrupt_release();
    status = ran == KM_FAILED ? KM_OK : ran; /* what was done so far is told */
    if (status != KM_OK)
        *error = failure;
    if (status == KM_OK && result.summary.submitted == 0 && !result.simulation.stopped)
        status =
            km_fail(error, KM_BAD_INPUT, scenario->workload.trace ? scenario->workload.trace : scenario->path,
                    0, 0, "the workload has no requests");
    if (status != KM_OK)
        goto out;

    struct km_report report;
    km_scenario_write_json(scenario, &scenario_json);
    km_describe_run(&fleet, &result, km_text_c(&scenario_json), seed, wall_s, &arena, &report);
    status = km_describe_accuracy(scenario, &arena, &report.accuracy, &report.accuracy_count, error);
    if (status != KM_OK)
        goto out;
    km_run_output_list(&sinks.output, &report);
    status = publish(flags, &report, &sinks, error);
    if (status == KM_OK && ran == KM_FAILED)
        *error = failure;
    *code = ran == KM_FAILED            ? km_exit_code(KM_FAILED)
            : result.simulation.stopped ? km_exit_code(KM_INTERRUPTED)
            : result.summary.refused || (result.summary.slo_stated && !result.summary.slo_attained)
                ? km_exit_code(KM_NO)
                : 0;
out:
    km_run_output_abort(&sinks.output);
    km_fleet_release(&fleet);
    km_text_release(&scenario_json);
    km_arena_release(&arena);
    return status;
}

static int run(int argc, char **argv, struct km_error *error)
{
    struct flags flags = {0};
    const char *path = NULL, *seed = NULL;
    const struct km_option options[] = {
        {"--set", KM_OPTION_LIST, &flags.sets, "KEY=VALUE",
         "override a key of the scenario; may be given again"},
        {"--json", KM_OPTION_TEXT, &flags.json, "FILE|-",
         "write the result as JSON; - prints it instead of the table"},
        {"--output", KM_OPTION_TEXT, &flags.output, "DIR",
         "write requests.csv, steps.csv, replicas.csv, fleet.csv and result.json there"},
        {"--seed", KM_OPTION_TEXT, &seed, "N", "instead of the scenario's seed"},
        {"--no-fast-forward", KM_OPTION_FLAG, &flags.no_fast_forward, NULL,
         "take every step singly (same results, slower)"},
        {0},
    };
    bool helped;
    enum km_status status = km_options_read(argc, argv, ARGUMENTS, options, &path, 1, &helped, error);
    if (status != KM_OK || helped)
        return km_exit_code(status);

    struct km_cli_overrides overrides;
    status = km_cli_overrides_read(&flags.sets, &overrides, error);
    if (status != KM_OK)
        return km_exit_code(status);
    if (seed)
        km_cli_overrides_add(&overrides, "seed", seed);

    struct km_scenario scenario;
    status = km_scenario_read(path, overrides.items, overrides.count, &scenario, error);
    if (status != KM_OK)
        return km_exit_code(status);
    int code = 0;
    status = simulate(&scenario, &flags, &code, error);
    km_scenario_release(&scenario);
    return status == KM_OK ? code : km_exit_code(status);
}

const struct km_command km_command_run = {"run", ARGUMENTS,
                                          "replay or draw a workload through simulated replicas", run};
