/* What the JSON of a report says about a fleet: its groups of equal replicas, and single replicas. */
#include "base/simtime.h"
#include "report/parts.h"

static void put_latency(struct km_json_writer *w, const char *key, const struct km_report_group_latency *l,
                        uint64_t requests)
{
    km_json_put_open(w, key, '{');
    km_json_put_number(w, "mean", l->mean_s);
    km_json_put_number(w, "p50", l->p50_s);
    km_json_put_number(w, "p99", l->p99_s);
    km_report_thin_json(w, requests);
    km_json_put_close(w, '}');
}

static void put_group(struct km_json_writer *w, const struct km_report_group *g)
{
    km_json_put_open(w, NULL, '{');
    km_json_put_string(w, "device", g->device);
    km_json_put_string(w, "layout", g->layout);
    km_json_put_count(w, "gpus_per_replica", g->gpus_per_replica);
    km_json_put_count(w, "least_replicas", g->least_replicas);
    km_json_put_count(w, "most_replicas", g->most_replicas);
    km_json_put_number(w, "mean_replicas", g->mean_replicas);
    km_json_put_number(w, "replica_seconds", g->replica_seconds);
    km_json_put_number(w, "gpu_seconds", g->gpu_seconds);
    km_json_put_count(w, "scale_ups", g->scale_ups);
    km_json_put_count(w, "scale_downs", g->scale_downs);
    km_json_put_count(w, "requests", g->requests);
    km_json_put_count(w, "prompt_tokens", g->prompt_tokens);
    km_json_put_count(w, "output_tokens", g->output_tokens);
    km_json_put_count(w, "preemptions", g->preemptions);
    km_json_put_count(w, "steps", g->steps);
    km_json_put_count(w, "kv_capacity_blocks", g->kv_capacity_blocks);
    km_json_put_count(w, "kv_peak_blocks", g->kv_peak_blocks);
    km_report_start_json(w, g->max_model_len, g->most_model_len);
    put_latency(w, "ttft_s", &g->ttft, g->requests);
    put_latency(w, "tpot_s", &g->tpot, g->requests);
    put_latency(w, "e2e_s", &g->e2e, g->requests);
    km_json_put_number(w, "mfu", g->mfu);
    km_json_put_number(w, "mbu", g->mbu);
    km_json_put_number(w, "busy", g->busy);
    km_json_put_close(w, '}');
}

static void put_replica(struct km_json_writer *w, const struct km_report_replica *r)
{
    km_json_put_open(w, NULL, '{');
    km_json_put_count(w, "replica", r->replica);
    km_json_put_count(w, "group", r->group);
    km_json_put_number(w, "start_s", km_s_from_ps(r->start_ps));
    km_json_put_number(w, "end_s", km_s_from_ps(r->end_ps));
    km_json_put_count(w, "requests", r->requests);
    km_json_put_count(w, "prompt_tokens", r->prompt_tokens);
    km_json_put_count(w, "output_tokens", r->output_tokens);
    km_json_put_count(w, "preemptions", r->preemptions);
    km_json_put_count(w, "steps", r->steps);
    km_json_put_number(w, "ttft_mean_s", r->ttft_mean_s);
    km_json_put_number(w, "e2e_mean_s", r->e2e_mean_s);
    km_json_put_number(w, "busy", r->busy);
    km_json_put_count(w, "kv_capacity_blocks", r->kv_capacity_blocks);
    km_json_put_count(w, "kv_peak_blocks", r->kv_peak_blocks);
    km_json_put_close(w, '}');
}

void km_report_fleet_json(const struct km_report *r, struct km_json_writer *w)
{
    km_json_put_open(w, "fleet", '{');
    km_json_put_string(w, "router", r->router);
    km_json_put_number(w, "gpu_seconds", r->gpu_seconds);
    km_json_put_open(w, "groups", '[');
    for (size_t i = 0; i < r->group_count; i++)
        put_group(w, &r->groups[i]);
    km_json_put_close(w, ']');
    if (r->replicas) {
        km_json_put_open(w, "replicas", '[');
        for (size_t i = 0; i < r->replica_count; i++)
            put_replica(w, &r->replicas[i]);
        km_json_put_close(w, ']');
    } else {
        km_json_put_null(w, "replicas");
    }
    km_json_put_close(w, '}');
}
