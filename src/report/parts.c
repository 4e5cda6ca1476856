#include "report/parts.h"

#include "metrics/quantile.h"
#include "report/cells.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *km_latency_key(enum km_latency metric)
{
    static const char *const keys[KM_LATENCY_COUNT] = {
        [KM_TTFT] = "ttft",
        [KM_TPOT] = "tpot",
        [KM_ITL] = "itl",
        [KM_E2E] = "e2e",
        [KM_QUEUEING_DELAY] = "queueing_delay",
        [KM_NORMALIZED] = "normalized_latency",
        [KM_TTFT_ENGINE] = "ttft_engine",
        [KM_E2E_ENGINE] = "e2e_engine",
    };
    return keys[metric];
}

const char *km_verdict_name(enum km_verdict verdict)
{
    return verdict == KM_STABLE ? "stable" : verdict == KM_SATURATED ? "saturated" : "unknown";
}

void km_report_thin_json(struct km_json_writer *w, uint64_t independent)
{
    static const struct {
        double quantile;
        const char *name;
    } printed[] = {{0.5, "p50"}, {0.9, "p90"}, {0.95, "p95"}, {0.99, "p99"}};
    char names[32] = "";
    for (size_t i = 0; i < sizeof printed / sizeof printed[0]; i++)
        if (independent > 0 && km_quantile_is_thin(printed[i].quantile, independent))
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", names[0] ? ", " : "",
                     printed[i].name);
    km_json_put_string(w, "too_few_samples_for", names[0] ? names : NULL);
}

void km_report_latency_json(struct km_json_writer *w, enum km_latency metric,
                            const struct km_latency_summary *l)
{
    char key[40];
    snprintf(key, sizeof key, "%s_s", km_latency_key(metric));
    km_json_put_open(w, key, '{');
    km_json_put_number(w, "mean", l->mean_s);
    km_json_put_number(w, "ci95", l->ci95_s);
    km_json_put_number(w, "p50", l->p50_s);
    km_json_put_number(w, "p90", l->p90_s);
    km_json_put_number(w, "p95", l->p95_s);
    km_json_put_number(w, "p99", l->p99_s);
    km_json_put_number(w, "max", l->max_s);
    km_json_put_count(w, "count", l->count);
    km_json_put_count(w, "ci95_batches", l->ci95_batches);
    km_json_put_count(w, "warmup_requests", l->warmup_count);
    km_report_thin_json(w, l->independent);
    km_json_put_close(w, '}');
}

bool km_report_quantile_text(char *gap, double value_s, double quantile, uint64_t samples,
                             struct km_text *out)
{
    char cell[KM_CELL];
    bool thin = !isnan(value_s) && km_quantile_is_thin(quantile, samples);
    km_text_printf(out, "%c%8s", *gap, km_cell_seconds(cell, value_s));
    *gap = thin ? KM_QUANTILE_MARK[0] : ' ';
    return thin;
}

void km_report_mark_text(struct km_text *out)
{
    km_text_printf(out, KM_REPORT_LABEL "fewer than %d requests beyond it: too few to tell\n",
                   KM_QUANTILE_MARK, KM_QUANTILE_BEYOND);
}
