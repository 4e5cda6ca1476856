#include "report/explain.h"

#include "report/cells.h"
#include "report/parts.h"

#include <stdio.h>

static void term(struct km_text *out, const char *name, double bytes, const char *note)
{
    char cell[KM_CELL];
    km_text_printf(out, "  %-24s %12s%s%s\n", name, km_cell_bytes(cell, bytes), *note ? "   " : "", note);
}

static void weights(const struct km_memory_weights *w, struct km_text *out)
{
    const struct {
        const char *name;
        double bytes;
    } classes[] = {{"embedding", w->embedding},
                   {"LM head", w->lm_head},
                   {"attention, mixers", w->attention},
                   {"dense MLP", w->dense_mlp},
                   {"routed experts", w->routed_experts},
                   {"shared experts", w->shared_experts},
                   {"routers", w->router},
                   {"norms", w->norms},
                   {"other towers", w->towers}};
    char cell[KM_CELL];
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (classes[i].bytes > 0.0)
            km_text_printf(out, "    %-36s %12s\n", classes[i].name, km_cell_bytes(cell, classes[i].bytes));
}

static void groups(const struct km_memory_map *map, struct km_text *out)
{
    const struct km_kv_groups *g = &map->groups;
    if (map->ungrouped)
        km_text_printf(out,
                       "      not in groups of layers, so that windows and states are kept in full: %s\n",
                       map->ungrouped);
    if (g->windowed + g->recurrent == 0)
        return;
    km_text_printf(out, "      each of one group of %u layers: %u of all tokens", g->layers, g->full);
    if (g->windowed)
        km_text_printf(out, ", %u of the last %u", g->windowed, g->window_tokens);
    if (g->recurrent)
        km_text_printf(out, ", %u of states, a block a sequence", g->recurrent);
    km_text_puts(out, "\n");
}

static void kv_cache(const struct km_explanation *e, struct km_text *out)
{
    const struct km_memory_map *map = e->memory;
    char a[KM_CELL], b[KM_CELL];
    term(out, "= KV cache", map->kv_bytes, "");
    if (!(map->block_bytes > 0.0)) {
        km_text_puts(out, "      the model keeps no KV cache: sequences are limited by max_num_seqs alone\n");
        return;
    }
    km_text_printf(out, "      %s blocks of %u tokens, ",
                   km_cell_count(a, map->blocks / e->data_parallel_size), e->block_size);
    km_text_printf(out, "%s each (%s a token)\n", km_cell_bytes(a, map->block_bytes),
                   km_cell_bytes(b, map->kv_bytes_per_token));
    groups(map, out);
    if (e->blocks_overridden)
        km_text_printf(out, "      num_gpu_blocks_override: %s blocks are used\n",
                       km_cell_count(a, e->blocks / e->data_parallel_size));
    if (e->blocks > 0 && e->max_model_len > e->most_model_len) { /* else nothing fits, which is said */
        km_text_puts(out, "      ");
        km_report_start_text(out, e->max_model_len, e->most_model_len);
        km_text_puts(out, "\n");
    }
    km_text_printf(out, "      fragmentation: half a block a sequence, %s at %u sequences\n",
                   km_cell_bytes(a, map->fragmentation_bytes), e->max_num_seqs);
}

static void concurrency(const struct km_explanation *e, struct km_text *out)
{
    char a[KM_CELL], b[KM_CELL];
    if (!(e->memory->block_bytes > 0.0) || e->blocks == 0)
        return;
    km_text_printf(out, "\nmost sequences at once   in the KV cache   run (max_num_seqs %u%s)\n",
                   e->max_num_seqs, e->data_parallel_size > 1 ? " a rank" : "");
    for (size_t i = 0; i < e->concurrency_count; i++) {
        const struct km_explain_concurrency *row = &e->concurrency[i];
        km_text_printf(out, "  of %9s tokens    %12s", km_cell_count(a, row->context_tokens),
                       km_cell_count(b, row->sequences));
        km_text_printf(out, "      %10s\n", km_cell_count(a, row->running));
    }
}

void km_explain_memory_text(const struct km_explanation *e, struct km_text *out)
{
    const struct km_memory_map *map = e->memory;
    char a[KM_CELL], note[96];
    km_text_puts(out, "memory of one GPU");
    if (map->stage)
        km_text_printf(out, " (of stage %u, the fullest)", map->stage);
    km_text_puts(out, "\n");
    snprintf(note, sizeof note, "%s x gpu_memory_utilization %g", km_cell_bytes(a, e->device_bytes),
             e->gpu_memory_utilization);
    term(out, "budget", map->budget_bytes, note);
    term(out, "- weights", map->weight_bytes, "");
    weights(&map->weights, out);
    if (map->padding_bytes > 0.0)
        term(out, "- padding", map->padding_bytes, "of MXFP4 experts, as their kernels load them");
    if (map->sampler_decides)
        snprintf(note, sizeof note, "sampling from %u sequences, as profiled at the start", e->max_num_seqs);
    else
        snprintf(note, sizeof note, "workspace of a step of %u tokens", e->max_num_batched_tokens);
    term(out, "- activations", map->activation_bytes, note);
    if (map->state_bytes > 0.0) {
        snprintf(note, sizeof note, "constant state of %u sequences", e->max_num_seqs);
        term(out, "- state", map->state_bytes, note);
    }
    term(out, "- reserve", map->reserve_bytes, "runtime, communication buffers, other");
    if (map->graphs_in_budget)
        term(out, "- CUDA graphs", map->graph_bytes, "captured within the budget");
    kv_cache(e, out);
    if (!map->graphs_in_budget)
        term(out, "outside: CUDA graphs", map->graph_bytes, "captured beyond the budget");
    term(out, "outside: left",
         e->device_bytes - map->budget_bytes - (map->graphs_in_budget ? 0.0 : map->graph_bytes), "");
    concurrency(e, out);
}
