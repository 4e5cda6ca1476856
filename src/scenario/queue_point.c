#include "scenario/queue_point.h"

#include "queueing/bulk/bulk_bound.h"
#include "queueing/single/cramer_lundberg.h"
#include "scenario/servers_simulation.h"

#include <math.h>

/* Exactly the law that the equations see, as a distribution to draw from. */
static struct km_distribution drawn(const struct km_token_law *law, struct km_arena *arena)
{
    double *values = km_arena_alloc(arena, law->support_count * sizeof *values);
    double *weights = km_arena_alloc(arena, law->support_count * sizeof *weights);
    for (size_t i = 0; i < law->support_count; i++) {
        values[i] = law->support[i];
        weights[i] = law->pmf[law->support[i]];
    }
    return (struct km_distribution){
        .kind = KM_DIST_EMPIRICAL, .values = values, .weights = weights, .count = law->support_count};
}

static const struct km_batching_policy *policy_of(enum km_discipline discipline)
{
    static const char *const names[] = {
        [KM_DISCIPLINE_MG1] = "dynamic",           [KM_DISCIPLINE_DYNAMIC] = "dynamic",
        [KM_DISCIPLINE_FIXED] = "fixed",           [KM_DISCIPLINE_ELASTIC_DYNAMIC] = "elastic",
        [KM_DISCIPLINE_ELASTIC_FIXED] = "elastic",
    };
    return km_batching_find(names[discipline]);
}

/* The event core has no requests that leave at once, and takes at most so many points of the tail. */
static bool can_simulate(const struct km_queue_section *section)
{
    return section->model.patience_s > 0 && section->wait_tail_count <= KM_QUEUE_MAX_TAILS;
}

static enum km_status simulate(const struct km_queue_section *section, const struct km_token_law *law,
                               const struct km_queue_effort *effort, struct km_arena *arena,
                               struct km_queue_simulated *out, struct km_error *error)
{
    const struct km_queue_model *model = &section->model;
    if (model->discipline == KM_DISCIPLINE_GGC) {
        const struct km_servers_system servers = {.queue = km_queue_model_servers(model),
                                                  .wait_tail_s = section->wait_tail_s,
                                                  .wait_tail_count = section->wait_tail_count,
                                                  .requests = effort->requests,
                                                  .seed = effort->seed};
        km_servers_simulate(&servers, out);
        return KM_OK;
    }
    struct km_distribution tokens = drawn(law, arena);
    struct km_queue_system system = {
        .policy = policy_of(model->discipline),
        .batch_size = (uint32_t)model->batch_size,
        .batch_cap = model->batch_cap == KM_NO_CAP ? 0 : (uint32_t)model->batch_cap,
        .law = {model->k1_s, model->k2_s, model->k3_s, model->k4_s},
        .arrival_rate_per_s = model->rate_per_s,
        .output_tokens = &tokens,
        .patience_s = model->patience_s < HUGE_VAL ? model->patience_s : 0,
        .wait_tail_s = section->wait_tail_s,
        .wait_tail_count = section->wait_tail_count,
        .requests = effort->requests,
        .seed = effort->seed,
    };
    if (model->discipline == KM_DISCIPLINE_MG1) {
        system.law = (struct km_linear_law){.k2 = model->c_s, .k4 = model->a_s};
        system.batch_cap = 1;
    }
    return km_queue_simulate(&system, out, error);
}

/* What some disciplines tell beyond the common answer. */
static void solve_extras(const struct km_queue_model *model, struct km_queue_point *out)
{
    const struct km_token_law *law = model->tokens;
    const struct km_servers servers = km_queue_model_servers(model);
    out->asymptote_eta_per_s = out->asymptote_coefficient = (double)NAN;
    out->bound_response_s = out->bound_wait_s = (double)NAN;
    if (model->discipline == KM_DISCIPLINE_GGC && out->theory.stable)
        out->bound_wait_s = km_servers_wait_bound_s(&servers);
    if (model->discipline == KM_DISCIPLINE_GGC || !law->bounded)
        return;
    if (model->discipline == KM_DISCIPLINE_MG1 && model->patience_s >= HUGE_VAL) {
        struct km_mg1 queue = {model->rate_per_s, model->a_s, model->c_s, law};
        struct km_asymptote far;
        if (km_mg1_asymptote(&queue, &far, NULL) == KM_OK) {
            out->asymptote_eta_per_s = far.eta_per_s;
            out->asymptote_coefficient = far.coefficient;
        }
    }
    if (model->discipline == KM_DISCIPLINE_DYNAMIC && model->batch_cap == KM_NO_CAP) {
        double bound;
        if (km_bulk_bound(model->rate_per_s, model->k1_s + model->k3_s * law->max,
                          model->k2_s + model->k4_s * law->max, &bound, NULL) == KM_OK)
            out->bound_response_s = bound;
    }
}

enum km_status km_queue_point_solve(const struct km_queue_section *section, const struct km_token_law *law,
                                    const struct km_queue_effort *effort, struct km_arena *arena,
                                    struct km_queue_point *out, struct km_error *error)
{
    struct km_queue_model model = section->model;
    model.tokens = law;
    *out = (struct km_queue_point){.theory = km_queue_answer_blank()};
    out->tail = (struct km_wait_tail){
        section->wait_tail_count, section->wait_tail_s,
        km_arena_alloc(arena, section->wait_tail_count * sizeof *out->tail.probability + 1)};
    enum km_status status = km_queue_model_solve(&model, &out->tail, &out->theory, error);
    solve_extras(&model, out);
    if (status != KM_OK || effort->theory_only || !can_simulate(section))
        return status;
    status = simulate(section, law, effort, arena, &out->simulation, error);
    out->simulated = status == KM_OK;
    out->asked_requests = effort->requests;
    return status;
}
