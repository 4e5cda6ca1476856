#include "metrics/quantile.h"
#include "report/cells.h"
#include "report/parts.h"

#include <math.h>
#include <stdio.h>

/* --- JSON ---------------------------------------------------------------------------------------------- */

/* Stopped early, nothing is known of the requests that were to come. */
static bool is_undecided(const struct km_summary *s)
{
    return s->partial && !s->refused;
}

static const char *verdict(const struct km_summary *s)
{
    return is_undecided(s) ? "undecided" : s->slo_attained ? "met" : "missed";
}

static void put_term(struct km_json_writer *w, const struct km_slo_outcome *o, bool partial)
{
    const struct km_slo_term *term = &o->term;
    const bool latency = term->metric < KM_LATENCY_COUNT, rate = term->metric == KM_SLO_GOODPUT,
               share = km_slo_is_share(term->metric), seconds = !rate && !share;
    char name[128];
    km_slo_term_name(term, name, sizeof name);
    km_json_put_open(w, NULL, '{');
    km_json_put_string(w, "term", name);
    km_json_put_string(w, "class", term->of_class ? term->class_name : NULL);
    km_json_put_string(w, "metric",
                       latency ? km_latency_key((enum km_latency)term->metric)
                               : km_slo_metric_name(term->metric));
    km_json_put_number(w, "quantile",
                       latency && term->quantile >= 0 ? term->quantile : (double)NAN); /* null: mean */
    km_json_put_number(w, "limit_s", seconds ? term->limit : (double)NAN);
    km_json_put_number(w, "value_s", seconds ? o->value : (double)NAN);
    km_json_put_number(w, "limit_per_s", rate ? term->limit : (double)NAN);
    km_json_put_number(w, "value_per_s", rate ? o->value : (double)NAN);
    km_json_put_number(w, "limit_share", share ? term->limit : (double)NAN);
    km_json_put_number(w, "value_share", share ? o->value : (double)NAN);
    if (partial)
        km_json_put_null(w, "attained");
    else
        km_json_put_bool(w, "attained", o->attained);
    km_json_put_bool(w, "too_few_samples", km_slo_is_thin(o));
    km_json_put_count(w, "within", o->within);
    km_json_put_count(w, "count", o->count);
    km_json_put_count(w, "requests", o->requests);
    km_json_put_close(w, '}');
}

void km_report_slo_json(const struct km_summary *s, struct km_json_writer *w)
{
    km_json_put_open(w, "slo", '{');
    if (s->slo_stated && !is_undecided(s))
        km_json_put_bool(w, "attained", s->slo_attained);
    else
        km_json_put_null(w, "attained");
    km_json_put_string(w, "verdict", s->slo_stated ? verdict(s) : NULL);
    km_json_put_number(w, "goodput_per_s", s->goodput_per_s);
    km_json_put_open(w, "terms", '[');
    for (uint32_t i = 0; i < s->slo_count; i++)
        put_term(w, &s->slo[i], s->partial);
    km_json_put_close(w, ']');
    km_json_put_close(w, '}');
}

void km_report_classes_json(const struct km_summary *s, struct km_json_writer *w)
{
    km_json_put_open(w, "classes", '[');
    for (uint32_t i = 0; i < s->class_count; i++) {
        const struct km_class_summary *c = &s->classes[i];
        km_json_put_open(w, NULL, '{');
        km_json_put_string(w, "name", c->name);
        km_json_put_open(w, "requests", '{');
        km_json_put_count(w, "ended", c->requests);
        km_json_put_count(w, "completed", c->completed);
        km_json_put_count(w, "rejected", c->rejected);
        km_json_put_count(w, "abandoned", c->abandoned);
        km_json_put_count(w, "cancelled", c->cancelled);
        km_json_put_count(w, "prompt_tokens", c->prompt_tokens);
        km_json_put_count(w, "output_tokens", c->output_tokens);
        km_json_put_close(w, '}');
        km_json_put_number(w, "requests_per_s", c->requests_per_s);
        km_json_put_number(w, "goodput_per_s", c->goodput_per_s);
        for (int metric = 0; metric < KM_LATENCY_COUNT; metric++)
            km_report_latency_json(w, (enum km_latency)metric, &c->latency[metric]);
        km_json_put_close(w, '}');
    }
    km_json_put_close(w, ']');
    km_json_put_count(w, "classes_left_out", s->classes_left_out);
}

/* --- text ---------------------------------------------------------------------------------------------- */

static const char *class_label(const char *name)
{
    return name[0] ? name : "(none)";
}

static const char *unserved_words(int metric)
{
    return metric == KM_SLO_REJECTED_SHARE ? "rejected" : "abandoned";
}

static void describe_term(const struct km_slo_term *term, char *out, size_t size)
{
    const char *class_name = term->of_class ? class_label(term->class_name) : "",
               *gap = term->of_class ? " " : "";
    if (km_slo_is_share(term->metric))
        snprintf(out, size, "%s%s%s", class_name, gap, unserved_words(term->metric));
    else if (term->metric >= KM_LATENCY_COUNT)
        snprintf(out, size, "%s%s%s", class_name, gap, km_slo_metric_name(term->metric));
    else if (term->quantile < 0)
        snprintf(out, size, "%s%s%s mean", class_name, gap, km_latency_key((enum km_latency)term->metric));
    else
        snprintf(out, size, "%s%s%s p%.6g", class_name, gap, km_latency_key((enum km_latency)term->metric),
                 100 * term->quantile);
}

static const char *limit_cell(char *out, const struct km_slo_term *term, double value)
{
    if (km_slo_is_share(term->metric))
        return km_cell_percent(out, value);
    if (term->metric != KM_SLO_GOODPUT)
        return km_cell_seconds(out, value);
    char number[KM_CELL];
    snprintf(out, KM_CELL, "%s/s", isnan(value) ? "-" : km_cell_rounded(number, value));
    return out;
}

void km_report_slo_text(const struct km_summary *s, struct km_text *out)
{
    char a[KM_CELL], b[KM_CELL], name[128];
    if (!s->slo_stated)
        return;
    km_text_printf(out, KM_REPORT_LABEL "%s, goodput %s requests/s\n", "SLO",
                   is_undecided(s)   ? "undecided: stopped early"
                   : s->slo_attained ? "met"
                   : s->refused      ? "MISSED: the engine does not start"
                                     : "MISSED",
                   km_cell_rounded(a, s->goodput_per_s));
    for (uint32_t i = 0; i < s->slo_count; i++) {
        const struct km_slo_outcome *o = &s->slo[i];
        const bool share = km_slo_is_share(o->term.metric);
        if (share && o->attained && o->term.limit <= 0.0)
            continue; /* none may be, and none was */
        describe_term(&o->term, name, sizeof name);
        km_text_printf(out, KM_REPORT_LABEL "%s %s, limit %s%s", "", name, limit_cell(a, &o->term, o->value),
                       limit_cell(b, &o->term, o->term.limit), o->attained || s->partial ? "" : "  MISSED");
        if (o->requests == 0 && o->term.of_class)
            km_text_printf(out, ": no request of class %s", class_label(o->term.class_name));
        else if (!o->attained && o->term.metric == KM_SLO_DEADLINE)
            km_text_printf(out, ": %s of %s requests completed by then", km_cell_count(a, o->within),
                           km_cell_count(b, o->count));
        else if (!o->attained && share)
            km_text_printf(out, ": %s of %s requests %s", km_cell_count(a, o->count - o->within),
                           km_cell_count(b, o->count), unserved_words(o->term.metric));
        else if (o->count > 0 && km_slo_is_thin(o))
            km_text_puts(out, " (too few requests to tell)");
        km_text_puts(out, "\n");
    }
}

void km_report_classes_text(const struct km_summary *s, struct km_text *out)
{
    static const enum km_latency shown[] = {KM_TTFT, KM_TPOT, KM_E2E};
    char cell[KM_CELL];
    bool marked = false;
    if (s->class_count == 0)
        return;
    km_text_printf(out, KM_REPORT_LABEL "%10s %8s %8s %8s %8s %8s %8s\n", "class", "completed", "TTFT p50",
                   "TTFT p99", "TPOT p50", "TPOT p99", "E2E p50", "E2E p99");
    for (uint32_t i = 0; i < s->class_count; i++) {
        const struct km_class_summary *c = &s->classes[i];
        km_text_printf(out, "%-11.11s %10s", class_label(c->name), km_cell_count(cell, c->completed));
        char gap = ' ';
        for (size_t j = 0; j < sizeof shown / sizeof shown[0]; j++) {
            const struct km_latency_summary *l = &c->latency[shown[j]];
            marked |= km_report_quantile_text(&gap, l->p50_s, 0.5, l->independent, out);
            marked |= km_report_quantile_text(&gap, l->p99_s, 0.99, l->independent, out);
        }
        km_text_puts(out, gap == ' ' ? "\n" : KM_QUANTILE_MARK "\n");
    }
    if (marked)
        km_report_mark_text(out);
    if (s->classes_left_out)
        km_text_printf(out, KM_REPORT_LABEL "%u more classes, counted in the totals alone\n", "",
                       s->classes_left_out);
    km_text_puts(out, "\n");
}
