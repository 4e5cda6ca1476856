/* `kingman explain`: where a scenario's memory goes and where the time of its steps goes. */
#include "answer/describe.h"
#include "answer/explain_answers.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/overrides.h"
#include "cli/publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS "SCENARIO.yaml [options]"

#define NOT_GIVEN     UINT64_MAX
#define USUAL_DECODES 64u
#define USUAL_CONTEXT 1024u

struct flags {
    struct km_option_list sets;
    const char *json, *sweep;
    uint64_t prefill, decode, context, past; /* NOT_GIVEN where left out */
    bool memory_only;
};

static enum km_status above(const char *flag, uint64_t value, const char *limit_name, uint64_t limit,
                            struct km_error *error)
{
    return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: %llu is more than %s, %llu", flag,
                   (unsigned long long)value, limit_name, (unsigned long long)limit);
}

static bool read_whole(const char *text, const char *end, uint64_t *out)
{
    char *stop;
    errno = 0;
    if (*text < '0' || *text > '9')
        return false;
    *out = strtoull(text, &stop, 10);
    return !errno && stop == end && *out > 0;
}

static enum km_status read_sweep(const struct flags *flags, uint32_t max_num_seqs,
                                 struct km_explain_request *out, struct km_error *error)
{
    uint64_t from = 1, to = max_num_seqs;
    if (flags->sweep) {
        const char *colon = strchr(flags->sweep, ':');
        if (!colon || !read_whole(flags->sweep, colon, &from) ||
            !read_whole(colon + 1, colon + 1 + strlen(colon + 1), &to) || from > to)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                           "--sweep: expected FROM:TO, two batch sizes from 1 on in this order, got \"%s\"",
                           flags->sweep);
        if (to > max_num_seqs)
            return above("--sweep", to, "max_num_seqs", max_num_seqs, error);
    }
    out->sweep_from = (uint32_t)from;
    out->sweep_to = (uint32_t)to;
    return KM_OK;
}

static uint64_t given_or(uint64_t value, uint64_t otherwise)
{
    return value == NOT_GIVEN ? otherwise : value;
}

static uint32_t at_most(uint64_t value, uint64_t limit)
{
    return (uint32_t)(value < limit ? value : limit);
}

static enum km_status read_request(const struct km_scenario *scenario, const struct flags *flags,
                                   struct km_explain_request *out, struct km_error *error)
{
    const struct km_engine *engine = &scenario->engine;
    uint64_t data = scenario->cluster.data_parallel_size; /* the engine's limits are each such rank's */
    uint64_t length = engine->max_model_len, sequences = engine->max_num_seqs * data;
    uint64_t budget = engine->max_num_batched_tokens, all = budget * data;
    uint64_t context = given_or(flags->context, at_most(USUAL_CONTEXT, length));
    uint64_t past = given_or(flags->past, 0);
    bool given = flags->prefill != NOT_GIVEN || flags->decode != NOT_GIVEN;
    uint64_t prefill = given ? given_or(flags->prefill, 0) : 0;
    uint64_t decode = given ? given_or(flags->decode, 0) : 0;
    if (context == 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--context: expected 1 token or more, got 0");
    if (context > length)
        return above("--context", context, "max_model_len", length, error);
    if (past >= length)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--past: %llu leaves no token of max_model_len, %llu",
                       (unsigned long long)past, (unsigned long long)length);
    if (given && prefill == 0 && decode == 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--prefill and --decode: the step is empty");
    if (past > 0 && given && prefill == 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--past: needs --prefill");
    if (decode > sequences)
        return above("--decode", decode, "max_num_seqs", sequences, error);
    if (prefill > budget)
        return above("--prefill", prefill, "max_num_batched_tokens", budget, error);
    if (prefill + decode > all)
        return above("--prefill and --decode", prefill + decode, "max_num_batched_tokens", all, error);
    if (prefill > length - past)
        return above("--prefill and --past", prefill + past, "max_model_len", length, error);
    if (prefill > 0 && decode == sequences)
        return above("--decode and the prompt", decode + 1, "max_num_seqs", sequences, error);
    *out = (struct km_explain_request){
        .prefill = given ? (uint32_t)prefill : at_most(budget, length - past),
        .past = (uint32_t)past,
        .decode = given ? (uint32_t)decode : at_most(USUAL_DECODES, sequences),
        .context = (uint32_t)context,
        .given = given,
    };
    return read_sweep(flags, at_most(sequences, UINT32_MAX), out, error);
}

/* Of the steps explained. */
static const char *doubt(const struct km_explanation *explanation, struct km_arena *arena)
{
    struct km_coverage coverage = {0};
    for (size_t i = 0; i < explanation->step_count; i++) {
        const struct km_step_account *account = &explanation->steps[i].account;
        for (uint32_t k = 0; k < account->op_count; k++) {
            const struct km_op_cost *cost = &account->ops[k];
            km_coverage_add(&coverage, cost->op->name, cost->origin, cost->time_s, cost->formula_s,
                            cost->supplement);
        }
    }
    return km_describe_doubt(&coverage, explanation->device, arena);
}

/* Replicas of one kind; *shown: there is an answer, even where the model does not fit. Appends. */
static enum km_status explain(const struct km_scenario *scenario, const struct flags *flags,
                              struct km_text *json, struct km_text *table, bool *shown,
                              struct km_error *error)
{
    struct km_arena arena = {0};
    struct km_text scenario_json = {0}, layout = {0};
    struct km_setup setup = {0};
    struct km_memory_map map;
    struct km_explain_request request = {0};
    *shown = false;
    enum km_status status = read_request(scenario, flags, &request, error);
    if (status == KM_OK)
        status = km_setup_memory(scenario, &map, error);
    if (status != KM_OK)
        return status;
    const struct km_layout parallel = km_setup_layout(scenario);
    km_layout_describe(&parallel, &layout);
    km_scenario_write_json(scenario, &scenario_json);
    struct km_explanation explanation = {
        .model = scenario->model.name,
        .device = scenario->device.name,
        .layout = km_arena_strdup(&arena, km_text_c(&layout)),
        .engine = scenario->engine.name,
        .cost = km_scenario_cost_name(scenario, &arena),
        .scenario_json = km_text_c(&scenario_json),
        .version = KM_VERSION,
        .device_bytes = scenario->device.memory_bytes,
        .gpu_memory_utilization = scenario->engine.gpu_memory_utilization,
        .bandwidth_bytes_per_s = scenario->device.bandwidth_bytes_per_s,
    };
    struct km_parameters parameters;
    km_model_parameters(&scenario->model, &parameters);
    explanation.parameters = parameters.total;
    explanation.active_parameters = parameters.active;
    explanation.towers = scenario->model.towers;
    explanation.tower_parameters = scenario->model.tower_parameters;
    km_model_name_parameters(scenario->model.name, &explanation.parameters_in_name,
                             &explanation.active_parameters_in_name);
    km_device_peak(&scenario->device, scenario->precision.weights, scenario->precision.activations,
                   &explanation.peak_flops_per_s);
    km_explain_memory(scenario, &map, request.context, &arena, &explanation);
    struct km_error unfit = {0};
    if (explanation.blocks == 0 || !flags->memory_only)
        status = km_setup_create(scenario, &setup, &unfit);
    if (status == KM_OK && !flags->memory_only)
        status = km_explain_steps(&setup, &request, &arena, &explanation, &unfit);
    const char *notes[2], *warning;
    if (status == KM_OK && scenario->no_profile) {
        notes[explanation.note_count++] =
            km_arena_printf(&arena, "no profile of %s: roofline", scenario->device.name);
    }
    if (scenario->weight_only)
        notes[explanation.note_count++] = km_scenario_weight_only(scenario, &arena);
    explanation.notes = notes;
    if (status == KM_OK && strcmp(scenario->cost_model, "profile") == 0 && !scenario->no_profile) {
        warning = doubt(&explanation, &arena);
        explanation.warnings = &warning;
        explanation.warning_count = warning ? 1 : 0;
    }
    if (status == KM_OK && !flags->memory_only)
        status = km_describe_accuracy(scenario, &arena, &explanation.accuracy, &explanation.accuracy_count,
                                      &unfit);
    bool map_alone = status == KM_NO && explanation.blocks == 0; /* shown, although the answer is no */
    if (error)
        *error = unfit;
    *shown = status == KM_OK || map_alone;
    if (*shown) {
        km_explain_json(&explanation, json);
        km_explain_text(&explanation, table);
    }
    km_setup_release(&setup);
    km_text_release(&scenario_json);
    km_text_release(&layout);
    km_arena_release(&arena);
    return status;
}

/* Every group, one after the other. Where one does not fit, the others are explained all the same. */
static enum km_status explain_all(const struct km_scenario *scenario, const struct flags *flags,
                                  struct km_error *error)
{
    struct km_text json = {0}, table = {0};
    struct km_error failure = {0}, io;
    uint32_t count = km_scenario_group_count(scenario);
    enum km_status first = KM_OK, status = KM_OK;
    bool any = false;
    if (count > 1)
        km_text_puts(&json, "{\"schema\": 1, \"groups\": [");
    for (uint32_t i = 0; i < count && (status == KM_OK || status == KM_NO); i++) {
        const struct km_scenario *group = km_scenario_group(scenario, i);
        struct km_error own = {0};
        bool shown;
        if (count > 1) {
            km_text_puts(&json, i == 0 ? "\n" : ",\n");
            km_text_printf(&table, "%sgroup %u of %u: %u replica%s\n\n", i == 0 ? "" : "\n", i + 1, count,
                           group->cluster.replicas, group->cluster.replicas > 1 ? "s" : "");
        }
        status = explain(group, flags, &json, &table, &shown, &own);
        if (!shown && count > 1)
            km_text_puts(&json, "null");
        any = any || shown;
        if (first == KM_OK && status != KM_OK) {
            first = status;
            failure = own;
        }
    }
    if (count > 1)
        km_text_puts(&json, "]}\n");
    if (error)
        *error = failure;
    if (any && (first == KM_OK || first == KM_NO)) {
        status = km_publish(flags->json, &json, &table, &io);
        if (status != KM_OK) {
            first = status;
            if (error)
                *error = io;
        }
    }
    km_text_release(&json);
    km_text_release(&table);
    return first;
}

static int run(int argc, char **argv, struct km_error *error)
{
    struct flags flags = {.prefill = NOT_GIVEN, .decode = NOT_GIVEN, .context = NOT_GIVEN, .past = NOT_GIVEN};
    const char *path = NULL;
    const struct km_option options[] = {
        {"--set", KM_OPTION_LIST, &flags.sets, "KEY=VALUE",
         "override a key of the scenario; may be given again"},
        {"--prefill", KM_OPTION_COUNT, &flags.prefill, "N", "explain a step with a chunk of N prompt tokens"},
        {"--past", KM_OPTION_COUNT, &flags.past, "P", "tokens of that prompt computed before (0)"},
        {"--decode", KM_OPTION_COUNT, &flags.decode, "B", "explain a step with B decoding sequences"},
        {"--context", KM_OPTION_COUNT, &flags.context, "C", "tokens each of them attends to (1024)"},
        {"--sweep", KM_OPTION_TEXT, &flags.sweep, "FROM:TO",
         "decode batch sizes to compare (1 to max_num_seqs)"},
        {"--memory-only", KM_OPTION_FLAG, &flags.memory_only, NULL, "no steps"},
        {"--json", KM_OPTION_TEXT, &flags.json, "FILE|-",
         "write the answer as JSON; - prints it instead of the tables"},
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
    struct km_scenario scenario;
    status = km_scenario_read(path, overrides.items, overrides.count, &scenario, error);
    if (status != KM_OK)
        return km_exit_code(status);
    status = explain_all(&scenario, &flags, error);
    km_scenario_release(&scenario);
    return km_exit_code(status);
}

const struct km_command km_command_explain = {
    "explain", ARGUMENTS, "where the memory goes, and the time of a step, operator by operator", run};
