/* `kingman calibrate --from-steps`: the parameters of an engine description from a running engine's step log.
 */
#include "answer/steps_report.h"

#include "base/outfile.h"
#include "base/progress.h"
#include "cli/calibrate_commands.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/overrides.h"
#include "cli/publish.h"
#include "scenario/lookup.h"
#include "scenario/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ARGUMENTS                                                                                            \
    "--from-steps STEPS.csv [--requests REQUESTS.csv] --scenario FILE [--output ENGINE.yaml] [--json "       \
    "FILE|-]"

struct flags {
    struct km_option_list logs, requests, sets;
    const char *scenario, *output, *json;
};

struct recording {
    struct km_step_log *logs;          /* [count] */
    struct km_step_requests *requests; /* [count], all zero without */
    struct km_recorded_run *runs;      /* [count] */
    struct km_step_price **prices;     /* [count][steps], by the engine as described */
    struct km_steps_source *sources;   /* [count] */
    struct km_step_windows windows;
    size_t count;
};

static enum km_status check(const struct km_scenario *scenario, const struct km_recorded_run *runs,
                            const struct km_step_log *logs, size_t count, struct km_error *error)
{
    if (scenario->cluster.pipeline_parallel_size > 1 || scenario->cluster.data_parallel_size > 1)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "--from-steps: with pipeline or data parallelism a log does not say what each rank "
                       "computed; use one with tensor parallelism alone");
    if (strcmp(scenario->cost_model, "linear") == 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "--from-steps: cost model linear knows no engine; use roofline or profile");
    for (size_t i = 0; i < count; i++)
        if (logs[i].summed && scenario->engine.async_scheduling)
            return km_fail(error, KM_BAD_INPUT, runs[i].path, 1, 0,
                           "no column \"time_s\": under asynchronous scheduling elapsed_ms is not a step's "
                           "length (engine.batching.async_scheduling)");
    return KM_OK;
}

static enum km_status read_recording(const struct flags *flags, const struct km_setup *setup,
                                     struct recording *r, struct km_error *error)
{
    const struct km_engine *engine = &setup->scenario->engine;
    const struct km_recorded_limits limits = {.kv_tokens = (double)setup->blocks * engine->block_size,
                                              .block_size = engine->block_size};
    enum km_status status = KM_OK;
    r->count = flags->logs.count;
    r->logs = km_alloc(r->count * sizeof *r->logs);
    r->requests = km_alloc(r->count * sizeof *r->requests);
    r->runs = km_alloc(r->count * sizeof *r->runs);
    r->prices = km_alloc(r->count * sizeof *r->prices);
    r->sources = km_alloc(r->count * sizeof *r->sources);
    for (size_t i = 0; i < r->count && status == KM_OK; i++) {
        const char *requests = flags->requests.count ? flags->requests.items[i] : NULL;
        status = km_step_log_read(flags->logs.items[i], &r->logs[i], error);
        if (status == KM_OK && requests)
            status = km_step_requests_read(requests, &r->requests[i], error);
        if (status == KM_OK)
            status = km_recorded_run_make(&r->logs[i], requests ? &r->requests[i] : NULL, &limits,
                                          &r->runs[i], error);
        if (status != KM_OK)
            break;
        r->prices[i] = km_alloc(r->runs[i].count * sizeof *r->prices[i]);
        r->sources[i] = (struct km_steps_source){
            .log = flags->logs.items[i], .requests = requests, .steps = r->runs[i].count};
    }
    return status;
}

static enum km_status find_windows(const struct km_setup *setup, struct recording *r, struct km_error *error)
{
    enum km_status status =
        km_steps_price(setup->cost, &setup->cost_config, r->runs, r->count, r->prices, error);
    for (size_t i = 0; i < r->count && status == KM_OK; i++) {
        struct km_steps_source *source = &r->sources[i];
        size_t before = r->windows.count;
        source->used = km_step_windows_add(&r->windows, &r->runs[i], (uint32_t)i, &setup->scenario->engine,
                                           r->prices[i], &source->bunched);
        source->windows = r->windows.count - before;
    }
    return status;
}

static void release(struct recording *r)
{
    for (size_t i = 0; i < r->count; i++) {
        km_recorded_run_release(&r->runs[i]);
        free(r->prices[i]);
        km_step_log_release(&r->logs[i]);
        km_step_requests_release(&r->requests[i]);
    }
    free(r->logs);
    free(r->requests);
    free(r->runs);
    free(r->prices);
    free(r->sources);
    free(r->windows.items);
}

/* The file behind the scenario's engine: named in an option or in the scenario. */
static const char *engine_path(const struct flags *flags, const struct km_scenario *scenario,
                               struct km_arena *arena)
{
    const char *name = NULL, prefix[] = "engine.name=";
    struct km_yaml *root;
    for (size_t i = 0; i < flags->sets.count; i++)
        if (strncmp(flags->sets.items[i], prefix, strlen(prefix)) == 0)
            name = flags->sets.items[i] + strlen(prefix);
    if (!name && km_yaml_read(flags->scenario, arena, &root, NULL) == KM_OK) {
        const struct km_yaml *node = km_yaml_get(km_yaml_get(root, "engine"), "name");
        name = node && node->kind == KM_YAML_SCALAR ? node->text : NULL;
    }
    return km_lookup_find(KM_LOOKUP_ENGINE, name ? name : scenario->engine.name,
                          km_lookup_folder(flags->scenario, arena), arena);
}

static enum km_status write_engine(const struct flags *flags, const struct km_steps_report *report,
                                   struct km_error *error)
{
    struct km_arena arena = {0};
    struct km_text text = {0};
    const char *slash = strrchr(flags->output, '/'), *file = slash ? slash + 1 : flags->output;
    const char *base = engine_path(flags, report->scenario, &arena);
    char *name = km_arena_strdup(&arena, file), *end = strstr(name, ".yaml");
    enum km_status status = KM_OK;
    if (!end || end == name || end[strlen(".yaml")] != '\0')
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                         "--output: an engine description is called NAME.yaml, got \"%s\"", flags->output);
    else if (!base)
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--output: no file of engine \"%s\" to start from",
                         report->scenario->engine.name);
    if (status == KM_OK) {
        *end = '\0';
        status = km_steps_report_engine(report, base, name, &text, error);
    }
    if (status == KM_OK)
        status = km_file_write(flags->output, &text, error);
    km_text_release(&text);
    km_arena_release(&arena);
    return status;
}

static enum km_status write_report(const struct flags *flags, const struct km_steps_report *report,
                                   struct km_error *error)
{
    struct km_text json = {0}, table = {0};
    km_steps_report_json(report, &json);
    km_steps_report_text(report, &table);
    enum km_status status = km_publish(flags->json, &json, &table, error);
    if (status == KM_OK && flags->output)
        status = write_engine(flags, report, error);
    km_text_release(&json);
    km_text_release(&table);
    return status;
}

static struct km_launch_layers layers_of(const struct km_scenario *scenario)
{
    const struct km_layout layout = km_scenario_layout(scenario);
    uint32_t first, count;
    km_layout_stage(&scenario->model, &layout, 0, &first, &count);
    return km_launch_layers(&scenario->model, &scenario->precision, first, count);
}

static enum km_status calibrate(const struct flags *flags, const struct km_scenario *scenario,
                                struct km_error *error)
{
    struct km_setup setup;
    struct recording recording = {0};
    struct km_step_fit fit;
    struct km_progress progress;
    enum km_status status = km_setup_create(scenario, &setup, error);
    if (status != KM_OK)
        return status;
    status = read_recording(flags, &setup, &recording, error);
    if (status == KM_OK)
        status = check(scenario, recording.runs, recording.logs, recording.count, error);
    if (status == KM_OK)
        status = find_windows(&setup, &recording, error);
    km_progress_begin(&progress, stderr, "fit");
    const struct km_watch watch = km_progress_watch(&progress);
    const struct km_launch_layers layers = layers_of(scenario);
    if (status == KM_OK)
        status = km_steps_fit(setup.cost, &setup.cost_config, recording.runs, recording.count,
                              &recording.windows, &layers, &watch, &fit, error);
    km_progress_end(&progress);
    if (status == KM_OK) {
        struct km_steps_report report = {
            .scenario = scenario, .sources = recording.sources, .source_count = recording.count, .fit = &fit};
        time_t now = time(NULL);
        struct tm day;
        gmtime_r(&now, &day);
        strftime(report.date, sizeof report.date, "%Y-%m-%d", &day);
        status = write_report(flags, &report, error);
    }
    release(&recording);
    km_setup_release(&setup);
    return status;
}

int km_calibrate_steps(int argc, char **argv, struct km_error *error)
{
    struct flags flags = {0};
    const struct km_option options[] = {
        {"--from-steps", KM_OPTION_LIST, &flags.logs, "STEPS.csv",
         "estimate an engine description's parameters from this step log (repeatable)"},
        {"--requests", KM_OPTION_LIST, &flags.requests, "REQUESTS.csv",
         "its requests: exact batches and the engine's clock; one for each log, in the same order"},
        {"--scenario", KM_OPTION_TEXT, &flags.scenario, "FILE",
         "model, device, layout and engine of the log"},
        {"--set", KM_OPTION_LIST, &flags.sets, "KEY=VALUE", "override a scenario key (repeatable)"},
        {"--output", KM_OPTION_TEXT, &flags.output, "ENGINE.yaml", "write the engine description there"},
        {"--json", KM_OPTION_TEXT, &flags.json, "FILE", "write the estimates as JSON; - = to stdout, alone"},
        {0},
    };
    bool helped;
    enum km_status status = km_options_read(argc, argv, ARGUMENTS, options, NULL, 0, &helped, error);
    if (status != KM_OK || helped)
        return km_exit_code(status);
    if (!flags.scenario)
        return km_exit_code(km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "usage: kingman calibrate " ARGUMENTS));
    if (flags.requests.count && flags.requests.count != flags.logs.count)
        return km_exit_code(km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                                    "--requests: %zu files for %zu step logs; give one for each, or none",
                                    flags.requests.count, flags.logs.count));
    struct km_cli_overrides overrides;
    struct km_scenario scenario;
    status = km_cli_overrides_read(&flags.sets, &overrides, error);
    if (status == KM_OK)
        status = km_scenario_read(flags.scenario, overrides.items, overrides.count, &scenario, error);
    if (status != KM_OK)
        return km_exit_code(status);
    status = calibrate(&flags, &scenario, error);
    km_scenario_release(&scenario);
    return km_exit_code(status);
}
