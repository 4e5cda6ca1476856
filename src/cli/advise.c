/* `kingman advise`: how large batches should be, what memory that frees, and whether more replicas would use
 * it. */
#include "advisor/advisor.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/overrides.h"
#include "cli/publish.h"
#include "report/advice_report.h"

#include <stdio.h>
#include <string.h>

#define ARGUMENTS "SCENARIO.yaml [options]"

#define USUAL_EPSILON 0.1 /* of the paper: advisor/advisor.h */
#define LARGEST_BATCH 65536u

static enum km_status check(const struct km_advice_options *options, uint64_t max_batch,
                            struct km_error *error)
{
    if (!(options->epsilon > 0 && options->epsilon <= 1))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--epsilon: expected a number > 0 and ≤ 1, got %g",
                       options->epsilon);
    if (options->itl_slo_s < 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--itl-slo: expected a number ≥ 0, got %g",
                       options->itl_slo_s);
    if (max_batch > LARGEST_BATCH)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--max-batch: at most %u", LARGEST_BATCH);
    return KM_OK;
}

static enum km_status publish(const struct km_scenario *scenario, const struct km_advice *advice,
                              const char *json_path, struct km_error *error)
{
    struct km_text scenario_json = {0}, text = {0}, json = {0};
    km_scenario_write_json(scenario, &scenario_json);
    const struct km_advice_report report = {.advice = advice,
                                            .model = scenario->model.name,
                                            .device = scenario->device.name,
                                            .scenario_json = km_text_c(&scenario_json),
                                            .version = KM_VERSION};
    km_advice_report_json(&report, &json);
    km_advice_report_text(&report, &text);
    enum km_status status = km_publish(json_path, &json, &text, error);
    km_text_release(&scenario_json);
    km_text_release(&text);
    km_text_release(&json);
    return status;
}

static int run(int argc, char **argv, struct km_error *error)
{
    struct km_option_list sets = {0};
    struct km_advice_options advise = {.epsilon = USUAL_EPSILON};
    const char *path = NULL, *json = NULL;
    uint64_t max_batch = 0;
    bool helped;
    const struct km_option options[] = {
        {"--set", KM_OPTION_LIST, &sets, "KEY=VALUE", "override a key of the scenario; may be given again"},
        {"--epsilon", KM_OPTION_NUMBER, &advise.epsilon, "E",
         "least T(B) / (B * T(1)) of the advised batch; 0.1 by default"},
        {"--itl-slo", KM_OPTION_NUMBER, &advise.itl_slo_s, "S",
         "most seconds between two tokens on average, beside the scenario's TPOT and ITL terms"},
        {"--max-batch", KM_OPTION_COUNT, &max_batch, "N",
         "largest batch to look at; 512, or max_num_seqs, by default"},
        {"--json", KM_OPTION_TEXT, &json, "FILE|-", "write the advice as JSON; - prints it instead"},
        KM_JOBS_OPTION(&advise.workers),
        {0},
    };
    enum km_status status = km_options_read(argc, argv, ARGUMENTS, options, &path, 1, &helped, error);
    if (status == KM_OK && !helped)
        status = check(&advise, max_batch, error);
    if (status != KM_OK || helped)
        return km_exit_code(status);
    advise.max_batch = (uint32_t)max_batch;
    struct km_cli_overrides overrides;
    status = km_cli_overrides_read(&sets, &overrides, error);
    if (status != KM_OK)
        return km_exit_code(status);
    struct km_scenario scenario;
    status = km_scenario_read(path, overrides.items, overrides.count, &scenario, error);
    if (status != KM_OK)
        return km_exit_code(status);
    struct km_advice advice;
    struct km_progress progress;
    km_progress_begin(&progress, stderr, "advise");
    advise.watch = km_progress_watch(&progress);
    status = km_advise(&scenario, &advise, &advice, error);
    km_progress_end(&progress);
    if (status == KM_OK)
        status = publish(&scenario, &advice, json, error);
    km_scenario_release(&scenario);
    if (status == KM_OK && km_advice_is_withdrawn(&advice) && !advice.instead)
        return km_exit_code(KM_NO); /* neither the knee nor anything tried instead helps */
    return km_exit_code(status);
}

const struct km_command km_command_advise = {
    "advise", ARGUMENTS, "the batch size worth its latency, and the memory that it frees", run};
