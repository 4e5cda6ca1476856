/* Means and quantiles computed again from the rows: of all requests, of each class and of each group. */
#include "campaign/laws.h"
#include "campaign/samples.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* metrics/sketch.h promises 0.1 %. */
#define SKETCH_ERROR 1.001e-3

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

uint64_t sample_of(const struct km_record *r, enum km_latency metric)
{
    uint64_t e2e_ps = r->last_token_ps + r->delivery_ps - r->arrival_ps, gaps = r->output_tokens - 1;
    switch (metric) {
    case KM_TTFT:
        return r->first_token_ps + r->delivery_ps - r->arrival_ps;
    case KM_TPOT: /* to the nearest picosecond, as all times */
        return (r->last_token_ps - r->first_token_ps + gaps / 2) / gaps;
    case KM_E2E:
        return e2e_ps;
    case KM_QUEUEING_DELAY:
        return r->scheduled_ps - r->arrival_ps;
    case KM_NORMALIZED:
        return (e2e_ps + r->output_tokens / 2) / r->output_tokens;
    case KM_TTFT_ENGINE:
        return r->first_token_ps - r->queued_ps;
    case KM_E2E_ENGINE:
        return r->last_token_ps - r->queued_ps;
    case KM_ITL:
    case KM_LATENCY_COUNT:
        break;
    }
    abort();
}

void samples_take(const struct run *run, enum km_latency metric, bool (*counts)(const struct ended *, void *),
                  void *context, struct samples *out)
{
    *out = (struct samples){.ps = km_alloc((run->count + 1) * sizeof *out->ps)};
    for (size_t i = 0; i < run->count; i++) {
        const struct ended *row = &run->rows[i];
        if (row->outcome != KM_COMPLETED || (counts && !counts(row, context)) ||
            (metric == KM_TPOT && row->record.output_tokens < 2))
            continue;
        out->ps[out->count++] = sample_of(&row->record, metric);
    }
    qsort(out->ps, out->count, sizeof *out->ps, by_value);
}

double samples_mean_s(const struct samples *s)
{
    long double sum = 0;
    for (size_t i = 0; i < s->count; i++)
        sum += (long double)s->ps[i];
    return s->count ? (double)(sum * 1e-12L / (long double)s->count) : (double)NAN;
}

/* The smallest value with at least a share q at or below it. */
double samples_quantile_s(const struct samples *s, double q)
{
    if (s->count == 0)
        return (double)NAN;
    size_t rank = (size_t)ceil(q * (double)s->count * (1 - 1e-15));
    return (double)s->ps[rank ? rank - 1 : 0] * 1e-12;
}

void samples_release(struct samples *s)
{
    free(s->ps);
}

static bool quantile_holds(const cJSON *block, const char *where, const char *key, const struct samples *s,
                           double q, struct complaint *out)
{
    double is = json_number(block, key, out), should = samples_quantile_s(s, q);
    return agree(is, should, SKETCH_ERROR) ||
           complain(out, "quantile", "%s.%s is %.12g, not %.12g of %zu", where, key, is, should, s->count);
}

static void block_holds(const cJSON *block, const char *where, const struct samples *s, struct complaint *out)
{
    static const struct {
        const char *key;
        double q;
    } quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}};
    double mean = json_number(block, "mean", out), max = json_number(block, "max", out);
    if (!agree(mean, samples_mean_s(s), 1e-12))
        complain(out, "mean", "%s is %.17g, not %.17g", where, mean, samples_mean_s(s));
    if (!agree(max, samples_quantile_s(s, 1), 1e-12))
        complain(out, "maximum", "%s is %.17g, not %.17g", where, max, samples_quantile_s(s, 1));
    if (json_number(block, "count", out) != (double)s->count)
        complain(out, "count", "%s is %.17g, not %zu", where, json_number(block, "count", out), s->count);
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++)
        quantile_holds(block, where, quantiles[i].key, s, quantiles[i].q, out);
}

/* Single gaps are in no row, but they add up from the first token to the last, except where a batch holds
 * those that are finished. The host may be late with a first token and not with the last: then a gap exceeds
 * nothing known. */
static void gaps_hold(const struct run *run, const cJSON *block, const char *where,
                      bool (*counts)(const struct ended *, void *), void *context, struct complaint *out)
{
    uint64_t gaps = 0;
    long double decode_ps = 0;
    double last = 0;
    bool some_gave_up = false;
    static const char *const rising[] = {"p50", "p90", "p95", "p99", "max"};
    for (size_t i = 0; i < run->count; i++) {
        const struct km_record *r = &run->rows[i].record;
        bool gave_up = run->rows[i].outcome == KM_CANCELLED; /* and saw the gaps of what it got */
        if ((run->rows[i].outcome != KM_COMPLETED && !gave_up) || (counts && !counts(&run->rows[i], context)))
            continue;
        gaps += r->output_tokens - (r->output_tokens > 0);
        some_gave_up |= gave_up;
        if (gave_up)
            continue;
        decode_ps += (long double)(r->last_token_ps - r->first_token_ps) * (r->output_tokens > 1);
    }
    if (json_number(block, "count", out) != (double)gaps)
        complain(out, "count", "%s is %.17g, not %" PRIu64, where, json_number(block, "count", out), gaps);
    bool holds = false;
    for (uint32_t i = 0; i < run->fleet.group_count; i++)
        holds = holds || km_batching_find(run->fleet.groups[i].scenario->engine.policy)->traits &
                             KM_BATCHING_HOLDS_FINISHED;
    double mean = json_number(block, "mean", out);
    double should = gaps ? (double)(decode_ps * 1e-12L / (long double)gaps) : (double)NAN;
    if (!holds && !some_gave_up && !agree(mean, should, 1e-9))
        complain(out, "mean", "%s is %.17g, not %.17g", where, mean, should);
    for (size_t i = 0; gaps && i < sizeof rising / sizeof *rising; i++) {
        double value = json_number(block, rising[i], out);
        if (!(value >= last))
            complain(out, "quantile", "%s.%s is %.12g, less than %.12g", where, rising[i], value, last);
        last = value;
    }
    if (gaps && mean > last * (1 + 1e-12))
        complain(out, "mean", "%s is above the greatest gap", where);
}

static void latencies_hold(const struct run *run, const cJSON *json, const char *of,
                           bool (*counts)(const struct ended *, void *), void *context, struct complaint *out)
{
    static const char *const keys[KM_LATENCY_COUNT] = {
        "ttft_s",        "tpot_s",      "itl_s", "e2e_s", "queueing_delay_s", "normalized_latency_s",
        "ttft_engine_s", "e2e_engine_s"};
    for (int metric = 0; metric < KM_LATENCY_COUNT; metric++) {
        const cJSON *block = cJSON_GetObjectItemCaseSensitive(json, keys[metric]);
        char where[128];
        struct samples samples;
        snprintf(where, sizeof where, "%s%s", of, keys[metric]);
        if (metric == KM_ITL) {
            gaps_hold(run, block, where, counts, context, out);
            continue;
        }
        samples_take(run, (enum km_latency)metric, counts, context, &samples);
        block_holds(block, where, &samples, out);
        samples_release(&samples);
    }
}

static bool is_of_class(const struct ended *row, void *context)
{
    return row->record.class_index == *(const uint32_t *)context;
}

/* Classes are listed as they first appear, and numbered so. */
static void classes_hold(const struct run *run, const cJSON *json, struct complaint *out)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "classes"), *item;
    bool present[64] = {false};
    uint32_t index = 0;
    double ended = 0;
    for (size_t i = 0; i < run->count; i++)
        present[run->rows[i].record.class_index % 64] = true;
    cJSON_ArrayForEach(item, list)
    {
        while (index < 64 && !present[index])
            index++;
        latencies_hold(run, item, "class ", is_of_class, &index, out);
        ended += json_number(item, "requests.ended", out);
        index++;
    }
    if (cJSON_GetArraySize(list) && (ended < (double)run->count || ended > (double)run->count))
        complain(out, "classes", "%g requests in classes, of %zu", ended, run->count);
}

static uint32_t group_of_replica(const struct run *run, uint32_t replica)
{
    for (uint32_t i = 0; i < run->fleet.group_count; i++) {
        if (replica < run->fleet.groups[i].scenario->cluster.replicas)
            return i;
        replica -= run->fleet.groups[i].scenario->cluster.replicas;
    }
    return UINT32_MAX;
}

struct of_group {
    const struct run *run;
    uint32_t index;
};

static bool is_of_group(const struct ended *row, void *context)
{
    const struct of_group *of = context;
    return group_of_replica(of->run, row->record.replica) == of->index;
}

/* Fleets of fixed size number their replicas group by group. */
static void groups_hold(const struct run *run, const cJSON *json, struct complaint *out)
{
    static const struct {
        const char *key;
        enum km_latency metric;
    } told[] = {{"ttft_s", KM_TTFT}, {"tpot_s", KM_TPOT}, {"e2e_s", KM_E2E}};
    const cJSON *list =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "fleet"), "groups");
    for (uint32_t i = 0; !run->scenario.scaling.policy && i < run->fleet.group_count; i++) {
        struct of_group of = {run, i};
        for (size_t k = 0; k < sizeof told / sizeof *told; k++) {
            const cJSON *block =
                cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(list, (int)i), told[k].key);
            struct samples samples;
            samples_take(run, told[k].metric, is_of_group, &of, &samples);
            if (!agree(json_number(block, "mean", out), samples_mean_s(&samples), 1e-9))
                complain(out, "mean", "group %u %s", i, told[k].key);
            quantile_holds(block, "group", "p50", &samples, 0.5, out);
            quantile_holds(block, "group", "p99", &samples, 0.99, out);
            samples_release(&samples);
        }
    }
}

void laws_of_latency(const struct run *run, const cJSON *json, struct complaint *out)
{
    latencies_hold(run, json, "", NULL, NULL, out);
    classes_hold(run, json, out);
    groups_hold(run, json, out);
}
