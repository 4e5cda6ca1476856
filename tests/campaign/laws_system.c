/* Rates, Little's law, KV cache, busy time and fleet, computed again from the rows. */
#include "campaign/laws.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* When a request left the system. */
static uint64_t left_ps(const struct run *run, const struct ended *row)
{
    const struct km_record *r = &row->record;
    return row->outcome == KM_COMPLETED || row->outcome == KM_CANCELLED ? r->last_token_ps
           : row->outcome == KM_ABANDONED
               ? r->arrival_ps + (uint64_t)(run->scenario.workload.patience_s * 1e12 + 0.5)
               : r->arrival_ps;
}

struct span span_of(const struct run *run)
{
    struct span span = {.first_ps = UINT64_MAX};
    for (size_t i = 0; i < run->count; i++) {
        const struct km_record *r = &run->rows[i].record;
        span.first_ps = r->arrival_ps < span.first_ps ? r->arrival_ps : span.first_ps;
        if (run->rows[i].outcome == KM_COMPLETED && r->last_token_ps > span.last_ps)
            span.last_ps = r->last_token_ps;
        if (run->rows[i].outcome != KM_REJECTED && left_ps(run, &run->rows[i]) > span.end_ps)
            span.end_ps = left_ps(run, &run->rows[i]);
    }
    span.known = run->result.summary.completed > 0;
    /* A last step may be in vain: no row tells of it. */
    const struct km_workload_settings *w = &run->scenario.workload;
    if (span.known && (w->ends_by_eos || w->cancel_share > 0)) {
        uint64_t stated_ps = span.first_ps + (uint64_t)(run->result.summary.span_s * 1e12 + 0.5);
        span.end_ps = stated_ps > span.end_ps ? stated_ps : span.end_ps;
    }
    return span;
}

/* --- rates and Little's law ---------------------------------------------------------------------------- */

/* The integral over the span of how many are in the system is the sum of their times there: so the mean
 * number is the rate of arrivals times the mean time, exactly, on every sample path (Little 1961; Stidham
 * 1974). */
static double mean_in_system(const struct run *run, const struct span *span)
{
    long double sum_ps = 0;
    for (size_t i = 0; i < run->count; i++) {
        sum_ps += (long double)(left_ps(run, &run->rows[i]) - run->rows[i].record.arrival_ps);
    }
    return (double)(sum_ps / (long double)(span->end_ps - span->first_ps));
}

/* The most in the system at once, where arrivals count before ends of the same moment, or after them. */
static uint64_t peak_in_system(const struct run *run, bool arrivals_first)
{
    uint64_t peak = 0;
    for (size_t i = 0; i < run->count; i++) {
        uint64_t at = run->rows[i].record.arrival_ps, here = 0;
        for (size_t k = 0; k < run->count; k++) {
            uint64_t from = run->rows[k].record.arrival_ps, to = left_ps(run, &run->rows[k]);
            here +=
                run->rows[k].outcome != KM_REJECTED && from <= at && (arrivals_first ? to >= at : to > at);
        }
        peak = here > peak ? here : peak;
    }
    return peak;
}

static void rates_hold(const struct run *run, const cJSON *json, const struct span *span,
                       struct complaint *out)
{
    const struct km_summary *s = &run->result.summary;
    double span_s = span->known ? (double)(span->last_ps - span->first_ps) * 1e-12 : (double)NAN;
    double per_s = span_s > 0 ? 1 / span_s : (double)NAN;
    expect(json, "requests.submitted", (double)run->count, "count", out);
    expect(json, "requests.completed", (double)s->completed, "count", out);
    expect(json, "duration_s", span_s, "duration", out);
    expect(json, "throughput.requests_per_s", (double)s->completed * per_s, "throughput", out);
    expect(json, "throughput.output_tokens_per_s", (double)s->output_tokens * per_s, "throughput", out);
    expect(json, "throughput.total_tokens_per_s",
           ((double)s->prompt_tokens + (double)s->output_tokens) * per_s, "throughput", out);
}

static void little_holds(const struct run *run, const cJSON *json, const struct span *span,
                         struct complaint *out)
{
    double peak = json_number(json, "stability.peak_in_system", out);
    if (peak < (double)peak_in_system(run, false) || peak > (double)peak_in_system(run, true))
        complain(out, "peak in system", "%g, not from %" PRIu64 " to %" PRIu64, peak,
                 peak_in_system(run, false), peak_in_system(run, true));
    if (span->known && span->end_ps > span->first_ps)
        expect(json, "stability.mean_in_system", mean_in_system(run, span), "Little's law", out);
}

/* --- limits -------------------------------------------------------------------------------------------- */

static void is_share(const cJSON *json, const char *path, struct complaint *out)
{
    double is = json_number(json, path, out);
    if (!isnan(is) && !(is >= 0 && is <= 1 + 1e-9))
        complain(out, "limit", "%s is %.17g", path, is);
}

static void limits_hold(const struct run *run, const cJSON *json, const struct span *span,
                        struct complaint *out)
{
    double capacity = json_number(json, "kv.capacity_blocks", out),
           peak = json_number(json, "kv.peak_blocks", out);
    double mean = json_number(json, "kv.mean_blocks", out);
    if (peak > capacity || mean > peak * (1 + 1e-9))
        complain(out, "limit", "KV blocks: mean %g, peak %g of %g", mean, peak, capacity);
    is_share(json, "kv.mean_utilization", out);
    is_share(json, "kv.prefix_hit_rate", out);
    is_share(json, "utilization.busy", out);
    /* A step takes as long as its work at the device's peaks, except under the linear law, which knows no
     * device. */
    if (run->result.summary.steps && span->known && !isnan(json_number(json, "utilization.mfu", out)) &&
        json_number(json, "utilization.mfu", out) <= 0)
        complain(out, "limit", "work without FLOPs");
    double steps = json_number(json, "steps.count", out);
    if (run->result.summary.completed &&
        !(steps >= 1 && json_number(json, "steps.mean_batch_sequences", out) >= 1 &&
          json_number(json, "steps.mean_batch_tokens", out) >= 1))
        complain(out, "limit", "%g steps", steps);
}

/* --- fleet --------------------------------------------------------------------------------------------- */

/* A key of every item of a list, added up. */
static double sum_of(const cJSON *list, const char *key, struct complaint *out)
{
    double sum = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list) sum += json_number(item, key, out);
    return sum;
}

/* Numbers are given again when a replica has gone: its requests are those of its number, from its start to
 * its end. */
static void replica_holds(const struct run *run, const cJSON *item, struct complaint *out)
{
    uint32_t replica = (uint32_t)json_number(item, "replica", out);
    uint64_t requests = 0, preemptions = 0;
    long double ttft_ps = 0, e2e_ps = 0;
    double start_s = json_number(item, "start_s", out), end_s = json_number(item, "end_s", out);
    for (size_t i = 0; i < run->count; i++) {
        const struct km_record *r = &run->rows[i].record;
        bool gave_up = run->rows[i].outcome == KM_CANCELLED;
        if ((run->rows[i].outcome != KM_COMPLETED && !gave_up) || r->replica != replica ||
            (double)r->arrival_ps * 1e-12 < start_s * (1 - 1e-9) ||
            (double)r->last_token_ps * 1e-12 > end_s * (1 + 1e-9))
            continue;
        preemptions += r->preemptions;
        if (gave_up)
            continue;
        requests++;
        ttft_ps += (long double)(r->first_token_ps + r->delivery_ps - r->arrival_ps);
        e2e_ps += (long double)(r->last_token_ps + r->delivery_ps - r->arrival_ps);
    }
    expect(item, "requests", (double)requests, "fleet", out);
    expect(item, "preemptions", (double)preemptions, "fleet", out);
    expect(item, "ttft_mean_s", requests ? (double)(ttft_ps * 1e-12L / (long double)requests) : (double)NAN,
           "fleet", out);
    expect(item, "e2e_mean_s", requests ? (double)(e2e_ps * 1e-12L / (long double)requests) : (double)NAN,
           "fleet", out);
    is_share(item, "busy", out);
    if (json_number(item, "kv_peak_blocks", out) > json_number(item, "kv_capacity_blocks", out))
        complain(out, "limit", "KV blocks of replica %u", replica);
}

static void fleet_holds(const struct run *run, const cJSON *json, struct complaint *out)
{
    static const struct {
        const char *key, *total;
    } sums[] = {{"requests", "requests.completed"},
                {"prompt_tokens", "requests.prompt_tokens"},
                {"output_tokens", "requests.output_tokens"},
                {"preemptions", "requests.preemptions"},
                {"steps", "steps.count"}};
    const cJSON *fleet = cJSON_GetObjectItemCaseSensitive(json, "fleet"), *item;
    const cJSON *groups = cJSON_GetObjectItemCaseSensitive(fleet, "groups");
    const cJSON *replicas = cJSON_GetObjectItemCaseSensitive(fleet, "replicas");
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        expect(json, sums[i].total, sum_of(groups, sums[i].key, out), "fleet", out);
        if (cJSON_IsArray(replicas))
            expect(json, sums[i].total, sum_of(replicas, sums[i].key, out), "fleet", out);
    }
    cJSON_ArrayForEach(item, replicas) replica_holds(run, item, out);
    cJSON_ArrayForEach(item, groups)
    {
        is_share(item, "busy", out);
        double least = json_number(item, "least_replicas", out),
               most = json_number(item, "most_replicas", out);
        double mean = json_number(item, "mean_replicas", out);
        if (least > most || (!isnan(mean) && !run->scenario.scaling.policy && (mean < least * (1 - 1e-9))))
            complain(out, "fleet", "%g to %g replicas, mean %g", least, most, mean);
    }
}

void laws_of_system(const struct run *run, const cJSON *json, struct complaint *out)
{
    const struct span span = span_of(run);
    rates_hold(run, json, &span, out);
    little_holds(run, json, &span, out);
    limits_hold(run, json, &span, out);
    fleet_holds(run, json, out);
}
