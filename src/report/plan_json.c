#include "report/plan_report.h"

#include "base/memory.h"
#include "metrics/quantile.h"
#include "planner/bounds.h"
#include "report/json_writer.h"
#include "report/parts.h"

#include <math.h>
#include <stdlib.h>

static void put_terms(struct km_json_writer *w, const struct km_probe *probe)
{
    km_json_put_open(w, "slo", '[');
    for (uint32_t i = 0; i < probe->slo_count; i++) {
        const struct km_slo_outcome *outcome = &probe->slo[i];
        char name[160];
        km_slo_term_name(&outcome->term, name, sizeof name);
        km_json_put_open(w, NULL, '{');
        km_json_put_string(w, "term", name);
        km_json_put_number(w, "limit", outcome->term.limit);
        km_json_put_number(w, "value", outcome->value);
        km_json_put_bool(w, "attained", outcome->attained);
        km_json_put_bool(w, "too_few_samples", km_slo_is_thin(outcome));
        km_json_put_count(w, "within", outcome->within);
        km_json_put_count(w, "count", outcome->count);
        km_json_put_close(w, '}');
    }
    km_json_put_close(w, ']');
}

static void put_probe(struct km_json_writer *w, const struct km_probe *probe)
{
    if (!probe) {
        km_json_put_null(w, "at_asked_load");
        return;
    }
    km_json_put_open(w, "at_asked_load", '{');
    km_json_put_bool(w, "holds", probe->holds);
    km_json_put_bool(w, "cut_short", probe->cut);
    km_json_put_bool(w, "saturated", probe->saturated);
    km_json_put_count(w, "completed", probe->completed);
    km_json_put_count(w, "rejected", probe->rejected);
    km_json_put_count(w, "abandoned", probe->abandoned);
    km_json_put_number(w, "duration_s", probe->duration_s);
    km_json_put_number(w, "requests_per_s", probe->requests_per_s);
    km_json_put_number(w, "output_tokens_per_s", probe->output_tokens_per_s);
    km_json_put_number(w, "total_tokens_per_s", probe->total_tokens_per_s);
    for (int i = 0; i < KM_LATENCY_COUNT; i++)
        km_report_latency_json(w, (enum km_latency)i, &probe->latency[i]);
    put_terms(w, probe);
    km_json_put_number(w, "worst_ratio", probe->slo_count ? probe->worst_ratio : (double)NAN);
    km_json_put_number(w, "busy", probe->busy);
    km_json_put_number(w, "mfu", probe->mfu);
    km_json_put_number(w, "mbu", probe->mbu);
    km_json_put_number(w, "kv_peak", probe->kv_peak);
    km_json_put_number(w, "prefix_hit_rate", probe->prefix_hit_rate);
    km_report_cost_json(&probe->bill, w);
    km_json_put_count(w, "events", probe->events);
    km_json_put_close(w, '}');
}

static void put_decision(struct km_json_writer *w, const char *key, const struct km_decision *decision)
{
    if (decision->replications == 0) {
        km_json_put_null(w, key);
        return;
    }
    km_json_put_open(w, key, '{');
    km_json_put_bool(w, "holds", decision->holds && decision->recorded_holds);
    km_json_put_bool(w, "settled", decision->settled);
    km_json_put_count(w, "held", decision->held);
    km_json_put_count(w, "replications", decision->replications);
    km_json_put_close(w, '}');
}

static void put_capacity(struct km_json_writer *w, const struct km_plan_entry *entry, double asked_per_s)
{
    static const char *const kinds[] = {[KM_CAPACITY_FOUND] = "found",
                                        [KM_CAPACITY_NONE] = "none",
                                        [KM_CAPACITY_UNBOUNDED] = "unbounded",
                                        [KM_CAPACITY_AS_IT_IS] = "as_it_is"};
    const struct km_capacity *c = entry->candidate->capacity;
    km_json_put_number(w, "max_rate_per_s", km_plan_max_rate_per_s(entry));
    if (!c) {
        km_json_put_null(w, "capacity");
        return;
    }
    km_json_put_open(w, "capacity", '{');
    km_json_put_string(w, "kind", kinds[c->kind]);
    km_json_put_bool(w, "holds", c->holds);
    km_json_put_number(w, "scale", c->scale);
    km_json_put_number(w, "rate_per_s", c->rate_per_s);
    km_json_put_number(w, "low_per_s", c->low * asked_per_s);
    km_json_put_number(w, "high_per_s", c->high * asked_per_s);
    km_json_put_bool(w, "settled", c->settled);
    km_json_put_number(w, "cautious_per_s", c->cautious_scale * asked_per_s);
    km_json_put_number(w, "recorded_per_s", c->recorded_scale * asked_per_s);
    km_json_put_number(w, "least_per_s", c->least_scale * asked_per_s);
    km_json_put_number(w, "spread", c->spread);
    km_json_put_count(w, "replications", c->replications);
    km_json_put_number(w, "requests_per_run", c->requests);
    km_json_put_count(w, "runs", c->runs);
    km_json_put_close(w, '}');
}

static void put_bounds(struct km_json_writer *w, const struct km_plan *plan, const struct km_candidate *c)
{
    const struct km_candidate_bounds *bounds = &c->bounds;
    uint32_t replicas = c->replicas ? c->replicas : c->least_replicas;
    km_json_put_open(w, "bounds", '{');
    km_json_put_count(w, "least_replicas", bounds->least_replicas);
    km_json_put_number(w, "most_rate_per_s", km_bounds_most_rate_per_s(bounds, &plan->load, replicas));
    km_json_put_number(w, "work_s", bounds->busy_s);
    km_json_put_number(w, "unloaded_ttft_p50_s", bounds->ttft_s);
    km_json_put_number(w, "unloaded_tpot_p50_s", bounds->tpot_s);
    km_json_put_number(w, "least_ratio", bounds->latency_ratio);
    km_json_put_close(w, '}');
}

static void put_settings(struct km_json_writer *w, const struct km_plan *plan, const struct km_candidate *c)
{
    const struct km_axes *axes = &plan->search.axes;
    struct km_override *values = km_alloc((axes->count + 1) * sizeof *values);
    km_axes_point(axes, c->point, values);
    km_json_put_open(w, "settings", '{');
    for (uint32_t i = 0; i < axes->count; i++)
        km_json_put_string(w, values[i].key, values[i].value);
    if (c->max_model_len)
        km_json_put_count(w, "engine.max_model_len", c->max_model_len);
    free(values);
    km_json_put_close(w, '}');
}

static void put_time_error(struct km_json_writer *w, const struct km_time_error *off)
{
    km_json_put_open(w, "time_error", '{');
    km_json_put_number(w, "fast", off->fast);
    km_json_put_number(w, "slow", off->slow);
    km_json_put_string(w, "source", off->source);
    km_json_put_close(w, '}');
}

static void put_certainty(struct km_json_writer *w, const struct km_plan_entry *entry)
{
    if (entry->candidate->accuracy)
        put_time_error(w, &entry->candidate->time_error);
    else
        km_json_put_null(w, "time_error");
    km_report_accuracy_json(entry->candidate->accuracy, entry->candidate->accuracy ? 1 : 0, w);
    km_json_put_number(w, "objective_least", entry->least_cost);
    km_json_put_number(w, "objective_most", entry->most_cost);
    km_json_put_bool(w, "uncertain", entry->uncertain);
    km_json_put_bool(w, "no_profile", entry->candidate->no_profile);
    if (entry->candidate->weight_only)
        km_json_put_bool(w, "weight_only", true);
    struct km_text words = {0};
    const bool doubtful = entry->candidate->probe && km_doubt_describe(&entry->candidate->probe->doubt,
                                                                       entry->candidate->device, &words);
    km_json_put_string(w, "warning", doubtful ? km_text_c(&words) : NULL);
    km_text_release(&words);
}

static void put_entry(struct km_json_writer *w, const struct km_plan *plan, uint64_t index)
{
    const struct km_plan_entry *entry = &plan->entries[index];
    const struct km_candidate *c = entry->candidate;
    bool holds = c->fate == KM_FATE_HOLDS;
    km_json_put_open(w, NULL, '{');
    if (holds)
        km_json_put_count(w, "rank", index + 1);
    else
        km_json_put_null(w, "rank");
    km_json_put_count(w, "point", c->point);
    km_json_put_string(w, "label", c->label);
    put_settings(w, plan, c);
    km_json_put_string(w, "status", km_fate_name(c->fate));
    km_json_put_string(w, "reason", c->reason[0] ? c->reason : NULL);
    km_json_put_string(w, "model", c->model[0] ? c->model : NULL);
    km_json_put_string(w, "device", c->device[0] ? c->device : NULL);
    km_json_put_string(w, "layout", c->layout[0] ? c->layout : NULL);
    km_json_put_count(w, "gpus_per_replica", c->gpus_per_replica);
    km_json_put_count(w, "replicas", c->replicas);
    km_json_put_count(w, "gpus", entry->gpus);
    km_json_put_count(w, "rented_gpus", entry->rented_gpus);
    km_json_put_number(w, "usd_per_hour", entry->usd_per_hour);
    km_json_put_number(w, "usd_per_million_tokens", entry->usd_per_million_tokens);
    km_json_put_number(w, holds ? "objective" : "objective_at_least", entry->cost);
    km_json_put_bool(w, "on_front", entry->on_front);
    put_capacity(w, entry, plan->load.rate_per_s);
    put_certainty(w, entry);
    km_json_put_number(w, "weight_bytes_per_gpu", c->weight_bytes);
    km_json_put_number(w, "kv_bytes_per_gpu", c->kv_bytes);
    km_json_put_number(w, "memory_budget_bytes_per_gpu", c->budget_bytes);
    put_bounds(w, plan, c);
    km_json_put_count(w, "runs", c->runs);
    put_decision(w, "on_workloads_like_it", &c->decision);
    put_probe(w, c->probe);
    km_json_put_close(w, '}');
}

static void put_what_if(struct km_json_writer *w, const struct km_plan *plan)
{
    const struct km_sensitivity *s = plan->sensitivity;
    double asked_per_s = plan->load.rate_per_s;
    if (!s) {
        km_json_put_null(w, "winner_sensitivity");
        return;
    }
    km_json_put_open(w, "winner_sensitivity", '{');
    km_json_put_number(w, "headroom", s->headroom);
    put_time_error(w, &s->time_error);
    km_json_put_number(w, "low_with_time_error_per_s", s->low * asked_per_s);
    km_json_put_number(w, "high_with_time_error_per_s", s->high * asked_per_s);
    put_decision(w, "load_20_percent_less", &s->less_load);
    put_decision(w, "load_20_percent_more", &s->more_load);
    km_json_put_number(w, "max_rate_with_steps_20_percent_slower_per_s", s->slower_scale * asked_per_s);
    km_json_put_number(w, "max_rate_with_outputs_20_percent_longer_per_s", s->longer_scale * asked_per_s);
    km_json_put_close(w, '}');
}

static void put_statistics(struct km_json_writer *w, const struct km_plan_statistics *s)
{
    km_json_put_open(w, "search", '{');
    km_json_put_count(w, "candidates", s->candidates);
    for (int i = 0; i < KM_FATE_COUNT; i++)
        km_json_put_count(w, km_fate_name((enum km_fate)i), s->fates[i]);
    km_json_put_count(w, "runs", s->runs);
    km_json_put_count(w, "cut_runs", s->cut_runs);
    km_json_put_count(w, "replications", s->replications);
    km_json_put_count(w, "rate_runs", s->rate_runs);
    km_json_put_count(w, "rounds", s->rounds);
    km_json_put_count(w, "replicas_skipped", s->replicas_skipped);
    km_json_put_number(w, "read_wall_s", s->read_wall_s);
    km_json_put_number(w, "bound_wall_s", s->bound_wall_s);
    km_json_put_number(w, "search_wall_s", s->search_wall_s);
    km_json_put_number(w, "rate_wall_s", s->rate_wall_s);
    km_json_put_close(w, '}');
}

static void put_thin_term(struct km_json_writer *w, const struct km_plan *plan)
{
    char name[160];
    if (plan->thin_term < 0) {
        km_json_put_null(w, "cannot_be_told");
        return;
    }
    const struct km_slo_term *term = &plan->scenario.slo[plan->thin_term];
    km_slo_term_name(term, name, sizeof name);
    km_json_put_open(w, "cannot_be_told", '{');
    km_json_put_string(w, "term", name);
    km_json_put_count(w, "samples", plan->load.samples[plan->thin_term]);
    km_json_put_count(w, "samples_needed", km_quantile_least_samples(term->quantile));
    km_json_put_close(w, '}');
}

void km_plan_report_json(const struct km_plan_report *report, struct km_text *out)
{
    const struct km_plan *plan = report->plan;
    struct km_json_writer w = {.out = out};
    km_json_put_open(&w, NULL, '{');
    km_json_put_count(&w, "schema", 1);
    km_json_put_raw(&w, "scenario", report->scenario_json ? report->scenario_json : "null");
    km_json_put_count(&w, "seed", plan->load.seed);
    km_json_put_string(&w, "objective", km_objective_name(plan->search.objective));
    km_json_put_count(&w, "max_gpus", plan->search.max_gpus);
    km_json_put_string(&w, "rent", plan->search.rent_nodes ? "node" : "gpu");
    km_json_put_bool(&w, "exhaustive", plan->exhaustive);
    km_json_put_bool(&w, "feasible", plan->holding > 0);
    put_thin_term(&w, plan);
    km_json_put_open(&w, "load", '{');
    km_json_put_count(&w, "requests", plan->load.count);
    km_json_put_bool(&w, "drawn_to_tell", plan->load.drawn_to_tell);
    km_json_put_number(&w, "rate_per_s", plan->load.open ? plan->load.rate_per_s : (double)NAN);
    km_json_put_number(&w, "span_s", plan->load.open ? plan->load.span_s : (double)NAN);
    km_json_put_number(&w, "paid_s", plan->load.paid_s);
    km_json_put_number(&w, "prompt_tokens", plan->load.prompt_tokens);
    km_json_put_number(&w, "output_tokens", plan->load.output_tokens);
    km_json_put_close(&w, '}');
    put_statistics(&w, &plan->statistics);
    put_what_if(&w, plan);
    km_json_put_open(&w, "plans", '[');
    for (uint64_t i = 0; i < plan->candidates.count; i++)
        put_entry(&w, plan, i);
    km_json_put_close(&w, ']');
    km_json_put_string(&w, "version", report->version);
    km_json_put_close(&w, '}');
    km_text_puts(out, "\n");
}
