/* `kingman queue`: one queue, answered by the equations and by the event core, side by side. */
#include "answer/queue_report.h"
#include "answer/queue_scenario.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/overrides.h"
#include "cli/publish.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS        "[FILE.yaml] [options]"
#define SWEEP_LIMIT      1000
#define DEFAULT_REQUESTS 200000 /* half-widths of about one per cent at moderate load */
#define NOT_GIVEN        -1.0

struct flags {
    struct km_queue_flag keys[KM_QUEUE_KEYS];
    const char *sweep, *optimize, *json;
    double epsilon, kappa;
    struct km_queue_effort effort;
    struct km_option_list sets;
};

enum sweep_axis { OVER_RATE, OVER_MAX_TOKENS, OVER_SERVERS };
static const char *const axis_names[] = {"rate", "max_tokens", "servers", NULL};

struct sweep_range {
    enum sweep_axis axis;
    double from, to;
    size_t points;
};

/* --- flags --------------------------------------------------------------------------------------------- */

static bool take_number(const char **at, char end, double *out)
{
    char *stop;
    errno = 0;
    *out = strtod(*at, &stop);
    bool good = stop != *at && *stop == end && !errno && isfinite(*out);
    *at = *stop ? stop + 1 : stop;
    return good;
}

static enum km_status read_sweep(const char *text, struct sweep_range *out, struct km_error *error)
{
    const char *equals = strchr(text, '='), *at = equals ? equals + 1 : text;
    size_t length = equals ? (size_t)(equals - text) : 0;
    double points;
    int axis = 0;
    while (axis_names[axis] && (strncmp(text, axis_names[axis], length) || axis_names[axis][length]))
        axis++;
    if (!axis_names[axis])
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "--sweep: expected rate, max_tokens or servers, =FROM:TO:POINTS, got \"%s\"", text);
    out->axis = (enum sweep_axis)axis;
    if (!take_number(&at, ':', &out->from) || !take_number(&at, ':', &out->to) ||
        !take_number(&at, '\0', &points))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--sweep: expected FROM:TO:POINTS, got \"%s\"",
                       equals + 1);
    if (!(out->from > 0) || out->to < out->from)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--sweep: wants 0 < FROM <= TO, got %g and %g",
                       out->from, out->to);
    uint32_t most = out->axis == OVER_SERVERS ? KM_SERVERS_LIMIT : KM_PMF_LIMIT;
    if (out->axis != OVER_RATE && (out->from < 1 || out->to > most))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--sweep: %s go from 1 to %u", axis_names[axis],
                       most);
    if (!(points >= 2 && points <= SWEEP_LIMIT) || points != floor(points))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--sweep: POINTS must be from 2 to %d, got %g",
                       SWEEP_LIMIT, points);
    out->points = (size_t)points;
    return KM_OK;
}

static enum km_status check_axis(enum sweep_axis axis, enum km_discipline discipline, struct km_error *error)
{
    bool servers = discipline == KM_DISCIPLINE_GGC;
    if (axis == OVER_RATE || servers == (axis == OVER_SERVERS))
        return KM_OK;
    return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--sweep: %s is not a parameter of %s", axis_names[axis],
                   km_discipline_names[discipline]);
}

static enum km_status check_flags(const struct flags *flags, struct km_error *error)
{
    bool epsilon = flags->epsilon >= 0, kappa = flags->kappa >= 0;
    if (flags->optimize && strcmp(flags->optimize, "max_tokens") != 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--optimize: only max_tokens, not \"%s\"",
                       flags->optimize);
    if (flags->optimize && flags->sweep)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--optimize: not with --sweep");
    if (flags->optimize && epsilon == kappa)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "--optimize max_tokens: give --epsilon SHARE (answers that may be cut short) or "
                       "--kappa S (seconds of waiting that a token is worth)");
    if (!flags->optimize && (epsilon || kappa))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--epsilon and --kappa need --optimize max_tokens");
    if (flags->effort.requests == 0 || flags->effort.requests > 1000000000)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--requests: must be from 1 to 1000000000");
    return KM_OK;
}

/* --- answers ------------------------------------------------------------------------------------------- */

/* Print, and only then tell that the answer is no. */
static enum km_status publish_and_pass(const struct flags *flags, const struct km_text *json,
                                       const struct km_text *table, enum km_status answer,
                                       struct km_error *error)
{
    struct km_error failure = {0};
    enum km_status status = km_publish(flags->json, json, table, &failure);
    if (status == KM_OK)
        return answer;
    *error = failure;
    return status;
}

static enum km_status run_point(const struct km_queue_section *section, const struct km_token_law *law,
                                const struct km_token_limit *limit, const struct flags *flags,
                                struct km_arena *arena, struct km_error *error)
{
    struct km_queue_point point;
    struct km_text json = {0}, table = {0};
    enum km_status status = km_queue_point_solve(section, law, &flags->effort, arena, &point, error);
    if (status == KM_OK || status == KM_NO) {
        km_queue_json(section, &point, NULL, limit, &json);
        if (limit)
            km_queue_limit_text(limit, &table);
        km_queue_text(section, &point, &table);
        status = publish_and_pass(flags, &json, &table, status, error);
    }
    km_text_release(&json);
    km_text_release(&table);
    return status;
}

/* Point i of a sweep: where it is, and its answer. */
static enum km_status solve_at(const struct km_queue_section *section, const struct km_token_law *law,
                               const struct sweep_range *range, size_t i, const struct flags *flags,
                               struct km_arena *arena, double *value, struct km_queue_point *point,
                               struct km_error *error)
{
    struct km_queue_section at = *section;
    struct km_token_law limited = {0};
    enum km_status status = KM_OK;
    *value = range->from + (range->to - range->from) * (double)i / (double)(range->points - 1);
    if (range->axis != OVER_RATE)
        *value = round(*value);
    if (range->axis == OVER_RATE) {
        at.model.rate_per_s = *value;
    } else if (range->axis == OVER_SERVERS) {
        at.model.servers = (uint32_t)*value;
    } else {
        status = km_token_law_init_limited(&limited, &section->output_tokens, (uint64_t)*value, error);
    }
    if (status == KM_OK)
        status = km_queue_point_solve(&at, range->axis == OVER_MAX_TOKENS ? &limited : law, &flags->effort,
                                      arena, point, error);
    km_token_law_release(&limited);
    return status;
}

static enum km_status run_sweep(const struct km_queue_section *section, const struct km_token_law *law,
                                const struct sweep_range *range, const struct flags *flags,
                                struct km_arena *arena, struct km_error *error)
{
    double *values = km_arena_alloc(arena, range->points * sizeof *values);
    struct km_queue_point *points = km_arena_alloc(arena, range->points * sizeof *points);
    struct km_error unstable = {0};
    enum km_status status = KM_OK;
    bool any_stable = false;
    struct km_progress progress;
    km_progress_begin(&progress, stderr, "queue");
    for (size_t i = 0; i < range->points && (status == KM_OK || status == KM_NO); i++) {
        km_progress_tell(&progress, (double)i / (double)range->points);
        status = solve_at(section, law, range, i, flags, arena, &values[i], &points[i], &unstable);
        any_stable = any_stable || status == KM_OK;
    }
    km_progress_end(&progress);
    if (status != KM_OK && status != KM_NO) {
        *error = unstable;
        return status;
    }
    struct km_queue_sweep sweep = {axis_names[range->axis], range->points, values, points};
    struct km_text json = {0}, table = {0};
    km_queue_json(section, NULL, &sweep, NULL, &json);
    km_queue_sweep_text(section, &sweep, &table);
    if (!any_stable)
        *error = unstable;
    status = publish_and_pass(flags, &json, &table, any_stable ? KM_OK : KM_NO, error);
    km_text_release(&json);
    km_text_release(&table);
    return status;
}

static enum km_status run_optimum(const struct km_queue_section *section, const struct km_token_law *law,
                                  const struct flags *flags, struct km_arena *arena, struct km_error *error)
{
    const struct km_queue_model *model = &section->model;
    bool clip = flags->epsilon >= 0;
    struct km_mg1 queue = {model->rate_per_s, model->a_s, model->c_s, law};
    struct km_token_limit best;
    struct km_token_law limited;
    if (model->discipline != KM_DISCIPLINE_MG1 || model->patience_s < HUGE_VAL)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "--optimize max_tokens: known for discipline mg1 without patience only");
    enum km_status status = km_token_limit_best(&queue, clip ? KM_LIMIT_CLIP : KM_LIMIT_VALUE,
                                                clip ? flags->epsilon : flags->kappa, &best, error);
    if (status != KM_OK)
        return status;
    status = km_token_law_init_limited(&limited, &section->output_tokens, best.max_tokens, error);
    if (status == KM_OK)
        status = run_point(section, &limited, &best, flags, arena, error);
    km_token_law_release(&limited);
    return status;
}

/* An ordinary scenario: its own question, for all disciplines beside each other. */
static enum km_status answer_scenario(const char *path, const struct flags *flags, struct km_error *error)
{
    for (size_t i = 0; i < KM_QUEUE_KEYS; i++)
        if (flags->keys[i].value)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                           "%s: belongs to a queue section, not to a scenario", flags->keys[i].name);
    if (flags->sweep || flags->optimize)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: belongs to a queue section, not to a scenario",
                       flags->sweep ? "--sweep" : "--optimize");
    struct km_cli_overrides overrides;
    struct km_scenario scenario;
    enum km_status status = km_cli_overrides_read(&flags->sets, &overrides, error);
    if (status == KM_OK)
        status = km_scenario_read(path, overrides.items, overrides.count, &scenario, error);
    if (status != KM_OK)
        return status;
    struct km_text json = {0}, table = {0};
    status = km_queue_scenario_answer(&scenario, &flags->effort, &table, &json, error);
    if (status == KM_OK || status == KM_NO)
        status = publish_and_pass(flags, &json, &table, status, error);
    km_text_release(&json);
    km_text_release(&table);
    km_scenario_release(&scenario);
    return status;
}

static enum km_status answer(const char *path, const struct flags *flags, struct km_arena *arena,
                             struct km_error *error)
{
    struct km_queue_section section;
    struct km_token_law law = {0};
    struct sweep_range range = {0};
    enum km_status status = check_flags(flags, error);
    if (status == KM_OK && path && km_queue_is_scenario(path))
        return answer_scenario(path, flags, error);
    if (status == KM_OK && flags->sets.count)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "--set: only with a scenario; a queue section has flags of its own");
    if (status == KM_OK && flags->sweep)
        status = read_sweep(flags->sweep, &range, error);
    if (status == KM_OK)
        status = km_queue_section_read(path, flags->keys, arena, &section, error);
    if (status == KM_OK && flags->sweep)
        status = check_axis(range.axis, section.model.discipline, error);
    if (status == KM_OK && section.model.discipline != KM_DISCIPLINE_GGC)
        status = km_token_law_init(&law, &section.output_tokens, error);
    if (status != KM_OK)
        return status;
    if (flags->sweep)
        status = run_sweep(&section, &law, &range, flags, arena, error);
    else if (flags->optimize)
        status = run_optimum(&section, &law, flags, arena, error);
    else
        status = run_point(&section, &law, NULL, flags, arena, error);
    km_token_law_release(&law);
    return status;
}

/* Is there an argument that is neither an option nor an option's value? */
static bool has_file(int argc, char **argv, const struct km_option *options)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' || argv[i][1] == '\0')
            return true;
        if (strchr(argv[i], '='))
            continue;
        for (const struct km_option *option = options; option->name; option++)
            if (strcmp(option->name, argv[i]) == 0 && option->kind != KM_OPTION_FLAG)
                i++;
    }
    return false;
}

static int run(int argc, char **argv, struct km_error *error)
{
    struct flags flags = {
        .epsilon = NOT_GIVEN, .kappa = NOT_GIVEN, .effort = {.requests = DEFAULT_REQUESTS, .seed = 1}};
    static const struct {
        const char *name, *value_name, *help;
    } keys[KM_QUEUE_KEYS] = {
        {"--discipline", "NAME", "mg1, dynamic, fixed, elastic_dynamic, elastic_fixed or ggc"},
        {"--arrival-rate-per-s", "R", "arrivals, Poisson unless --arrival-cv"},
        {"--service", "LAW", "a=S,c=S of mg1, mean_s=S,cv=X of ggc, k1=S,k2=S,k3=S,k4=S of the others"},
        {"--output-tokens", "D", "a number, or distribution=NAME,key=value,... as in a scenario"},
        {"--trace", "FILE", "instead: the output tokens of a trace"},
        {"--batch-cap", "N", "of dynamic and elastic_dynamic"},
        {"--batch-size", "N", "of fixed and elastic_fixed"},
        {"--patience-s", "S", "of mg1: who is not served by then leaves"},
        {"--servers", "N", "of ggc: behind the one queue"},
        {"--arrival-cv", "X", "of ggc: coefficient of variation of the gaps between arrivals"},
        {"--wait-tail-s", "T,T,...", "where P(wait > T) is wanted"},
    };
    struct km_option options[KM_QUEUE_KEYS + 11];
    size_t count = 0;
    for (; count < KM_QUEUE_KEYS; count++) {
        flags.keys[count].name = keys[count].name;
        options[count] = (struct km_option){keys[count].name, KM_OPTION_TEXT, &flags.keys[count].value,
                                            keys[count].value_name, keys[count].help};
    }
    const struct km_option others[] = {
        {"--sweep", KM_OPTION_TEXT, &flags.sweep, "WHAT=A:B:N",
         "rate, max_tokens or servers from A to B in N points: a table"},
        {"--optimize", KM_OPTION_TEXT, &flags.optimize, "max_tokens", "the best token limit of mg1, by"},
        {"--epsilon", KM_OPTION_NUMBER, &flags.epsilon, "SHARE",
         "... the share of answers it may cut short, or"},
        {"--kappa", KM_OPTION_NUMBER, &flags.kappa, "S", "... the seconds of waiting that a token is worth"},
        {"--set", KM_OPTION_LIST, &flags.sets, "KEY=VALUE",
         "override a key of a scenario; may be given again"},
        {"--theory-only", KM_OPTION_FLAG, &flags.effort.theory_only, NULL, "do not simulate"},
        {"--requests", KM_OPTION_COUNT, &flags.effort.requests, "N", "to simulate (200000)"},
        {"--seed", KM_OPTION_COUNT, &flags.effort.seed, "N", "of the simulation (1)"},
        {"--json", KM_OPTION_TEXT, &flags.json, "FILE|-",
         "write the answer as JSON; - prints it instead of the table"},
        {0},
    };
    memcpy(options + count, others, sizeof others);
    const char *path = NULL;
    bool helped;
    enum km_status status = km_options_read(argc, argv, ARGUMENTS, options, &path,
                                            has_file(argc, argv, options) ? 1 : 0, &helped, error);
    if (status != KM_OK || helped)
        return km_exit_code(status);
    struct km_arena arena = {0};
    status = answer(path, &flags, &arena, error);
    km_arena_release(&arena);
    return km_exit_code(status);
}

const struct km_command km_command_queue = {"queue", ARGUMENTS,
                                            "a queue's equations and its simulation, side by side", run};
