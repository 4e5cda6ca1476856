#include "scenario/sections.h"

#include "base/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static const struct {
    const char *key;
    int metric;
} others[] = {{"min_goodput_per_s", KM_SLO_GOODPUT},
              {"deadline_s", KM_SLO_DEADLINE},
              {"max_rejected_share", KM_SLO_REJECTED_SHARE},
              {"max_abandoned_share", KM_SLO_ABANDONED_SHARE}};

/* Terms that an SLO has with limit 0 where it does not state them. */
static const int defaults[] = {KM_SLO_REJECTED_SHARE, KM_SLO_ABANDONED_SHARE};
#define DEFAULTS (sizeof defaults / sizeof *defaults)

/* "<metric>_<statistic>_s", "min_goodput_per_s", "deadline_s", "max_rejected_share", "max_abandoned_share" */
static bool parse_key(const char *key, struct km_slo_term *term)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(key, others[i].key) == 0) {
            *term = (struct km_slo_term){.metric = others[i].metric};
            return true;
        }
    *term = (struct km_slo_term){0};
    if (length < 3 || strcmp(key + length - 2, "_s") != 0)
        return false;
    for (int metric = 0; metric < KM_LATENCY_COUNT; metric++) {
        size_t name = strlen(km_slo_metric_name(metric));
        if (length > name + 3 && strncmp(key, km_slo_metric_name(metric), name) == 0 && key[name] == '_' &&
            parse_statistic(key + name + 1, length - name - 3, &term->quantile)) {
            term->metric = metric;
            return true;
        }
    }
    return false;
}

static enum km_status fail_key(const struct km_yaml *value, bool in_class, struct km_error *error)
{
    static const char *const statistics[] = {"mean", "p50", "p90", "p95", "p99", "p99.9"};
    char names[KM_LATENCY_COUNT * sizeof statistics / sizeof *statistics][40];
    struct km_suggestion suggestion = {.word = value->key};
    size_t n = 0;
    for (int metric = 0; metric < KM_LATENCY_COUNT; metric++) {
        const char *name = km_slo_metric_name(metric);
        size_t length = strlen(name);
        if (strncmp(value->key, name, length) == 0 && value->key[length] == '_')
            return km_yaml_fail_key(value, error,
                                    "unknown key; expected %s_mean_s or a percentile: %s_p50_s, %s_p99.9_s",
                                    name, name, name);
        for (size_t i = 0; i < sizeof statistics / sizeof *statistics; i++, n++) {
            snprintf(names[n], sizeof names[n], "%s_%s_s", name, statistics[i]);
            km_suggest_offer(&suggestion, names[n]);
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        km_suggest_offer(&suggestion, others[i].key);
    if (!in_class)
        km_suggest_offer(&suggestion, "classes");
    if (suggestion.best)
        return km_yaml_fail_key(value, error, "unknown key; did you mean \"%s\"?", suggestion.best);
    return km_yaml_fail_key(value, error,
                            "unknown key; expected <ttft, tpot, itl, e2e, queueing_delay, "
                            "normalized, ttft_engine or e2e_engine>_<mean, p50, p99, p99.9, ...>_s, "
                            "min_goodput_per_s, deadline_s, "
                            "max_rejected_share%s max_abandoned_share%s",
                            in_class ? " or" : ",", in_class ? "" : " or classes");
}

/* The terms of one mapping, of all requests or of those of a class. */
static enum km_status read_terms(const struct km_yaml *mapping, const char *class_name,
                                 struct km_scenario *scenario, struct km_error *error)
{
    static const struct km_range seconds = {
        .min = 0, .max = KM_TIME_LIMIT_S, .has_min = true, .has_max = true, .open_min = true};
    static const struct km_range rate = {.min = 0, .has_min = true, .open_min = true};
    static const struct km_range share = {.min = 0, .max = 1, .has_min = true, .has_max = true};
    for (size_t i = 0; i < mapping->count; i++) {
        const struct km_yaml *value = mapping->items[i];
        struct km_slo_term term;
        if (!class_name && strcmp(value->key, "classes") == 0)
            continue;
        if (!parse_key(value->key, &term))
            return fail_key(value, class_name != NULL, error);
        for (size_t j = 0; j < i; j++) {
            struct km_slo_term before;
            if (parse_key(mapping->items[j]->key, &before) && before.metric == term.metric &&
                before.quantile == term.quantile)
                return km_yaml_fail_key(value, error, "the same as %s", mapping->items[j]->key);
        }
        const struct km_range *range = term.metric == KM_SLO_GOODPUT  ? &rate
                                       : km_slo_is_share(term.metric) ? &share
                                                                      : &seconds;
        enum km_status status = km_settings_number(value, range, &term.limit, error);
        if (status != KM_OK)
            return status;
        if (scenario->slo_count == KM_MAX_SLO_TERMS - DEFAULTS)
            return km_yaml_fail_key(value, error, "at most %d terms", (int)(KM_MAX_SLO_TERMS - DEFAULTS));
        term.of_class = class_name != NULL;
        snprintf(term.class_name, sizeof term.class_name, "%s", class_name ? class_name : "");
        scenario->slo[scenario->slo_count++] = term;
    }
    return KM_OK;
}

static enum km_status read_classes(const struct km_yaml *classes, struct km_scenario *scenario,
                                   struct km_error *error)
{
    if (classes->kind != KM_YAML_MAPPING)
        return km_yaml_fail(classes, error,
                            "expected a mapping from classes to terms, such as {chat: {ttft_p99_s: 0.5}}");
    if (classes->count > KM_MAX_CLASSES)
        return km_yaml_fail(classes, error, "at most %d classes, got %zu", KM_MAX_CLASSES, classes->count);
    for (size_t i = 0; i < classes->count; i++) {
        const struct km_yaml *terms = classes->items[i];
        if (strlen(terms->key) > KM_MAX_CLASS_NAME)
            return km_yaml_fail_key(terms, error, "a class name has at most %d bytes", KM_MAX_CLASS_NAME);
        if (terms->kind != KM_YAML_MAPPING)
            return km_yaml_fail(terms, error, "expected a mapping such as {ttft_p99_s: 2.0}");
        enum km_status status = read_terms(terms, terms->key, scenario, error);
        if (status != KM_OK)
            return status;
    }
    return KM_OK;
}

/* An SLO that is stated has a share of each kind of all requests, behind those `count` that it states. */
static void add_defaults(struct km_scenario *scenario, uint32_t count)
{
    for (size_t i = 0; i < DEFAULTS && scenario->slo_count > 0; i++) {
        bool stated = false;
        for (uint32_t t = 0; t < count; t++)
            stated = stated || scenario->slo[t].metric == defaults[i];
        if (stated)
            continue;
        memmove(&scenario->slo[count + 1], &scenario->slo[count],
                (scenario->slo_count - count) * sizeof *scenario->slo);
        scenario->slo[count++] = (struct km_slo_term){.metric = defaults[i]};
        scenario->slo_count++;
    }
}

enum km_status km_slo_read(const struct km_yaml *value, void *field,
                           const struct km_settings_context *context, struct km_error *error)
{
    struct km_scenario *scenario = field;
    (void)context;
    scenario->slo_count = 0;
    if (km_yaml_is_null(value))
        return KM_OK;
    if (value->kind != KM_YAML_MAPPING)
        return km_yaml_fail(value, error, "expected a mapping such as {ttft_p99_s: 2.0}");
    enum km_status status = read_terms(value, NULL, scenario, error);
    const uint32_t of_all = scenario->slo_count;
    const struct km_yaml *classes = km_yaml_get(value, "classes");
    if (status == KM_OK && classes && !km_yaml_is_null(classes))
        status = read_classes(classes, scenario, error);
    if (status == KM_OK)
        add_defaults(scenario, of_all);
    return status;
}

void km_slo_write(const void *field, struct km_text *out)
{
    const struct km_scenario *scenario = field;
    const char *class_name = NULL, *separator = "";
    km_text_puts(out, "{");
    for (uint32_t i = 0; i < scenario->slo_count; i++) {
        struct km_slo_term term = scenario->slo[i];
        char name[64];
        if (term.of_class && (!class_name || strcmp(term.class_name, class_name) != 0)) {
            km_text_puts(out, class_name ? "}, " : i ? ", \"classes\": {" : "\"classes\": {");
            km_settings_write_string(term.class_name, out);
            km_text_puts(out, ": {");
            separator = "";
        }
        if (term.of_class)
            class_name = scenario->slo[i].class_name;
        term.of_class = false;
        term.class_name[0] = '\0';
        km_slo_term_name(&term, name, sizeof name);
        km_text_printf(out, "%s\"%s\": ", separator, name);
        km_settings_write_number(term.limit, out);
        separator = ", ";
    }
    km_text_puts(out, class_name ? "}}}" : "}");
}
