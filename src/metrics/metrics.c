#include "metrics/metrics.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "base/wide.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_GROUP (-1)

struct class_group {
    char name[KM_MAX_CLASS_NAME + 1];
    struct km_collection *group; /* NULL until its first request */
};

struct km_metrics {
    struct km_collection *all;
    struct km_stability *stability;
    struct km_slo slo;

    /* Classes: slots, those of SLO terms first, and the slot of each class number. */
    uint32_t class_count, left_out;
    struct class_group classes[KM_MAX_CLASSES];
    int8_t *slot_of; /* [known] */
    size_t known, slot_capacity;

    uint64_t submitted, preemptions, cancelled_tokens;
    uint64_t first_arrival_ps, last_end_ps; /* last_end_ps: of a request that was let in */

    uint64_t in_system, peak_in_system, in_system_since_ps;
    km_u128 in_system_ps; /* time integral */

    uint64_t steps;
    km_u128 step_ps, step_sequences, step_tokens;
    double busy_s, block_seconds;
    uint64_t peak_blocks, queried_tokens, hit_tokens;
};

/* --- classes ------------------------------------------------------------------------------------------- */

/* The slot of this name, a new one if need be; NO_GROUP when there is no room. */
static int find_slot(struct km_metrics *m, const char *name)
{
    char cut[KM_MAX_CLASS_NAME + 1] = {0};
    snprintf(cut, sizeof cut, "%s", name);
    for (uint32_t i = 0; i < m->class_count; i++)
        if (strcmp(m->classes[i].name, cut) == 0)
            return (int)i;
    if (m->class_count == KM_MAX_CLASSES)
        return NO_GROUP;
    memcpy(m->classes[m->class_count].name, cut, sizeof cut);
    return (int)m->class_count++;
}

static void number_class(struct km_metrics *m, uint32_t index, int slot)
{
    m->slot_of = km_grow(m->slot_of, &m->slot_capacity, (size_t)index + 1, sizeof *m->slot_of);
    while (m->known <= index)
        m->slot_of[m->known++] = NO_GROUP;
    m->slot_of[index] = (int8_t)slot;
}

/* Until another class is named every request is of class 0, and the totals are its own. */
static void begin_classes(struct km_metrics *m)
{
    int slot = find_slot(m, "");
    number_class(m, 0, slot);
    bool nothing = km_tally_requests(&m->all->tally) == 0 && km_sketch_count(m->all->samples[KM_ITL]) == 0;
    if (slot == NO_GROUP || nothing)
        return;
    m->classes[slot].group = km_collection_copy(m->all);
}

void km_metrics_class(struct km_metrics *m, uint32_t index, const char *name)
{
    if (m->known == 0)
        begin_classes(m);
    if (index == 0)
        return;
    int slot = find_slot(m, name);
    m->left_out += slot == NO_GROUP;
    number_class(m, index, slot);
}

/* The group a request counts in besides all, or NULL. */
static struct km_collection *group_of(struct km_metrics *m, uint32_t class_index, int *slot)
{
    *slot = class_index < m->known ? m->slot_of[class_index] : NO_GROUP;
    if (*slot == NO_GROUP)
        return NULL;
    struct class_group *class_group = &m->classes[*slot];
    if (!class_group->group)
        class_group->group = km_collection_create();
    return class_group->group;
}

/* --- recording ----------------------------------------------------------------------------------------- */

struct km_metrics *km_metrics_create(const struct km_metrics_settings *settings)
{
    assert(settings->slo_count <= KM_MAX_SLO_TERMS);
    struct km_metrics *m = km_alloc(sizeof *m);
    m->all = km_collection_create();
    m->stability = km_stability_create();
    m->slo.count = settings->slo_count;
    bool by_class = false;
    for (uint32_t i = 0; i < settings->slo_count; i++) {
        const struct km_slo_term *term = &settings->slo[i];
        m->slo.terms[i] = (struct km_slo_count){.term = *term, .group = KM_SLO_ALL};
        if (term->metric != KM_SLO_GOODPUT && !km_slo_is_share(term->metric))
            m->slo.terms[i].limit_ps = km_ps_from_s(term->limit);
        if (!term->of_class)
            continue;
        m->slo.terms[i].group = find_slot(m, term->class_name);
        assert(m->slo.terms[i].group != NO_GROUP);
        by_class = true;
    }
    if (by_class)
        begin_classes(m);
    return m;
}

void km_metrics_destroy(struct km_metrics *m)
{
    if (!m)
        return;
    km_collection_destroy(m->all);
    for (uint32_t i = 0; i < m->class_count; i++)
        km_collection_destroy(m->classes[i].group);
    free(m->slot_of);
    km_stability_destroy(m->stability);
    free(m);
}

void km_metrics_arrival(struct km_metrics *m, uint64_t now_ps)
{
    if (m->submitted++ == 0)
        m->first_arrival_ps = now_ps;
    km_stability_arrival(m->stability, now_ps, m->submitted - km_tally_requests(&m->all->tally));
}

void km_metrics_request(struct km_metrics *m, enum km_outcome outcome, const struct km_record *r,
                        uint64_t now_ps)
{
    int slot;
    struct km_collection *class_group = group_of(m, r->class_index, &slot);
    if (outcome == KM_REJECTED) {
        m->all->tally.rejected++;
        if (class_group)
            class_group->tally.rejected++;
        return;
    }
    if (now_ps > m->last_end_ps)
        m->last_end_ps = now_ps;
    if (outcome == KM_CANCELLED) {
        m->all->tally.cancelled++;
        m->cancelled_tokens += r->output_tokens;
        if (class_group)
            class_group->tally.cancelled++;
        km_stability_left_queue(m->stability, r->scheduled_ps ? r->scheduled_ps : now_ps);
        return;
    }
    if (outcome == KM_ABANDONED) {
        m->all->tally.abandoned++;
        if (class_group)
            class_group->tally.abandoned++;
        km_stability_left_queue(m->stability, now_ps);
        return;
    }
    assert(r->output_tokens >= 1 && r->arrival_ps <= r->scheduled_ps && r->queued_ps <= r->scheduled_ps);
    assert(r->scheduled_ps <= r->started_ps);
    assert(r->started_ps <= r->first_token_ps && r->first_token_ps <= r->last_token_ps);
    km_stability_left_queue(m->stability, r->scheduled_ps);

    struct km_served served = {
        .since_start_ps = now_ps - m->first_arrival_ps,
        .decode_ps = r->last_token_ps - r->first_token_ps,
        .gaps = r->output_tokens - 1,
    };
    for (int metric = 0; metric < KM_LATENCY_COUNT; metric++)
        km_record_latency(r, (enum km_latency)metric, &served.ps[metric]);
    bool good = km_slo_serve(&m->slo, slot, &served);
    km_collection_serve(m->all, &served, r->prompt_tokens, r->output_tokens, good);
    if (class_group)
        km_collection_serve(class_group, &served, r->prompt_tokens, r->output_tokens, good);
}

void km_metrics_until(struct km_metrics *m, uint64_t until_ps)
{
    m->last_end_ps = until_ps > m->last_end_ps ? until_ps : m->last_end_ps;
}

void km_metrics_preemption(struct km_metrics *m)
{
    m->preemptions++;
}

void km_metrics_gaps(struct km_metrics *m, uint64_t first_ps, int64_t slope_ps, uint64_t steps,
                     uint64_t sequences)
{
    km_sketch_add_progression(m->all->samples[KM_ITL], first_ps, slope_ps, steps, sequences);
    km_slo_gaps(&m->slo, KM_SLO_ALL, first_ps, slope_ps, steps, sequences);
}

void km_metrics_class_gaps(struct km_metrics *m, uint32_t class_index, uint64_t first_ps, int64_t slope_ps,
                           uint64_t steps, uint64_t sequences)
{
    int slot;
    struct km_collection *group = group_of(m, class_index, &slot);
    if (!group)
        return;
    km_sketch_add_progression(group->samples[KM_ITL], first_ps, slope_ps, steps, sequences);
    km_slo_gaps(&m->slo, slot, first_ps, slope_ps, steps, sequences);
}

bool km_metrics_has_classes(const struct km_metrics *m)
{
    return m->known > 0;
}

void km_metrics_steps(struct km_metrics *m, uint64_t steps, uint64_t sequences, uint64_t tokens,
                      uint64_t duration_ps)
{
    m->steps += steps;
    m->step_sequences += (km_u128)steps * sequences;
    m->step_tokens += (km_u128)steps * tokens;
    m->step_ps += duration_ps;
}

void km_metrics_busy(struct km_metrics *m, double busy_s)
{
    m->busy_s += busy_s;
}

void km_metrics_kv(struct km_metrics *m, double block_seconds, uint64_t peak_blocks)
{
    m->block_seconds += block_seconds;
    m->peak_blocks += peak_blocks;
}

void km_metrics_in_system(struct km_metrics *m, uint64_t now_ps, uint64_t in_system)
{
    assert(now_ps >= m->in_system_since_ps);
    m->in_system_ps += (km_u128)(now_ps - m->in_system_since_ps) * m->in_system;
    m->in_system_since_ps = now_ps;
    m->in_system = in_system;
    if (in_system > m->peak_in_system)
        m->peak_in_system = in_system;
}

void km_metrics_prefix(struct km_metrics *m, uint64_t queried_tokens, uint64_t hit_tokens)
{
    m->queried_tokens += queried_tokens;
    m->hit_tokens += hit_tokens;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : (double)NAN;
}

/* --- the end ------------------------------------------------------------------------------------------- */

/* A latency term: the samples within the limit are counted exactly, so the verdict is exact; the value, read
 * from the sketch, is kept on the limit's side that the count proves. */
static void judge_latency(const struct km_slo_count *counted, const struct km_collection *group,
                          struct km_slo_outcome *out)
{
    const struct km_sketch *s = group->samples[counted->term.metric];
    double limit_s = counted->term.limit, quantile = counted->term.quantile;
    out->within = counted->within;
    out->count = km_sketch_count(s);
    if (quantile < 0) {
        out->value = km_sketch_mean_ps(s) * 1e-12;
        out->attained = !(out->value > limit_s);
        return;
    }
    out->value = km_sketch_quantile_ps(s, quantile) * 1e-12;
    out->attained = (double)out->within >= quantile * (double)out->count * (1 - 1e-15);
    if (out->attained && out->value > limit_s)
        out->value = limit_s;
    else if (!out->attained && out->value <= limit_s)
        out->value = nextafter(limit_s, (double)INFINITY);
}

static uint64_t unserved(const struct km_collection *group, int metric)
{
    if (!group)
        return 0;
    return metric == KM_SLO_REJECTED_SHARE ? group->tally.rejected : group->tally.abandoned;
}

/* What was not served, of all that ended; of all requests, without the classes that answer for themselves. */
static void judge_share(const struct km_metrics *m, const struct km_slo_count *counted,
                        const struct km_collection *group, struct km_slo_outcome *out)
{
    const int metric = counted->term.metric;
    uint64_t lost = unserved(group, metric);
    bool apart[KM_MAX_CLASSES] = {false};
    out->count = out->requests;
    for (uint32_t i = 0; counted->group == KM_SLO_ALL && i < m->slo.count; i++) {
        const struct km_slo_count *other = &m->slo.terms[i];
        if (other->term.metric != metric || other->group == KM_SLO_ALL || apart[other->group] ||
            !m->classes[other->group].group)
            continue;
        apart[other->group] = true;
        lost -= unserved(m->classes[other->group].group, metric);
        out->count -= km_tally_requests(&m->classes[other->group].group->tally);
    }
    out->within = out->count - lost;
    out->value = out->count ? (double)lost / (double)out->count : 0.0;
    out->attained = lost <= km_slo_share_allows(counted->term.limit, out->count);
}

static void judge(const struct km_metrics *m, const struct km_slo_count *counted, double duration_s,
                  struct km_slo_outcome *out)
{
    const struct km_collection *group =
        counted->group == KM_SLO_ALL ? m->all : m->classes[counted->group].group;
    *out = (struct km_slo_outcome){.term = counted->term, .value = (double)NAN};
    if (!group)
        return;
    const struct km_tally *tally = &group->tally;
    out->requests = km_tally_requests(tally);
    if (km_slo_is_share(counted->term.metric)) {
        judge_share(m, counted, group, out);
        return;
    }
    if (tally->completed == 0) {
        out->count = counted->term.metric >= KM_LATENCY_COUNT ? out->requests : 0;
        return;
    }
    switch (counted->term.metric) {
    case KM_SLO_GOODPUT:
        out->value = ratio((double)tally->good, duration_s);
        out->within = tally->good;
        out->count = out->requests;
        out->attained = out->value >= counted->term.limit;
        break;
    case KM_SLO_DEADLINE: /* stopped early, some requests never ended */
        out->value = km_s_from_ps(tally->last_end_ps);
        out->within = counted->within;
        out->count = out->requests;
        out->attained = out->within == out->count && m->submitted == km_tally_requests(&m->all->tally);
        break;
    default:
        judge_latency(counted, group, out);
    }
}

static void summarize_class(const struct km_metrics *m, const struct class_group *class_group,
                            const struct km_summary *summary, struct km_class_summary *out)
{
    const struct km_tally *tally = &class_group->group->tally;
    *out = (struct km_class_summary){
        .requests = km_tally_requests(tally),
        .completed = tally->completed,
        .rejected = tally->rejected,
        .abandoned = tally->abandoned,
        .cancelled = tally->cancelled,
        .prompt_tokens = tally->prompt_tokens,
        .output_tokens = tally->output_tokens,
        .requests_per_s = ratio((double)tally->completed, summary->duration_s),
        .goodput_per_s = m->slo.count ? ratio((double)tally->good, summary->duration_s) : (double)NAN,
    };
    memcpy(out->name, class_group->name, sizeof out->name);
    for (int i = 0; i < KM_LATENCY_COUNT; i++)
        km_collection_summarize(class_group->group, (enum km_latency)i, summary->verdict != KM_SATURATED,
                                &out->latency[i]);
}

static void summarize_classes(const struct km_metrics *m, struct km_summary *out)
{
    out->classes_left_out = m->left_out;
    bool listed[KM_MAX_CLASSES] = {false};
    for (size_t i = 0; i < m->known; i++) {
        int slot = m->slot_of[i];
        if (slot == NO_GROUP || listed[slot] || !m->classes[slot].group)
            continue;
        listed[slot] = true;
        summarize_class(m, &m->classes[slot], out, &out->classes[out->class_count++]);
    }
    /* Requests without a class alone are no classes. */
    if (out->class_count == 1 && out->classes[0].name[0] == '\0' && out->classes_left_out == 0)
        out->class_count = 0;
}

void km_metrics_summarize(const struct km_metrics *m, struct km_summary *out)
{
    const struct km_tally *tally = &m->all->tally;
    double duration_s = tally->completed ? km_s_from_ps(tally->last_end_ps) : (double)NAN;
    double span_s = tally->completed ? km_s_from_ps(m->last_end_ps - m->first_arrival_ps) : (double)NAN;
    *out = (struct km_summary){
        .submitted = m->submitted,
        .completed = tally->completed,
        .rejected = tally->rejected,
        .abandoned = tally->abandoned,
        .cancelled = tally->cancelled,
        .cancelled_tokens = m->cancelled_tokens,
        .preemptions = m->preemptions,
        .prompt_tokens = tally->prompt_tokens,
        .output_tokens = tally->output_tokens,
        .duration_s = duration_s,
        .span_s = span_s,
        .requests_per_s = ratio((double)tally->completed, duration_s),
        .output_tokens_per_s = ratio((double)tally->output_tokens, duration_s),
        .total_tokens_per_s = ratio((double)tally->prompt_tokens + (double)tally->output_tokens, duration_s),
        .steps = m->steps,
        .step_mean_s = ratio((double)m->step_ps * 1e-12, (double)m->steps),
        .mean_batch_sequences = ratio((double)m->step_sequences, (double)m->steps),
        .mean_batch_tokens = ratio((double)m->step_tokens, (double)m->steps),
        .peak_blocks = m->peak_blocks,
        .mean_blocks = ratio(m->block_seconds, span_s),
        .prefix_hit_rate = ratio((double)m->hit_tokens, (double)m->queried_tokens),
        .busy_s = m->busy_s,
        .verdict = tally->completed ? km_stability_verdict(m->stability, m->all->means[KM_QUEUEING_DELAY])
                                    : KM_UNKNOWN,
        .waiting_at_last_arrival = km_stability_backlog(m->stability),
        .in_system_at_last_arrival = km_stability_in_system(m->stability),
        .mean_in_system = ratio((double)m->in_system_ps * 1e-12, span_s),
        .peak_in_system = m->peak_in_system,
        .slo_stated = m->slo.count > 0,
        .slo_attained = m->slo.count > 0 && tally->completed > 0,
        .slo_count = m->slo.count,
        .goodput_per_s = m->slo.count ? ratio((double)tally->good, duration_s) : (double)NAN,
    };
    for (int i = 0; i < KM_LATENCY_COUNT; i++)
        km_collection_summarize(m->all, (enum km_latency)i, out->verdict != KM_SATURATED, &out->latency[i]);
    for (uint32_t i = 0; i < m->slo.count; i++) {
        judge(m, &m->slo.terms[i], duration_s, &out->slo[i]);
        out->slo_attained = out->slo_attained && out->slo[i].attained;
    }
    summarize_classes(m, out);
}
