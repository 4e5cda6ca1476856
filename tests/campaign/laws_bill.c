/* The bill and the SLO's verdicts, computed again by hand. */
#include "campaign/laws.h"
#include "campaign/samples.h"
#include "scenario/bill.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- bill ---------------------------------------------------------------------------------------------- */

/* Watts of one GPU: idle, and what its use of memory and arithmetic adds up to (economics/economics.h). */
static double power_w(const struct km_device *device, double mfu, double mbu)
{
    double range_w = device->power_w - device->idle_power_w;
    /* devices without a measurement: as an H200, 592 W of 80 to 700 */
    double stream_w =
        device->stream_power_w > 0 ? device->stream_power_w : device->idle_power_w + 0.826 * range_w;
    double best_mfu = device->power_limited_mfu > 0 ? device->power_limited_mfu : device->gemm_efficiency;
    double watts = device->idle_power_w +
                   (stream_w - device->idle_power_w) * mbu / device->memory_efficiency +
                   range_w * mfu / best_mfu;
    return watts > device->power_w ? device->power_w : watts;
}

struct spent {
    double gpu_s, rent_usd, gpu_j;
};

/* A fixed fleet is paid for the whole run: replicas x GPUs x span. */
static void group_spends(const struct run *run, const cJSON *item, uint32_t index, double span_s,
                         struct spent *spent, struct complaint *out)
{
    const struct km_scenario *s = run->fleet.groups[index].scenario;
    double gpu_s = json_number(item, "gpu_seconds", out), gpus = json_number(item, "gpus_per_replica", out);
    double stated = run->scenario.economics.price_usd_per_gpu_hour;
    const struct km_layout layout = km_scenario_layout(s);
    if (gpus != km_layout_ranks(&layout))
        complain(out, "bill", "%g GPUs a replica, not %u", gpus, km_layout_ranks(&layout));
    if (!run->scenario.scaling.policy && !agree(gpu_s, s->cluster.replicas * gpus * span_s, 1e-9))
        complain(out, "bill", "%.12g GPU-seconds, not %u x %g x %.12g", gpu_s, s->cluster.replicas, gpus,
                 span_s);
    spent->gpu_s += gpu_s;
    spent->rent_usd += gpu_s / 3600 * (stated > 0 ? stated : s->device.price_usd_per_hour);
    spent->gpu_j += gpu_s * power_w(&s->device, json_number(item, "mfu", out), json_number(item, "mbu", out));
}

void laws_of_bill(const struct run *run, const cJSON *json, struct complaint *out)
{
    const cJSON *groups =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "fleet"), "groups");
    const struct km_economics *e = &run->scenario.economics;
    const struct km_summary *s = &run->result.summary;
    const struct span span = span_of(run);
    double span_s = span.known ? (double)(span.end_ps - span.first_ps) * 1e-12 : 0;
    struct spent spent = {0};
    if (!(span_s > 0))
        return; /* nothing completed: everything is undefined */
    for (uint32_t i = 0; i < run->fleet.group_count; i++)
        group_spends(run, cJSON_GetArrayItem(groups, (int)i), i, span_s, &spent, out);
    double site_kwh = (spent.gpu_j + spent.gpu_s * e->host_power_w_per_gpu) * e->pue / 3.6e6;
    double usd =
        spent.rent_usd + (e->electricity_usd_per_kwh > 0 ? site_kwh * e->electricity_usd_per_kwh : 0);
    double tokens = (double)s->prompt_tokens + (double)s->output_tokens;
    double share = json_number(json, "cost.input_share", out);
    expect(json, "fleet.gpu_seconds", spent.gpu_s, "bill", out);
    expect(json, "cost.gpu_hours", spent.gpu_s / 3600, "bill", out);
    expect(json, "cost.usd", usd, "bill", out);
    expect(json, "cost.usd_per_hour", usd / span_s * 3600, "bill", out);
    expect(json, "cost.usd_per_million_tokens", usd / tokens * 1e6, "bill", out);
    expect(json, "cost.usd_per_million_input_tokens", usd * share / (double)s->prompt_tokens * 1e6, "bill",
           out);
    expect(json, "cost.usd_per_million_output_tokens", usd * (1 - share) / (double)s->output_tokens * 1e6,
           "bill", out);
    if (!isnan(share) && !(share >= 0 && share <= 1 + 1e-12))
        complain(out, "bill", "input bears %g of it", share);
    expect(json, "cost.energy_j", spent.gpu_j, "energy", out);
    expect(json, "cost.site_energy_j", site_kwh * 3.6e6, "energy", out);
    expect(json, "cost.gco2", site_kwh * e->grid_gco2_per_kwh, "energy", out);
}

/* --- SLO ----------------------------------------------------------------------------------------------- */

struct of_class {
    const struct run *run;
    const char *name; /* NULL: all */
};

/* A class's number: the trace names it "c1", and the summary lists classes by number as they appeared. */
static bool is_in_class(const struct ended *row, void *context)
{
    const struct of_class *of = context;
    const struct km_summary *s = &of->run->result.summary;
    bool present[64] = {false};
    uint32_t place = 0;
    if (!of->name)
        return true;
    for (size_t i = 0; i < of->run->count; i++)
        present[of->run->rows[i].record.class_index % 64] = true;
    for (uint32_t index = 0; index < row->record.class_index; index++)
        place += present[index % 64];
    return place < s->class_count ? strcmp(s->classes[place].name, of->name) == 0 : of->name[0] == '\0';
}

static void latency_term_holds(const struct run *run, const struct km_slo_term *term, const cJSON *item,
                               struct complaint *out)
{
    struct of_class of = {run, term->of_class ? term->class_name : NULL};
    struct samples samples;
    uint64_t limit_ps = (uint64_t)(term->limit * 1e12 + 0.5), within = 0;
    samples_take(run, (enum km_latency)term->metric, is_in_class, &of, &samples);
    for (size_t i = 0; i < samples.count; i++)
        within += samples.ps[i] <= limit_ps;
    double count = json_number(item, "count", out);
    if (json_number(item, "within", out) != (double)within || count != (double)samples.count)
        complain(out, "SLO", "%s: %g of %g within, not %" PRIu64 " of %zu", km_slo_metric_name(term->metric),
                 json_number(item, "within", out), count, within, samples.count);
    bool attained = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "attained"));
    bool should = term->quantile < 0 ? samples_mean_s(&samples) <= term->limit
                                     : (double)within >= term->quantile * (double)samples.count * (1 - 1e-15);
    /* Requests that were not served are another matter, and a mean at its limit one of rounding. */
    bool sure = samples.count > 0 && run->result.summary.completed == run->count &&
                (term->quantile >= 0 || !agree(samples_mean_s(&samples), term->limit, 1e-12));
    if (sure && attained != should)
        complain(out, "SLO", "%s attained: %d", km_slo_metric_name(term->metric), attained);
    samples_release(&samples);
}

/* Is a completed request within every latency limit that speaks of it? */
static bool is_good(const struct run *run, const struct ended *row)
{
    for (uint32_t i = 0; i < run->scenario.slo_count; i++) {
        const struct km_slo_term *term = &run->scenario.slo[i];
        struct of_class of = {run, term->of_class ? term->class_name : NULL};
        if (term->metric >= KM_LATENCY_COUNT || term->metric == KM_ITL || !is_in_class(row, &of) ||
            (term->metric == KM_TPOT && row->record.output_tokens < 2))
            continue;
        if (sample_of(&row->record, (enum km_latency)term->metric) > (uint64_t)(term->limit * 1e12 + 0.5))
            return false;
    }
    return true;
}

/* Requests of no class that answers for itself. */
static bool share_term_holds(const struct run *run, const struct km_slo_term *term, const cJSON *item,
                             struct complaint *out)
{
    const struct km_summary *s = &run->result.summary;
    double unserved = (double)(term->metric == KM_SLO_REJECTED_SHARE ? s->rejected : s->abandoned);
    for (uint32_t i = 0; i < run->scenario.slo_count; i++)
        if (run->scenario.slo[i].of_class && run->scenario.slo[i].metric == term->metric)
            return true;
    bool attained = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "attained"));
    if (attained != (unserved <= term->limit * (double)run->count) && s->completed)
        complain(out, "SLO", "%g unserved of %zu, attained: %d", unserved, run->count, attained);
    return expect(item, "value_share", run->count ? unserved / (double)run->count : (double)NAN, "SLO", out);
}

void laws_of_slo(const struct run *run, const cJSON *json, struct complaint *out)
{
    const cJSON *terms =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "slo"), "terms");
    uint64_t good = 0;
    double duration_s = json_number(json, "duration_s", out);
    if (run->scenario.slo_count == 0)
        return;
    for (size_t i = 0; i < run->count; i++)
        good += run->rows[i].outcome == KM_COMPLETED && is_good(run, &run->rows[i]);
    if (duration_s > 0)
        expect(json, "slo.goodput_per_s", (double)good / duration_s, "goodput", out);
    if (cJSON_GetArraySize(terms) != (int)run->scenario.slo_count)
        complain(out, "SLO", "%d terms of %u", cJSON_GetArraySize(terms), run->scenario.slo_count);
    for (uint32_t i = 0; i < run->scenario.slo_count; i++) {
        const struct km_slo_term *term = &run->scenario.slo[i];
        if (term->metric < KM_LATENCY_COUNT && term->metric != KM_ITL)
            latency_term_holds(run, term, cJSON_GetArrayItem(terms, (int)i), out);
        if (!term->of_class &&
            (term->metric == KM_SLO_REJECTED_SHARE || term->metric == KM_SLO_ABANDONED_SHARE))
            share_term_holds(run, term, cJSON_GetArrayItem(terms, (int)i), out);
    }
}
