#include "report/parts.h"

#include <math.h>

#define SCHEMA 1

static void put_requests(struct km_json_writer *w, const struct km_report *r)
{
    const struct km_summary *s = r->summary;
    km_json_put_open(w, "requests", '{');
    km_json_put_count(w, "submitted", s->submitted);
    km_json_put_count(w, "completed", s->completed);
    km_json_put_count(w, "rejected", s->rejected);
    km_json_put_count(w, "abandoned", s->abandoned);
    km_json_put_count(w, "cancelled", s->cancelled);
    km_json_put_count(w, "cancelled_output_tokens", s->cancelled_tokens);
    km_json_put_count(w, "unsent_turns", r->unsent_turns);
    km_json_put_count(w, "preemptions", s->preemptions);
    km_json_put_count(w, "prompt_tokens", s->prompt_tokens);
    km_json_put_count(w, "output_tokens", s->output_tokens);
    km_json_put_open(w, "rejected_reasons", '[');
    for (size_t i = 0; i < r->reason_count; i++) {
        km_json_put_open(w, NULL, '{');
        km_json_put_string(w, "reason", r->reasons[i].reason);
        km_json_put_count(w, "count", r->reasons[i].count);
        km_json_put_close(w, '}');
    }
    km_json_put_close(w, ']');
    km_json_put_close(w, '}');
}

static void put_system(struct km_json_writer *w, const struct km_report *r)
{
    const struct km_summary *s = r->summary;
    double capacity = r->kv_capacity_blocks ? (double)r->kv_capacity_blocks : (double)NAN;
    km_json_put_open(w, "steps", '{');
    km_json_put_count(w, "count", s->steps);
    km_json_put_number(w, "mean_s", s->step_mean_s);
    km_json_put_number(w, "mean_batch_sequences", s->mean_batch_sequences);
    km_json_put_number(w, "mean_batch_tokens", s->mean_batch_tokens);
    km_json_put_close(w, '}');
    km_json_put_open(w, "kv", '{');
    if (r->kv_capacity_blocks)
        km_json_put_count(w, "capacity_blocks", r->kv_capacity_blocks);
    else
        km_json_put_null(w, "capacity_blocks");
    km_json_put_count(w, "peak_blocks", s->peak_blocks);
    km_json_put_number(w, "mean_blocks", s->mean_blocks);
    km_json_put_number(w, "mean_utilization", s->mean_blocks / capacity);
    km_json_put_number(w, "prefix_hit_rate", s->prefix_hit_rate);
    km_json_put_close(w, '}');
    km_json_put_open(w, "utilization", '{');
    km_json_put_number(w, "mfu", r->mfu);
    km_json_put_number(w, "mbu", r->mbu);
    km_json_put_number(w, "busy", r->busy);
    km_json_put_close(w, '}');
    km_json_put_open(w, "stability", '{');
    km_json_put_string(w, "verdict", km_verdict_name(s->verdict));
    km_json_put_count(w, "waiting_at_last_arrival", s->waiting_at_last_arrival);
    km_json_put_count(w, "in_system_at_last_arrival", s->in_system_at_last_arrival);
    km_json_put_number(w, "mean_in_system", s->mean_in_system);
    km_json_put_count(w, "peak_in_system", s->peak_in_system);
    km_json_put_close(w, '}');
}

void km_report_json(const struct km_report *r, struct km_text *out)
{
    const struct km_summary *s = r->summary;
    struct km_json_writer writer = {.out = out}, *w = &writer;
    km_json_put_open(w, NULL, '{');
    km_json_put_count(w, "schema", SCHEMA);
    km_json_put_raw(w, "scenario", r->scenario_json ? r->scenario_json : "null");
    km_json_put_count(w, "seed", r->seed);
    km_json_put_bool(w, "partial", r->partial);
    put_requests(w, r);
    km_json_put_number(w, "duration_s", s->duration_s);
    km_json_put_open(w, "throughput", '{');
    km_json_put_number(w, "requests_per_s", s->requests_per_s);
    km_json_put_number(w, "output_tokens_per_s", s->output_tokens_per_s);
    km_json_put_number(w, "total_tokens_per_s", s->total_tokens_per_s);
    km_json_put_close(w, '}');
    for (int i = 0; i < KM_LATENCY_COUNT; i++)
        km_report_latency_json(w, (enum km_latency)i, &s->latency[i]);
    put_system(w, r);
    km_report_fleet_json(r, w);
    km_report_cost_json(r->bill, w);
    km_report_slo_json(s, w);
    km_report_classes_json(s, w);
    km_json_put_open(w, "notes", '[');
    for (size_t i = 0; i < r->note_count; i++)
        km_json_put_string(w, NULL, r->notes[i]);
    km_json_put_close(w, ']');
    km_report_warnings_json(r->warnings, r->warning_count, w);
    km_report_accuracy_json(r->accuracy, r->accuracy_count, w);
    km_json_put_open(w, "simulator", '{');
    km_json_put_number(w, "wall_s", r->wall_s);
    km_json_put_count(w, "events", r->events);
    km_json_put_string(w, "version", r->version);
    km_json_put_close(w, '}');
    km_json_put_close(w, '}');
}
