#include "answer/queue_scenario.h"

#include "base/yaml.h"
#include "batching/batching.h"
#include "report/json_writer.h"
#include "scenario/fleet.h"
#include "scenario/queue_question.h"

#include <math.h>

static const enum km_discipline disciplines[] = {KM_DISCIPLINE_MG1, KM_DISCIPLINE_DYNAMIC,
                                                 KM_DISCIPLINE_ELASTIC_DYNAMIC};
#define DISCIPLINE_COUNT (sizeof disciplines / sizeof disciplines[0])

struct answers {
    struct km_queue_question question;
    struct km_service_fit service;
    struct km_law_fit law;
    struct km_queue_point points[DISCIPLINE_COUNT];
    struct km_continuous_answer continuous;
    enum km_status continuous_status;
    bool simulated; /* continuous batching, by the event core */
    struct km_latency_summary wait, e2e;
};

bool km_queue_is_scenario(const char *path)
{
    struct km_arena arena = {0};
    struct km_yaml *root = NULL;
    bool is = km_yaml_read(path, &arena, &root, NULL) == KM_OK && root->kind == KM_YAML_MAPPING &&
              km_yaml_get(root, "model") && !km_yaml_get(root, "queue");
    km_arena_release(&arena);
    return is;
}

static enum km_status solve_disciplines(struct answers *a, const struct km_queue_effort *effort,
                                        struct km_arena *arena, struct km_error *error)
{
    const struct km_linear_law *law = &a->law.law;
    struct km_queue_section section = {
        .model = {.rate_per_s = a->question.arrival_rate_per_s,
                  .a_s = a->service.a_s,
                  .c_s = a->service.c_s,
                  .k1_s = law->k1,
                  .k2_s = law->k2,
                  .k3_s = law->k3,
                  .k4_s = law->k4,
                  .batch_cap = a->question.fit.max_batch,
                  .patience_s = HUGE_VAL},
        .output_tokens = a->question.output_tokens,
    };
    struct km_token_law tokens;
    enum km_status status = km_token_law_init(&tokens, &section.output_tokens, error);
    for (size_t i = 0; status == KM_OK && i < DISCIPLINE_COUNT; i++) {
        struct km_error unstable = {0};
        section.model.discipline = disciplines[i];
        status = km_queue_point_solve(&section, &tokens, effort, arena, &a->points[i], &unstable);
        if (status == KM_NO)
            status = KM_OK; /* a row that says so */
        else if (status != KM_OK)
            *error = unstable;
    }
    km_token_law_release(&tokens);
    return status;
}

static enum km_status solve_continuous(struct answers *a, const struct km_fleet *fleet,
                                       const struct km_queue_effort *effort, struct km_error *error)
{
    a->continuous_status = km_continuous_solve(&a->question.continuous, &a->continuous, error);
    if (a->continuous_status != KM_OK && a->continuous_status != KM_NO)
        return a->continuous_status;
    if (effort->theory_only ||
        !(km_batching_find(fleet->scenario->engine.policy)->traits & KM_BATCHING_CONTINUOUS))
        return KM_OK;
    const struct km_run_options options = {.fast_forward = true};
    struct km_run_result run;
    struct km_error failure = {0};
    enum km_status status =
        km_fleet_run(fleet, &fleet->scenario->workload, effort->seed, &options, &run, &failure);
    if (status != KM_OK) {
        *error = failure;
        return status;
    }
    a->simulated = true;
    a->wait = run.summary.latency[KM_QUEUEING_DELAY];
    a->e2e = run.summary.latency[KM_E2E];
    return KM_OK;
}

/* --- text ---------------------------------------------------------------------------------------------- */

static void put_cell(double value, struct km_text *out)
{
    if (isfinite(value))
        km_text_printf(out, " %11.4g", value);
    else
        km_text_printf(out, " %11s", "-");
}

static void put_quality(const struct km_law_quality *quality, struct km_text *out)
{
    km_text_printf(out, "rms %.1f %%, worst %.1f %%%s\n", 100.0 * quality->rms_relative,
                   100.0 * quality->max_relative,
                   quality->poor ? ": fits badly, read the theory with care" : "");
}

static void put_row(const char *name, const double *cells, size_t count, struct km_text *out)
{
    km_text_printf(out, "%-16s", name);
    for (size_t i = 0; i < count; i++)
        put_cell(cells[i], out);
    km_text_puts(out, "\n");
}

static void write_text(const struct answers *a, const struct km_scenario *scenario, struct km_text *out)
{
    const struct km_linear_law *law = &a->law.law;
    km_text_printf(out, "%s on %s, engine %s: %.4g requests/s to a replica%s\n\n", scenario->model.name,
                   scenario->device.name, scenario->engine.name, a->question.arrival_rate_per_s,
                   a->question.poisson ? "" : " (not Poisson; the theory takes it so)");
    km_text_printf(out, "fitted to its step times\n  S(N) = %.4g N + %.4g s: ", a->service.a_s,
                   a->service.c_s);
    put_quality(&a->service.quality, out);
    km_text_printf(out, "  H(b, l) = %.4g b + %.4g + (%.4g b + %.4g) l s, b up to %u: ", law->k1, law->k2,
                   law->k3, law->k4, a->question.fit.max_batch);
    put_quality(&a->law.quality, out);
    km_text_printf(out, "\n%-16s %11s %11s %11s %11s %11s %11s %11s\n", "", "", "stable", "mean", "mean",
                   "mean", "simulated", "simulated");
    km_text_printf(out, "%-16s %11s %11s %11s %11s %11s %11s %11s\n", "discipline", "utilization", "below /s",
                   "wait s", "response s", "batch", "wait s", "response s");
    for (size_t i = 0; i < DISCIPLINE_COUNT; i++) {
        const struct km_queue_answer *t = &a->points[i].theory;
        const struct km_queue_simulated *s = a->points[i].simulated ? &a->points[i].simulation : NULL;
        const double cells[] = {t->utilization,
                                t->stable_below_per_s,
                                t->mean_wait_s,
                                t->mean_response_s,
                                t->mean_batch,
                                s ? s->mean_wait_s.value : (double)NAN,
                                s ? s->mean_response_s.value : (double)NAN};
        put_row(km_discipline_names[disciplines[i]], cells, sizeof cells / sizeof cells[0], out);
    }
    const struct km_continuous_answer *c = &a->continuous;
    const double cells[] = {c->utilization,
                            c->stable_below_per_s,
                            c->mean_wait_s,
                            c->mean_e2e_s,
                            c->mean_running,
                            a->simulated ? a->wait.mean_s : (double)NAN,
                            a->simulated ? a->e2e.mean_s : (double)NAN};
    put_row("continuous", cells, sizeof cells / sizeof cells[0], out);
    km_text_puts(out, "\nmg1, dynamic, elastic_dynamic: theory and simulation of the fitted laws; "
                      "continuous: an approximation beside\n"
                      "the scenario itself. A dash: unstable, or not simulated.\n");
}

/* --- JSON ---------------------------------------------------------------------------------------------- */

static void put_fit(struct km_json_writer *w, const char *key, const char *const *names, const double *values,
                    size_t count, const struct km_law_quality *quality)
{
    km_json_put_open(w, key, '{');
    for (size_t i = 0; i < count; i++)
        km_json_put_number(w, names[i], values[i]);
    km_json_put_number(w, "rms_relative", quality->rms_relative);
    km_json_put_number(w, "max_relative", quality->max_relative);
    km_json_put_bool(w, "poor", quality->poor);
    km_json_put_close(w, '}');
}

static void put_estimate(struct km_json_writer *w, const char *key, double value, double ci95)
{
    km_json_put_open(w, key, '{');
    km_json_put_number(w, "value", value);
    km_json_put_number(w, "ci95", ci95);
    km_json_put_close(w, '}');
}

static void put_simulation(struct km_json_writer *w, bool simulated, double wait, double wait_ci95,
                           double response, double response_ci95)
{
    if (!simulated) {
        km_json_put_null(w, "simulation");
        return;
    }
    km_json_put_open(w, "simulation", '{');
    put_estimate(w, "mean_wait_s", wait, wait_ci95);
    put_estimate(w, "mean_response_s", response, response_ci95);
    km_json_put_close(w, '}');
}

static void put_theory(struct km_json_writer *w, double utilization, bool stable, double below, double wait,
                       double response, double batch)
{
    km_json_put_open(w, "theory", '{');
    km_json_put_number(w, "utilization", utilization);
    km_json_put_bool(w, "stable", stable);
    km_json_put_number(w, "stable_below_per_s", below);
    km_json_put_number(w, "mean_wait_s", wait);
    km_json_put_number(w, "mean_response_s", response);
    km_json_put_number(w, "mean_batch", batch);
    km_json_put_close(w, '}');
}

static void write_json(const struct answers *a, struct km_text *out)
{
    static const char *const service_names[] = {"a", "c"}, *const law_names[] = {"k1", "k2", "k3", "k4"};
    const double service[] = {a->service.a_s, a->service.c_s};
    const double law[] = {a->law.law.k1, a->law.law.k2, a->law.law.k3, a->law.law.k4};
    struct km_json_writer w = {.out = out};
    km_json_put_open(&w, NULL, '{');
    km_json_put_count(&w, "schema", 1);
    km_json_put_number(&w, "arrival_rate_per_s", a->question.arrival_rate_per_s);
    km_json_put_bool(&w, "poisson", a->question.poisson);
    km_json_put_open(&w, "fit", '{');
    put_fit(&w, "service", service_names, service, 2, &a->service.quality);
    put_fit(&w, "law", law_names, law, 4, &a->law.quality);
    km_json_put_close(&w, '}');
    for (size_t i = 0; i < DISCIPLINE_COUNT; i++) {
        const struct km_queue_answer *t = &a->points[i].theory;
        const struct km_queue_simulated *s = &a->points[i].simulation;
        km_json_put_open(&w, km_discipline_names[disciplines[i]], '{');
        put_theory(&w, t->utilization, t->stable, t->stable_below_per_s, t->mean_wait_s, t->mean_response_s,
                   t->mean_batch);
        put_simulation(&w, a->points[i].simulated, s->mean_wait_s.value, s->mean_wait_s.ci95,
                       s->mean_response_s.value, s->mean_response_s.ci95);
        km_json_put_close(&w, '}');
    }
    const struct km_continuous_answer *c = &a->continuous;
    km_json_put_open(&w, "continuous", '{');
    put_theory(&w, c->utilization, c->stable, c->stable_below_per_s, c->mean_wait_s, c->mean_e2e_s,
               c->mean_running);
    put_simulation(&w, a->simulated, a->wait.mean_s, a->wait.ci95_s, a->e2e.mean_s, a->e2e.ci95_s);
    km_json_put_close(&w, '}');
    km_json_put_close(&w, '}');
    km_text_puts(out, "\n");
}

enum km_status km_queue_scenario_answer(const struct km_scenario *scenario,
                                        const struct km_queue_effort *effort, struct km_text *table,
                                        struct km_text *json, struct km_error *error)
{
    struct km_fleet fleet = {0};
    struct km_arena arena = {0};
    struct answers a = {0};
    enum km_status status =
        scenario->group_count > 1
            ? km_fail(error, KM_BAD_INPUT, scenario->path, 0, 0,
                      "cluster.groups: kingman queue knows replicas of one kind; take one group at a time")
        : scenario->scaling.policy
            ? km_fail(error, KM_BAD_INPUT, scenario->path, 0, 0,
                      "autoscaling: kingman queue knows fleets of fixed size; leave it out")
            : km_fleet_create(scenario, &fleet, error);
    if (status != KM_OK)
        goto out;
    status = km_queue_question_init(&a.question, fleet.groups, error);
    if (status != KM_OK)
        goto out;
    status = km_service_fit_find(&a.question.fit, &a.service, error);
    if (status == KM_OK)
        status = km_law_fit_find(&a.question.fit, &a.law, error);
    if (status == KM_OK)
        status = solve_disciplines(&a, effort, &arena, error);
    if (status == KM_OK)
        status = solve_continuous(&a, &fleet, effort, error);
    if (status == KM_OK) {
        write_text(&a, scenario, table);
        write_json(&a, json);
        status = a.continuous_status;
    }
    km_queue_question_release(&a.question);
out:
    km_fleet_release(&fleet);
    km_arena_release(&arena);
    return status;
}
