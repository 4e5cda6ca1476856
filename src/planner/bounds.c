#include "planner/bounds.h"

#include "base/memory.h"
#include "batching/batching.h"

#include <math.h>
#include <stdlib.h>

#define ROUNDED       (1.0 - 1e-6) /* sums taken in another order, and whole picoseconds */
#define READ_OFF      0.97         /* quantiles that a report reads off a sketch, against exact ones */
#define WINDOW_SPLIT  4u           /* windows: the whole span, its quarters, their quarters */
#define WINDOW_LEVELS 3u

/* --- what a request takes when it is alone ---------------------------------------------------------------
 */

struct alone {
    double *ttft_s, *tpot_s; /* [count]; tpot of single tokens 0 */
};

static void alone_create(const struct km_setup *setup, const struct km_step_bound *steps,
                         const struct km_load *load, struct alone *out)
{
    out->ttft_s = km_alloc((load->count + 1) * sizeof(double));
    out->tpot_s = km_alloc((load->count + 1) * sizeof(double));
    double sample_s = km_step_bound_sample_s(steps), context_s = km_step_bound_context_s(steps);
    double pair_s = km_step_bound_pair_s(steps), token_s = km_step_bound_tokens_s(steps, 1.0);
    const struct km_frontend *frontend = &setup->cost_config.engine->frontend;
    const double chunk_s = km_frontend_times(frontend).chunk_s;
    for (uint64_t i = 0; i < load->count; i++) {
        double prompt = load->hashed ? 1.0 : load->requests[i].prompt_tokens;
        double output = load->requests[i].output_tokens;
        double pairs = load->hashed ? 0.0 : prompt * (prompt + 1.0) / 2.0;
        out->ttft_s[i] =
            ROUNDED * (km_frontend_alone_s(frontend, prompt) + km_step_bound_tokens_s(steps, prompt) +
                       sample_s + pair_s * pairs + chunk_s);
        if (output >= 2.0)
            out->tpot_s[i] =
                ROUNDED * (token_s + sample_s + context_s * (load->requests[i].prompt_tokens + output / 2.0));
    }
}

static void alone_release(struct alone *alone)
{
    free(alone->ttft_s);
    free(alone->tpot_s);
}

static double alone_value(const struct alone *alone, const struct km_load *load, uint64_t i, int metric)
{
    double output = load->requests[i].output_tokens;
    double e2e_s = alone->ttft_s[i] + (output - 1.0) * alone->tpot_s[i];
    switch (metric) {
    case KM_TTFT:
        return alone->ttft_s[i];
    case KM_TPOT:
        return alone->tpot_s[i];
    case KM_E2E:
        return e2e_s;
    case KM_NORMALIZED:
        return e2e_s / output;
    default:
        return 0.0;
    }
}

/* --- latency ----------------------------------------------------------------------------------------------
 */

static void exchange(double *a, double *b)
{
    double kept = *a;
    *a = *b;
    *b = kept;
}

/* Reorder values[count] so that the `keep` smallest come first, 0 < keep <= count (Hoare 1961, "Algorithm 65:
 * find"), and return the greatest of them. */
static double partition(double *values, uint64_t count, uint64_t keep)
{
    uint64_t low = 0, high = count; /* what is before `low` stays, and what is from `high` on */
    while (high - low > 1) {
        double pivot = values[low + (high - low) / 2];
        uint64_t below = low, same = low, above = high; /* three parts: smaller, equal, greater */
        while (same < above) {
            if (values[same] < pivot)
                exchange(&values[below++], &values[same++]);
            else if (values[same] > pivot)
                exchange(&values[same], &values[--above]);
            else
                same++;
        }
        if (keep <= below)
            high = below;
        else if (keep > above)
            low = above;
        else
            return pivot;
    }
    return values[low];
}

/* Can the term be judged by single requests of the whole load? */
static bool speaks_of_requests(const struct km_slo_term *term)
{
    return !term->of_class && term->metric < (int)KM_LATENCY_COUNT && term->metric != (int)KM_ITL &&
           term->metric != (int)KM_QUEUEING_DELAY;
}

/* The least value of the term; TPOT is a matter of requests with a gap alone. */
static double least_value(const struct alone *alone, const struct km_load *load,
                          const struct km_slo_term *term, double *scratch)
{
    uint64_t count = 0;
    double sum = 0.0;
    for (uint64_t i = 0; i < load->count; i++) {
        if (term->metric == (int)KM_TPOT && load->requests[i].output_tokens < 2)
            continue;
        scratch[count] = alone_value(alone, load, i, term->metric);
        sum += scratch[count++];
    }
    if (count == 0)
        return 0.0;
    if (term->quantile < 0.0)
        return ROUNDED * sum / (double)count;
    /* The term holds iff ceil(q n) are within: then the ceil(q n)-th smallest is. */
    double rank = ceil(term->quantile * (double)count * (1.0 - 1e-12));
    return partition(scratch, count, rank < 1.0 ? 1 : (uint64_t)rank);
}

static void bound_latency(const struct alone *alone, const struct km_load *load,
                          const struct km_scenario *scenario, double *scratch, struct km_candidate *candidate,
                          struct km_text *reason)
{
    static const struct km_slo_term medians[] = {{.metric = KM_TTFT, .quantile = 0.5},
                                                 {.metric = KM_TPOT, .quantile = 0.5}};
    struct km_candidate_bounds *bounds = &candidate->bounds;
    bounds->ttft_s = least_value(alone, load, &medians[0], scratch);
    bounds->tpot_s = least_value(alone, load, &medians[1], scratch);
    for (uint32_t i = 0; i < scenario->slo_count; i++) {
        const struct km_slo_term *term = &scenario->slo[i];
        if (!speaks_of_requests(term))
            continue;
        double value = least_value(alone, load, term, scratch), ratio = value / term->limit;
        bounds->latency_ratio = fmax(bounds->latency_ratio, READ_OFF * ratio);
        if (ratio <= 1.0)
            continue;
        char name[160];
        km_slo_term_name(term, name, sizeof name);
        km_text_printf(reason, "%s%s is at least %.3g even with no other request, limit %.3g",
                       reason->length ? "; " : "", name, value, term->limit);
        candidate->fate = KM_FATE_LATENCY;
    }
}

/* --- throughput -------------------------------------------------------------------------------------------
 */

/* By when a request's work must be done: slack_s + per_token_s * (its tokens) after its arrival, or by a
 * deadline; all but `spare` requests. */
struct due {
    double slack_s, per_token_s;
    double spare;
    double deadline_s; /* since the first arrival; 0 = none */
    bool whole;        /* else the prompt alone */
};

static const struct km_slo_term *find_term(const struct km_scenario *scenario, int metric)
{
    const struct km_slo_term *best = NULL;
    for (uint32_t i = 0; i < scenario->slo_count; i++) {
        const struct km_slo_term *term = &scenario->slo[i];
        if (term->metric == metric && !term->of_class &&
            (term->quantile > 0.0 || metric == KM_SLO_DEADLINE) && (!best || term->quantile > best->quantile))
            best = term;
    }
    return best;
}

static double spare_of(const struct km_slo_term *term, const struct km_load *load)
{
    return (1.0 - term->quantile) * (double)load->count;
}

static uint32_t list_dues(const struct km_scenario *scenario, const struct km_load *load, struct due dues[5])
{
    const struct km_slo_term *ttft = find_term(scenario, KM_TTFT), *tpot = find_term(scenario, KM_TPOT),
                             *e2e = find_term(scenario, KM_E2E),
                             *normalized = find_term(scenario, KM_NORMALIZED),
                             *deadline = find_term(scenario, KM_SLO_DEADLINE);
    uint32_t count = 0;
    if (ttft && !tpot)
        dues[count++] = (struct due){.slack_s = ttft->limit, .spare = spare_of(ttft, load)};
    if (ttft && tpot)
        dues[count++] = (struct due){.slack_s = ttft->limit,
                                     .per_token_s = tpot->limit,
                                     .spare = spare_of(ttft, load) + spare_of(tpot, load),
                                     .whole = true};
    if (e2e)
        dues[count++] = (struct due){.slack_s = e2e->limit, .spare = spare_of(e2e, load), .whole = true};
    if (normalized)
        dues[count++] = (struct due){
            .per_token_s = normalized->limit, .spare = spare_of(normalized, load), .whole = true};
    if (deadline)
        dues[count++] = (struct due){.deadline_s = deadline->limit, .whole = true};
    return count;
}

static struct km_work_amount amount_of(const struct km_load_request *r, double prompt_share, bool whole)
{
    double decodes = whole ? r->output_tokens - 1.0 : 0.0;
    return (struct km_work_amount){.decodes = decodes,
                                   .tokens = r->prompt_tokens * prompt_share,
                                   .context = decodes * (r->prompt_tokens + r->output_tokens / 2.0)};
}

struct demand {
    const struct km_load *load;
    const struct due *due;
    struct km_work_prices prices;
    double prompt_share; /* of each prompt that counts: 1, or 0 when a cache might have it */
    double *scratch;
};

static double slack_of(const struct demand *demand, uint64_t i)
{
    return demand->due->slack_s + demand->due->per_token_s * demand->load->requests[i].output_tokens;
}

/* The sum of all but the `spare` largest of values[count], which are reordered. */
static double sum_without_largest(double *values, uint64_t count, double spare)
{
    double leave = ceil(spare), sum = 0.0;
    if (leave >= (double)count)
        return 0.0;
    uint64_t keep = count - (uint64_t)leave;
    if (keep < count)
        partition(values, count, keep);
    for (uint64_t i = 0; i < keep; i++)
        sum += values[i];
    return sum;
}

static uint64_t first_from(const struct km_load *load, double from_s)
{
    uint64_t low = 0, high = load->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (load->requests[middle].arrival_s < from_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Seconds of a replica that the window's requests with at most `slack_s` of slack need. */
static double window_work_s(const struct demand *demand, double from_s, double to_s, double slack_s)
{
    uint64_t count = 0;
    for (uint64_t i = first_from(demand->load, from_s); i < demand->load->count; i++) {
        const struct km_load_request *r = &demand->load->requests[i];
        if (r->arrival_s > to_s)
            break;
        if (slack_of(demand, i) > slack_s)
            continue;
        const struct km_work_amount amount = amount_of(r, demand->prompt_share, demand->due->whole);
        demand->scratch[count++] = km_work_price(&demand->prices, &amount);
    }
    return ROUNDED * sum_without_largest(demand->scratch, count, demand->due->spare);
}

static void need(struct km_candidate_bounds *bounds, double work_s, double time_s)
{
    double replicas = ceil(work_s / time_s * (1.0 - 1e-9));
    if (replicas > bounds->least_replicas)
        bounds->least_replicas = replicas < 1e9 ? (uint32_t)replicas : 1000000000u;
}

static void note_rate(struct km_candidate_bounds *bounds, double work_s, double slack_s)
{
    /* Of the statements about rates the one with the most work a second of the whole span is kept. */
    if (work_s - slack_s > bounds->work_s - bounds->slack_s) {
        bounds->work_s = work_s;
        bounds->slack_s = slack_s;
    }
}

/* Slacks up to which requests are counted: all of them, and nine in ten. */
static void list_cuts(const struct demand *demand, double cuts[2])
{
    const struct km_load *load = demand->load;
    for (uint64_t i = 0; i < load->count; i++)
        demand->scratch[i] = slack_of(demand, i);
    cuts[0] = partition(demand->scratch, load->count, load->count);
    cuts[1] = partition(demand->scratch, load->count, 1 + (uint64_t)(0.9 * (double)(load->count - 1)));
}

static void bound_windows(const struct demand *demand, struct km_candidate_bounds *bounds)
{
    const struct km_load *load = demand->load;
    double cuts[2];
    list_cuts(demand, cuts);
    for (uint32_t c = 0; c < 2; c++) {
        uint32_t parts = 1;
        for (uint32_t level = 0; level < WINDOW_LEVELS; level++, parts *= WINDOW_SPLIT)
            for (uint32_t p = 0; p < parts; p++) {
                double from_s = load->span_s * p / parts, to_s = load->span_s * (p + 1) / parts;
                double work_s = window_work_s(demand, from_s, to_s, cuts[c]);
                need(bounds, work_s, to_s - from_s + cuts[c]);
                if (parts == 1)
                    note_rate(bounds, work_s, cuts[c]);
            }
        if (cuts[1] >= cuts[0])
            break;
    }
}

static struct km_work_amount total_of(const struct km_load *load, bool whole)
{
    struct km_work_amount total = {0};
    for (uint64_t i = 0; i < load->count; i++) {
        const struct km_work_amount one = amount_of(&load->requests[i], load->hashed ? 0.0 : 1.0, whole);
        total.decodes += one.decodes;
        total.tokens += one.tokens;
        total.context += one.context;
    }
    return total;
}

static void bound_throughput(const struct km_setup *setup, const struct km_step_bound *steps,
                             const struct km_load *load, double *scratch, struct km_candidate *candidate)
{
    const struct km_scenario *scenario = setup->scenario;
    const struct km_engine *engine = setup->cost_config.engine;
    struct due dues[5];
    uint32_t due_count = list_dues(scenario, load, dues);
    double data = scenario->cluster.data_parallel_size;
    uint32_t full =
        km_kv_full_groups(&setup->memory.groups); /* windowed layers keep a window of any context */
    const struct km_work_limits limits = {
        .sequences = engine->max_num_seqs * data,
        .context_tokens = load->hashed || full == 0 ? 0.0 : (double)setup->blocks * engine->block_size / full,
        .step_tokens = km_batching_find(engine->policy)->traits & KM_BATCHING_WITHIN_BUDGET
                           ? engine->max_num_batched_tokens * data
                           : 0.0};
    const struct km_work_amount everything = total_of(load, true);
    struct km_work_prices prices;
    km_work_prices_find(steps, &limits, &everything, &prices);
    candidate->bounds.busy_s = ROUNDED * km_work_price(&prices, &everything);
    for (uint32_t d = 0; d < due_count; d++) {
        const struct km_work_amount total = total_of(load, dues[d].whole);
        struct demand demand = {
            .load = load, .due = &dues[d], .prompt_share = load->hashed ? 0.0 : 1.0, .scratch = scratch};
        km_work_prices_find(steps, &limits, &total, &demand.prices);
        if (dues[d].deadline_s > 0.0) {
            need(&candidate->bounds, candidate->bounds.busy_s, dues[d].deadline_s);
        } else {
            bound_windows(&demand, &candidate->bounds);
        }
    }
}

double km_bounds_most_rate_per_s(const struct km_candidate_bounds *bounds, const struct km_load *load,
                                 uint32_t replicas)
{
    /* At `scale` times the rate the span is span / scale: work <= replicas * (span / scale + slack). */
    double left_s = bounds->work_s - replicas * bounds->slack_s;
    if (!(left_s > 0.0) || !(load->rate_per_s > 0.0))
        return (double)INFINITY;
    return load->rate_per_s * replicas * load->span_s / left_s;
}

/* --- both -------------------------------------------------------------------------------------------------
 */

static void rule_out_throughput(const struct km_load *load, struct km_candidate *candidate,
                                struct km_text *reason)
{
    struct km_candidate_bounds *bounds = &candidate->bounds;
    if (bounds->least_replicas <= candidate->most_replicas)
        return;
    candidate->fate = KM_FATE_THROUGHPUT;
    double most_per_s = km_bounds_most_rate_per_s(bounds, load, candidate->most_replicas);
    km_text_printf(reason, "the work alone takes %u replicas; %u are %u GPUs", bounds->least_replicas,
                   candidate->most_replicas, candidate->most_replicas * candidate->gpus_per_replica);
    if (isfinite(most_per_s))
        km_text_printf(reason, ", at most %.3g requests/s", most_per_s);
}

/* Where some requests may go unserved there is less work than the bounds suppose. */
static bool may_reject(const struct km_scenario *scenario)
{
    for (uint32_t i = 0; i < scenario->slo_count; i++)
        if (scenario->slo[i].metric == KM_SLO_REJECTED_SHARE && scenario->slo[i].limit > 0.0)
            return true;
    return false;
}

enum km_status km_bounds_find(const struct km_setup *setup, const struct km_load *load,
                              struct km_candidate *candidate, char **reason, struct km_error *error)
{
    struct km_step_bound steps;
    struct alone alone;
    struct km_text why = {0};
    *reason = NULL;
    candidate->bounds =
        (struct km_candidate_bounds){.least_replicas = 1, .ttft_s = (double)NAN, .tpot_s = (double)NAN};
    if (!load->open || load->count == 0 || load->asked.patience_s > 0.0 || may_reject(setup->scenario))
        return KM_OK;
    enum km_status status = km_step_bound_create(setup, &steps, error);
    if (status != KM_OK)
        return status;
    double *scratch = km_alloc((load->count + 1) * sizeof *scratch);
    alone_create(setup, &steps, load, &alone);
    bound_latency(&alone, load, setup->scenario, scratch, candidate, &why);
    if (candidate->fate == KM_FATE_OPEN) {
        bound_throughput(setup, &steps, load, scratch, candidate);
        rule_out_throughput(load, candidate, &why);
    }
    if (why.length)
        *reason = km_strdup(km_text_c(&why));
    km_text_release(&why);
    alone_release(&alone);
    free(scratch);
    km_step_bound_release(&steps);
    return KM_OK;
}
