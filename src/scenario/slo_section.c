#include "scenario/sections.h"

#include "base/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TERM_LIMIT (sizeof((struct km_scenario *)0)->slo / sizeof(struct km_slo_term))

/* In the order of enum km_latency. */
static const char *const metrics[KM_LATENCY_COUNT] = {
    [KM_TTFT] = "ttft",
    [KM_TPOT] = "tpot",
    [KM_ITL] = "itl",
    [KM_E2E] = "e2e",
    [KM_QUEUEING_DELAY] = "queueing_delay",
    [KM_NORMALIZED] = "normalized",
};

/* "mean" or "p99", "p99.9": one or two digits, then perhaps a fraction. */
static bool parse_statistic(const char *text, size_t length, double *quantile)
{
    char digits[16];
    if (length == 4 && memcmp(text, "mean", 4) == 0) {
        *quantile = -1;
        return true;
    }
    if (length < 2 || length > 8 || text[0] != 'p')
        return false;
    memcpy(digits, text + 1, length - 1);
    digits[length - 1] = '\0';
    size_t whole = strspn(digits, "0123456789"), fraction = 0;
    if (digits[whole] == '.')
        fraction = strspn(digits + whole + 1, "0123456789");
    if (whole == 0 || whole > 2 || (fraction == 0 ? whole : whole + 1 + fraction) != length - 1)
        return false;
    *quantile = strtod(digits, NULL) / 100;
    return *quantile > 0;
}

/* "<metric>_<statistic>_s" */
static bool parse_key(const char *key, struct km_slo_term *term)
{
    size_t length = strlen(key);
    if (length < 3 || strcmp(key + length - 2, "_s") != 0)
        return false;
    for (int metric = 0; metric < KM_LATENCY_COUNT; metric++) {
        size_t name = strlen(metrics[metric]);
        if (length > name + 3 && strncmp(key, metrics[metric], name) == 0 && key[name] == '_' &&
            parse_statistic(key + name + 1, length - name - 3, &term->quantile)) {
            term->metric = metric;
            return true;
        }
    }
    return false;
}

static enum km_status fail_key(const struct km_yaml *value, struct km_error *error)
{
    static const char *const statistics[] = {"mean", "p50", "p90", "p95", "p99", "p99.9"};
    char names[KM_LATENCY_COUNT * sizeof statistics / sizeof *statistics][40];
    struct km_suggestion suggestion = {.word = value->key};
    size_t n = 0;
    for (int metric = 0; metric < KM_LATENCY_COUNT; metric++) {
        size_t length = strlen(metrics[metric]);
        if (strncmp(value->key, metrics[metric], length) == 0 && value->key[length] == '_')
            return km_yaml_fail_key(value, error,
                                    "unknown key; expected %s_mean_s or a percentile: %s_p50_s, %s_p99.9_s",
                                    metrics[metric], metrics[metric], metrics[metric]);
        for (size_t i = 0; i < sizeof statistics / sizeof *statistics; i++, n++) {
            snprintf(names[n], sizeof names[n], "%s_%s_s", metrics[metric], statistics[i]);
            km_suggest_offer(&suggestion, names[n]);
        }
    }
    if (suggestion.best)
        return km_yaml_fail_key(value, error, "unknown key; did you mean \"%s\"?", suggestion.best);
    return km_yaml_fail_key(value, error,
                            "unknown key; expected <ttft, tpot, itl, e2e, queueing_delay or "
                            "normalized>_<mean, p50, p99, p99.9, ...>_s");
}

enum km_status km_slo_read(const struct km_yaml *value, void *field,
                           const struct km_settings_context *context, struct km_error *error)
{
    (void)context;
    struct km_scenario *scenario = field;
    static const struct km_range range = {
        .min = 0, .max = KM_TIME_LIMIT_S, .has_min = true, .has_max = true, .open_min = true};
    scenario->slo_count = 0;
    if (km_yaml_is_null(value))
        return KM_OK;
    if (value->kind != KM_YAML_MAPPING)
        return km_yaml_fail(value, error, "expected a mapping such as {ttft_p99_s: 2.0}");
    if (value->count > TERM_LIMIT)
        return km_yaml_fail(value, error, "at most %zu terms, got %zu", TERM_LIMIT, value->count);
    for (size_t i = 0; i < value->count; i++) {
        struct km_slo_term *term = &scenario->slo[i];
        if (!parse_key(value->items[i]->key, term))
            return fail_key(value->items[i], error);
        for (size_t j = 0; j < i; j++)
            if (scenario->slo[j].metric == term->metric && scenario->slo[j].quantile == term->quantile)
                return km_yaml_fail_key(value->items[i], error, "the same as %s", value->items[j]->key);
        enum km_status status = km_settings_number(value->items[i], &range, &term->limit_s, error);
        if (status != KM_OK)
            return status;
    }
    scenario->slo_count = (uint32_t)value->count;
    return KM_OK;
}

void km_slo_write(const void *field, struct km_text *out)
{
    const struct km_scenario *scenario = field;
    km_text_puts(out, "{");
    for (uint32_t i = 0; i < scenario->slo_count; i++) {
        const struct km_slo_term *term = &scenario->slo[i];
        km_text_printf(out, "%s\"%s_", i ? ", " : "", metrics[term->metric]);
        if (term->quantile < 0)
            km_text_puts(out, "mean");
        else
            km_text_printf(out, "p%.6g", term->quantile * 100);
        km_text_puts(out, "_s\": ");
        km_settings_write_number(term->limit_s, out);
    }
    km_text_puts(out, "}");
}
