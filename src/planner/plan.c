#include "planner/plan.h"

#include "base/pool.h"
#include "base/wall_clock.h"
#include "cost/profile/store.h"
#include "planner/bounds.h"
#include "planner/model_len.h"
#include "planner/pareto.h"
#include "planner/rank.h"
#include "planner/rates.h"
#include "planner/round.h"
#include "scenario/accuracy_key.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the search ----------------------------------------------------------------------------------------- */

struct search {
    struct km_plan *plan;
    const struct km_plan_options *options;
    struct km_candidate_source source;
    struct km_rank *found; /* [found_count] keys of the plans that hold, ascending */
    uint64_t found_count;
};

static void keep_found(struct search *search, const struct km_rank *rank)
{
    uint64_t i = search->found_count++;
    for (; i > 0 && km_rank_before(rank, &search->found[i - 1]); i--)
        search->found[i] = search->found[i - 1];
    search->found[i] = *rank;
}

/* Can a plan with this key still be among the best `top`? */
static bool may_matter(const struct search *search, const struct km_rank *least)
{
    uint64_t top = search->plan->search.top;
    return search->options->exhaustive || search->found_count < top ||
           km_rank_before(least, &search->found[top - 1]);
}

static const char *beaten_reason(struct km_plan *plan, const struct km_rank *least, uint32_t replicas)
{
    static const char *const units[KM_OBJECTIVE_COUNT] = {
        [KM_OBJECTIVE_GPUS] = "GPUs",
        [KM_OBJECTIVE_USD_PER_HOUR] = "USD per hour",
        [KM_OBJECTIVE_USD_PER_MILLION_TOKENS] = "USD per million tokens",
        [KM_OBJECTIVE_ENERGY] = "J",
    };
    return km_arena_printf(&plan->candidates.arena, "at least %u replica%s, %.4g %s", replicas,
                           replicas == 1 ? "" : "s", least->parts[0], units[plan->search.objective]);
}

static void collect_round(struct search *search, struct km_round *round, uint64_t *open)
{
    struct km_plan *plan = search->plan;
    *round = (struct km_round){.source = &search->source, .load = &plan->load, .demand = plan->demand};
    *open = 0;
    for (uint64_t i = 0; i < plan->candidates.count; i++) {
        struct km_candidate *candidate = &plan->candidates.items[i];
        if (candidate->fate != KM_FATE_OPEN)
            continue;
        uint32_t replicas = candidate->replicas ? candidate->replicas + 1 : candidate->least_replicas;
        struct km_rank least = km_rank_least(&plan->search, &plan->load, candidate, replicas);
        if (!may_matter(search, &least)) {
            candidate->fate = KM_FATE_BEATEN;
            candidate->reason = beaten_reason(plan, &least, replicas);
            continue;
        }
        ++*open;
        km_round_offer(round, candidate, replicas, &least);
    }
}

static const char *miss_reason(struct km_plan *plan, const struct km_probe *probe)
{
    struct km_text reason = {0};
    km_probe_explain(probe, &reason);
    const char *copy = km_arena_strdup(&plan->candidates.arena, km_text_c(&reason));
    km_text_release(&reason);
    return copy;
}

static void settle(struct search *search, const struct km_round_run *trial)
{
    struct km_plan *plan = search->plan;
    struct km_candidate *candidate = trial->candidate;
    free(candidate->probe);
    candidate->probe = trial->probe;
    candidate->replicas = trial->replicas;
    candidate->decision = trial->decision;
    candidate->runs++;
    plan->statistics.runs++;
    plan->statistics.replications += trial->decision.replications;
    plan->statistics.cut_runs += trial->probe->cut;
    if (trial->holds) {
        candidate->fate = KM_FATE_HOLDS;
        const struct km_rank rank =
            km_rank_of(&plan->search, &plan->load, candidate, trial->replicas, trial->probe);
        keep_found(search, &rank);
    } else if (trial->replicas >= candidate->most_replicas) {
        struct km_text reason = {0};
        if (trial->probe->holds)
            km_text_printf(&reason, "holds as it is, but on %u of %u workloads like it", trial->decision.held,
                           trial->decision.replications);
        else
            km_probe_explain(trial->probe, &reason);
        candidate->reason = km_arena_strdup(&plan->candidates.arena, km_text_c(&reason));
        candidate->fate = KM_FATE_SLO;
        km_text_release(&reason);
    }
}

static enum km_status run_round(struct search *search, struct km_round *round, struct km_error *error)
{
    enum km_status status = km_round_simulate(round, search->options->workers, error);
    if (status != KM_OK)
        return status;
    search->plan->statistics.rounds++;
    for (uint32_t i = 0; i < round->count; i++)
        settle(search, &round->runs[i]);
    return KM_OK;
}

/* How many candidates are decided; how many runs that takes is not known before. */
static void tell_search(const struct search *search, uint64_t open, uint64_t open_at_start)
{
    const struct km_candidate *best =
        search->found_count ? &search->plan->candidates.items[search->found[0].point] : NULL;
    uint64_t runs = search->plan->statistics.runs;
    char note[240];
    if (best)
        snprintf(note, sizeof note, "best %u x %s, %s; %" PRIu64 " runs",
                 best->replicas * best->gpus_per_replica, best->device, best->layout, runs);
    else
        snprintf(note, sizeof note, "%" PRIu64 " runs, none holds yet", runs);
    km_watch_tell(&search->options->watch, "search", note, 1.0 - (double)open / (double)open_at_start);
}

static enum km_status run_search(struct search *search, struct km_error *error)
{
    uint64_t open, open_at_start = 0;
    for (;;) {
        struct km_round round;
        collect_round(search, &round, &open);
        if (open == 0)
            return KM_OK;
        if (open_at_start == 0)
            open_at_start = open;
        tell_search(search, open, open_at_start);
        enum km_status status = run_round(search, &round, error);
        if (status != KM_OK)
            return status;
    }
}

/* The cheapest plan found must hold in the long run, too: its maximum rate, over many workloads and as long
 * as chance asks for, must not be below the load. Otherwise the search goes on, with one replica more of it.
 */
static void reject(struct search *search, struct km_candidate *candidate)
{
    struct km_plan *plan = search->plan;
    const struct km_capacity *c = candidate->capacity;
    candidate->reason = km_arena_printf(&plan->candidates.arena,
                                        "holds as drawn, but over %u workloads sustains %.4g/s on average",
                                        c->replications, c->rate_per_s);
    candidate->fate = candidate->replicas >= candidate->most_replicas ? KM_FATE_SLO : KM_FATE_OPEN;
    candidate->capacity = NULL;
    search->found_count--;
    for (uint64_t i = 0; i < search->found_count; i++)
        search->found[i] = search->found[i + 1];
    /* What was beaten by it may matter again. */
    for (uint64_t i = 0; i < plan->candidates.count; i++)
        if (plan->candidates.items[i].fate == KM_FATE_BEATEN)
            plan->candidates.items[i].fate = KM_FATE_OPEN;
}

static enum km_status find_winner(struct search *search, struct km_error *error)
{
    struct km_plan *plan = search->plan;
    for (;;) {
        enum km_status status = run_search(search, error);
        if (status != KM_OK || search->found_count == 0 || search->options->quick)
            return status;
        struct km_candidate *first = &plan->candidates.items[search->found[0].point];
        bool holds;
        status = km_plan_confirm(&search->source, search->options, plan, first, &holds, error);
        if (status != KM_OK || holds)
            return status;
        reject(search, first);
    }
}

/* --- when nothing holds --------------------------------------------------------------------------------- */

/* How near a candidate that fell came, for the order in which to look closer: by the run it fell by, or by
 * the replicas it would take. */
static bool nearness(const struct km_candidate *candidate, struct km_rank *key)
{
    double ratio = 0.0;
    if (candidate->fate == KM_FATE_SLO)
        ratio = candidate->probe->worst_ratio;
    else if (candidate->fate == KM_FATE_LATENCY)
        ratio = candidate->bounds.latency_ratio;
    else if (candidate->fate == KM_FATE_THROUGHPUT)
        ratio = (double)candidate->bounds.least_replicas / candidate->most_replicas;
    *key = (struct km_rank){{ratio}, candidate->point};
    return ratio > 0.0;
}

/* Simulate the nearest to their end, with all the replicas they may have, so that the answer can say by how
 * much they miss. */
static enum km_status look_closer(struct search *search, struct km_error *error)
{
    struct km_plan *plan = search->plan;
    struct km_round round = {
        .source = &search->source, .load = &plan->load, .demand = plan->demand, .whole = true};
    for (uint64_t i = 0; i < plan->candidates.count; i++) {
        struct km_candidate *candidate = &plan->candidates.items[i];
        struct km_rank key;
        if (nearness(candidate, &key))
            km_round_offer(&round, candidate, candidate->most_replicas, &key);
    }
    enum km_status status = km_round_simulate(&round, search->options->workers, error);
    for (uint32_t i = 0; status == KM_OK && i < round.count; i++) {
        struct km_candidate *candidate = round.runs[i].candidate;
        bool whole_miss = candidate->probe && candidate->probe->holds;
        free(candidate->probe);
        candidate->probe = round.runs[i].probe;
        candidate->replicas = candidate->most_replicas;
        plan->statistics.runs++;
        if (candidate->fate == KM_FATE_SLO && !whole_miss)
            candidate->reason = miss_reason(plan, candidate->probe);
    }
    return status;
}

/* --- bounds --------------------------------------------------------------------------------------------- */

struct bounding {
    const struct km_candidate_source *source;
    struct km_plan *plan;
    struct bounded {
        char *reason;
        enum km_status status;
        struct km_error error;
    } * results;
};

static void bound_one(void *context, uint64_t index)
{
    struct bounding *bounding = context;
    struct km_candidate *candidate = &bounding->plan->candidates.items[index];
    struct bounded *result = &bounding->results[index];
    struct km_scenario scenario;
    struct km_setup setup = {0};
    if (candidate->fate != KM_FATE_OPEN)
        return;
    result->status = km_candidate_scenario(bounding->source, index, 0, &scenario, &result->error);
    if (result->status != KM_OK)
        return;
    result->status = km_setup_create(&scenario, &setup, &result->error);
    if (result->status == KM_OK)
        result->status =
            km_bounds_find(&setup, &bounding->plan->load, candidate, &result->reason, &result->error);
    km_setup_release(&setup);
    km_scenario_release(&scenario);
}

static enum km_status find_bounds(struct search *search, struct km_error *error)
{
    struct km_plan *plan = search->plan;
    enum km_status status = KM_OK;
    struct bounding bounding = {&search->source, plan,
                                km_alloc((plan->candidates.count + 1) * sizeof *bounding.results)};
    km_pool_run_watched(search->options->workers, plan->candidates.count, bound_one, &bounding,
                        &search->options->watch, "bounds", NULL);
    for (uint64_t i = 0; i < plan->candidates.count; i++) {
        struct km_candidate *candidate = &plan->candidates.items[i];
        struct bounded *result = &bounding.results[i];
        if (result->reason)
            candidate->reason = km_arena_strdup(&plan->candidates.arena, result->reason);
        free(result->reason);
        if (status == KM_OK && result->status != KM_OK) {
            status = result->status;
            *error = result->error;
        }
        if (candidate->fate != KM_FATE_OPEN || candidate->bounds.least_replicas <= candidate->least_replicas)
            continue;
        plan->statistics.replicas_skipped += candidate->bounds.least_replicas - candidate->least_replicas;
        candidate->least_replicas = candidate->bounds.least_replicas;
    }
    free(bounding.results);
    return status;
}

/* --- the answer ----------------------------------------------------------------------------------------- */

struct ranked {
    struct km_candidate *candidate;
    struct km_rank rank;
};

/* Those that hold by their keys; then the rest by how far they came, and by the least they could cost. */
static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->candidate->fate != y->candidate->fate)
        return x->candidate->fate > y->candidate->fate ? -1 : 1;
    return km_rank_before(&x->rank, &y->rank) ? -1 : km_rank_before(&y->rank, &x->rank) ? 1 : 0;
}

static void make_entry(struct km_plan *plan, const struct ranked *ranked, struct km_plan_entry *entry)
{
    const struct km_candidate *candidate = ranked->candidate;
    uint32_t replicas = candidate->replicas ? candidate->replicas : candidate->least_replicas;
    *entry = (struct km_plan_entry){
        .candidate = ranked->candidate,
        .gpus = replicas * candidate->gpus_per_replica,
        .rented_gpus = km_candidate_rented_gpus(&plan->search, candidate, replicas),
        .usd_per_hour = km_plan_usd_per_hour(&plan->search, candidate, replicas, candidate->probe),
        .usd_per_million_tokens = candidate->probe
                                      ? km_plan_usd_per_million_tokens(&plan->search, &plan->load, candidate,
                                                                       replicas, candidate->probe)
                                      : (double)NAN,
        .cost = ranked->rank.parts[0],
        .least_cost = (double)NAN,
        .most_cost = (double)NAN,
    };
    plan->holding += candidate->fate == KM_FATE_HOLDS;
    plan->statistics.fates[candidate->fate]++;
}

static void make_entries(struct km_plan *plan)
{
    uint64_t count = plan->candidates.count;
    struct ranked *ranked = km_alloc((count + 1) * sizeof *ranked);
    for (uint64_t i = 0; i < count; i++) {
        struct km_candidate *candidate = &plan->candidates.items[i];
        uint32_t replicas = candidate->replicas ? candidate->replicas : candidate->least_replicas;
        ranked[i].candidate = candidate;
        ranked[i].rank = candidate->fate == KM_FATE_HOLDS
                             ? km_rank_of(&plan->search, &plan->load, candidate, replicas, candidate->probe)
                             : km_rank_least(&plan->search, &plan->load, candidate, replicas);
    }
    qsort(ranked, count, sizeof *ranked, compare_ranked);
    plan->entries = km_arena_alloc(&plan->arena, (count + 1) * sizeof *plan->entries);
    plan->statistics.candidates = count;
    for (uint64_t i = 0; i < count; i++)
        make_entry(plan, &ranked[i], &plan->entries[i]);
    free(ranked);
}

static enum km_status read_question(const char *path, const struct km_override *overrides,
                                    size_t override_count, const struct km_plan_options *options,
                                    struct km_plan *plan, struct km_error *error)
{
    enum km_status status = km_scenario_read(path, overrides, override_count, &plan->scenario, error);
    if (status != KM_OK)
        return status;
    if (!plan->scenario.search)
        status = km_fail(error, KM_BAD_INPUT, path, 0, 0,
                         "no section \"search\": which plans are to be compared?");
    if (status == KM_OK)
        status = km_search_read(&plan->scenario, &plan->arena, &plan->search, error);
    if (status == KM_OK)
        status = km_scenario_read_accuracy(&plan->accuracy, error);
    if (status == KM_OK && plan->scenario.group_count)
        status = km_fail(error, KM_BAD_INPUT, path, 0, 0,
                         "cluster.groups: kingman plan compares clusters of equal replicas");
    if (status == KM_OK && plan->scenario.scaling.policy)
        status = km_fail(error, KM_BAD_INPUT, path, 0, 0,
                         "autoscaling: kingman plan compares clusters of a fixed size");
    if (status == KM_OK)
        status =
            km_load_create(&plan->scenario, &plan->search, fmax(options->lengthen, 1.0), &plan->load, error);
    plan->thin_term = status == KM_OK ? km_load_thin_term(&plan->load, &plan->scenario) : -1;
    if (status != KM_OK || !plan->load.open)
        return status;
    const struct km_demand_config demand = {.workload = &plan->load.asked,
                                            .seed = plan->load.seed,
                                            .block_s = km_capacity_exact().block_s,
                                            .length = 1.0};
    return km_demand_create(&demand, &plan->demand, error);
}

enum km_status km_plan_create(const char *path, const struct km_override *overrides, size_t override_count,
                              const struct km_plan_options *options, struct km_plan *out,
                              struct km_error *error)
{
    struct search search = {.plan = out, .options = options};
    struct km_profile_store *profiles = km_profile_store_create();
    double start_s = km_wall_now_s();
    *out = (struct km_plan){.exhaustive = options->exhaustive};
    enum km_status status = read_question(path, overrides, override_count, options, out, error);
    if (status != KM_OK || out->thin_term >= 0)
        goto out;
    search.source = (struct km_candidate_source){.path = path,
                                                 .overrides = overrides,
                                                 .override_count = override_count,
                                                 .search = &out->search,
                                                 .profiles = profiles,
                                                 .longest_tokens = km_load_longest_tokens(&out->load)};
    status = km_candidates_create(&search.source, options->workers, &options->watch, &out->candidates, error);
    if (status != KM_OK)
        goto out;
    search.found = km_alloc((out->candidates.count + 1) * sizeof *search.found);
    out->statistics.read_wall_s = km_wall_now_s() - start_s;
    start_s = km_wall_now_s();
    if (!options->exhaustive) {
        status = find_bounds(&search, error);
        out->statistics.bound_wall_s = km_wall_now_s() - start_s;
        start_s = km_wall_now_s();
    }
    if (status == KM_OK)
        status = find_winner(&search, error);
    if (status == KM_OK && search.found_count == 0)
        status = look_closer(&search, error);
    out->statistics.search_wall_s = km_wall_now_s() - start_s;
    if (status != KM_OK)
        goto out;
    make_entries(out);
    start_s = km_wall_now_s();
    status = km_plan_find_rates(&search.source, options, out, error);
    out->statistics.rate_wall_s = km_wall_now_s() - start_s;
    if (status == KM_OK)
        km_pareto_mark(out->entries, out->holding);
out:
    free(search.found);
    km_profile_store_destroy(profiles);
    if (status != KM_OK)
        km_plan_release(out);
    return status;
}

void km_plan_release(struct km_plan *plan)
{
    km_candidates_release(&plan->candidates);
    km_demand_destroy(plan->demand);
    km_load_release(&plan->load);
    km_accuracy_release(&plan->accuracy);
    km_scenario_release(&plan->scenario);
    km_arena_release(&plan->arena);
    *plan = (struct km_plan){0};
}
