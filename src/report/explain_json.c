#include "report/explain.h"

#include "report/parts.h"

#include <math.h>

/* A count that may not be: 0 = null. */
static void put_count_or_null(struct km_json_writer *w, const char *key, uint64_t count)
{
    if (count)
        km_json_put_count(w, key, count);
    else
        km_json_put_null(w, key);
}

static void put_number_or_null(struct km_json_writer *w, const char *key, double value)
{
    if (value > 0.0)
        km_json_put_number(w, key, value);
    else
        km_json_put_null(w, key);
}

static void put_memory(struct km_json_writer *w, const struct km_explanation *e)
{
    const struct km_memory_map *map = e->memory;
    const struct km_memory_weights *weights = &map->weights;
    bool paged = map->block_bytes > 0.0; /* a model without KV cache has no blocks to count */
    km_json_put_open(w, "memory", '{');
    km_json_put_count(w, "stage", map->stage);
    km_json_put_number(w, "device_bytes", e->device_bytes);
    km_json_put_number(w, "gpu_memory_utilization", e->gpu_memory_utilization);
    km_json_put_number(w, "budget_bytes", map->budget_bytes);
    km_json_put_open(w, "weights", '{');
    km_json_put_number(w, "total_bytes", map->weight_bytes);
    km_json_put_number(w, "embedding_bytes", weights->embedding);
    km_json_put_number(w, "lm_head_bytes", weights->lm_head);
    km_json_put_number(w, "attention_bytes", weights->attention);
    km_json_put_number(w, "dense_mlp_bytes", weights->dense_mlp);
    km_json_put_number(w, "routed_experts_bytes", weights->routed_experts);
    km_json_put_number(w, "shared_experts_bytes", weights->shared_experts);
    km_json_put_number(w, "router_bytes", weights->router);
    km_json_put_number(w, "norms_bytes", weights->norms);
    km_json_put_number(w, "towers_bytes", weights->towers);
    km_json_put_close(w, '}');
    km_json_put_number(w, "padding_bytes", map->padding_bytes);
    km_json_put_number(w, "activation_bytes", map->activation_bytes);
    km_json_put_bool(w, "sampler_decides", map->sampler_decides);
    km_json_put_number(w, "state_bytes", map->state_bytes);
    km_json_put_number(w, "reserve_bytes", map->reserve_bytes);
    km_json_put_number(w, "graph_reserve_bytes", map->graph_bytes);
    km_json_put_bool(w, "graphs_in_budget", map->graphs_in_budget);
    km_json_put_number(w, "kv_bytes", map->kv_bytes);
    km_json_put_count(w, "block_size", e->block_size);
    km_json_put_number(w, "block_bytes", map->block_bytes);
    km_json_put_number(w, "kv_bytes_per_token", map->kv_bytes_per_token);
    km_json_put_open(w, "kv_groups", '{');
    km_json_put_count(w, "full", map->groups.full);
    km_json_put_count(w, "windowed", map->groups.windowed);
    put_count_or_null(w, "window_tokens", map->groups.window_tokens);
    km_json_put_count(w, "recurrent", map->groups.recurrent);
    km_json_put_count(w, "layers", map->groups.layers);
    km_json_put_string(w, "ungrouped", map->ungrouped);
    km_json_put_close(w, '}');
    km_json_put_number(w, "fragmentation_bytes", map->fragmentation_bytes);
    if (paged)
        km_json_put_count(w, "map_blocks", map->blocks);
    else
        km_json_put_null(w, "map_blocks");
    if (paged || e->blocks_overridden)
        km_json_put_count(w, "blocks", e->blocks);
    else
        km_json_put_null(w, "blocks");
    km_json_put_bool(w, "blocks_overridden", e->blocks_overridden);
    km_json_put_bool(w, "fits", e->blocks > 0);
    km_report_start_json(w, e->max_model_len, e->most_model_len);
    km_json_put_open(w, "would_fit", '{');
    put_count_or_null(w, "tensor_parallel_size", e->fit_tensor_parallel_size);
    put_count_or_null(w, "tensor_parallel_blocks", e->fit_tensor_parallel_blocks);
    km_json_put_string(w, "weights", e->fit_weights);
    put_count_or_null(w, "weights_blocks", e->fit_weights_blocks);
    km_json_put_close(w, '}');
    km_json_put_close(w, '}');
    km_json_put_open(w, "concurrency", '[');
    for (size_t i = 0; i < e->concurrency_count; i++) {
        const struct km_explain_concurrency *row = &e->concurrency[i];
        km_json_put_open(w, NULL, '{');
        km_json_put_count(w, "context_tokens", row->context_tokens);
        if (paged)
            km_json_put_count(w, "sequences", row->sequences);
        else
            km_json_put_null(w, "sequences");
        km_json_put_count(w, "running", row->running);
        km_json_put_close(w, '}');
    }
    km_json_put_close(w, ']');
}

static void put_operators(struct km_json_writer *w, const struct km_step_account *a)
{
    km_json_put_open(w, "operators", '[');
    for (uint32_t i = 0; i < a->op_count; i++) {
        const struct km_op_cost *cost = &a->ops[i];
        km_json_put_open(w, NULL, '{');
        km_json_put_string(w, "name", cost->op->name);
        km_json_put_count(w, "stage", cost->stage);
        km_json_put_count(w, "count", cost->op->count);
        km_json_put_number(w, "rows", cost->rows);
        km_json_put_number(w, "time_s", cost->time_s);
        km_json_put_number(w, "share", cost->time_s / a->device_s);
        km_json_put_number(w, "flops", cost->flops);
        km_json_put_number(w, "bytes", cost->bytes);
        km_json_put_number(w, "flops_per_byte", cost->bytes > 0.0 ? cost->flops / cost->bytes : (double)NAN);
        km_json_put_string(w, "bound_by", km_bound_name(cost->bound_by));
        km_json_put_string(w, "origin", km_origin_name(cost->origin));
        km_json_put_bool(w, "supplement", cost->supplement);
        km_json_put_close(w, '}');
    }
    km_json_put_close(w, ']');
}

static void put_shares(struct km_json_writer *w, const char *key, const double *values, double whole)
{
    km_json_put_open(w, key, '{');
    for (int i = 0; i < KM_BOUND_COUNT; i++)
        km_json_put_number(w, km_bound_name((enum km_bound)i), values[i] / whole);
    km_json_put_close(w, '}');
}

static void put_step(struct km_json_writer *w, const struct km_explain_step *step)
{
    const struct km_step_account *a = &step->account;
    km_json_put_open(w, NULL, '{');
    km_json_put_string(w, "name", step->name);
    km_json_put_count(w, "prefill_tokens", step->prefill_tokens);
    km_json_put_count(w, "past_tokens", step->past_tokens);
    km_json_put_count(w, "decode_sequences", step->decode_sequences);
    km_json_put_count(w, "context_tokens", step->context_tokens);
    km_json_put_count(w, "tokens", a->tokens);
    km_json_put_count(w, "padded_tokens", a->padded_tokens);
    km_json_put_bool(w, "captured", a->captured);
    km_json_put_number(w, "device_s", a->device_s);
    km_json_put_open(w, "stage_s", '[');
    for (uint32_t s = 0; s < a->stages; s++)
        km_json_put_number(w, NULL, a->stage_s[s]);
    km_json_put_close(w, ']');
    km_json_put_open(w, "host", '{');
    km_json_put_number(w, "form_s", a->form_s);
    km_json_put_number(w, "launch_s", a->launch_s);
    km_json_put_number(w, "process_s", a->process_s);
    km_json_put_number(w, "total_s", a->host_s);
    km_json_put_bool(w, "hidden", a->paced_by == KM_PACED_BY_DEVICE);
    km_json_put_close(w, '}');
    km_json_put_number(w, "launch_floor_s", a->captured ? 0.0 : a->launch_s);
    km_json_put_count(w, "batches_in_flight", a->batches_in_flight);
    km_json_put_number(w, "step_s", a->step_s);
    km_json_put_string(w, "paced_by", km_paced_by_name(a->paced_by));
    km_json_put_number(w, "flops", a->op_count ? a->flops : (double)NAN);
    km_json_put_number(w, "bytes", a->op_count ? a->bytes : (double)NAN);
    put_shares(w, "bound_share", a->bound_s, a->op_count ? a->device_s : (double)NAN);
    put_operators(w, a);
    km_json_put_close(w, '}');
}

static void put_sweep(struct km_json_writer *w, const struct km_explanation *e)
{
    km_json_put_open(w, "sweep", '{');
    put_count_or_null(w, "context_tokens", e->sweep_context_tokens);
    km_json_put_open(w, "turns_compute_bound", '{');
    put_count_or_null(w, "matrix_products", e->products_turn);
    put_count_or_null(w, "attention", e->attention_turn);
    put_count_or_null(w, "step", e->step_turn);
    km_json_put_close(w, '}');
    km_json_put_open(w, "rows", '[');
    for (size_t i = 0; i < e->sweep_count; i++) {
        const struct km_explain_sweep_row *row = &e->sweep[i];
        km_json_put_open(w, NULL, '{');
        km_json_put_count(w, "decode_sequences", row->sequences);
        km_json_put_bool(w, "fits", row->fits);
        km_json_put_number(w, "step_s", row->step_s);
        km_json_put_number(w, "device_s", row->device_s);
        km_json_put_number(w, "host_s", row->host_s);
        km_json_put_number(w, "tokens_per_s", row->tokens_per_s);
        km_json_put_string(w, "paced_by", row->paced_by);
        put_shares(w, "bound_share", row->share, 1.0);
        km_json_put_string(w, "matrix_products_bound_by", km_bound_name(row->products_bound_by));
        km_json_put_string(w, "attention_bound_by", km_bound_name(row->attention_bound_by));
        km_json_put_close(w, '}');
    }
    km_json_put_close(w, ']');
    km_json_put_close(w, '}');
}

void km_explain_json(const struct km_explanation *e, struct km_text *out)
{
    struct km_json_writer w = {.out = out};
    km_json_put_open(&w, NULL, '{');
    km_json_put_count(&w, "schema", 1);
    if (e->scenario_json)
        km_json_put_raw(&w, "scenario", e->scenario_json);
    else
        km_json_put_null(&w, "scenario");
    km_json_put_open(&w, "parameters", '{');
    km_json_put_number(&w, "total", e->parameters);
    km_json_put_number(&w, "active", e->active_parameters);
    km_json_put_number(&w, "towers", e->tower_parameters);
    put_number_or_null(&w, "total_in_name", e->parameters_in_name);
    put_number_or_null(&w, "active_in_name", e->active_parameters_in_name);
    km_json_put_close(&w, '}');
    put_memory(&w, e);
    km_json_put_open(&w, "steps", '[');
    for (size_t i = 0; i < e->step_count; i++)
        put_step(&w, &e->steps[i]);
    km_json_put_close(&w, ']');
    put_sweep(&w, e);
    km_json_put_open(&w, "roofline", '{');
    km_json_put_number(&w, "peak_flops_per_s", e->peak_flops_per_s);
    km_json_put_number(&w, "bandwidth_bytes_per_s", e->bandwidth_bytes_per_s);
    km_json_put_number(&w, "ridge_flops_per_byte", e->peak_flops_per_s / e->bandwidth_bytes_per_s);
    km_json_put_close(&w, '}');
    km_json_put_open(&w, "notes", '[');
    for (size_t i = 0; i < e->note_count; i++)
        km_json_put_string(&w, NULL, e->notes[i]);
    km_json_put_close(&w, ']');
    km_report_warnings_json(e->warnings, e->warning_count, &w);
    km_report_accuracy_json(e->accuracy, e->accuracy_count, &w);
    km_json_put_string(&w, "version", e->version);
    km_json_put_close(&w, '}');
}
