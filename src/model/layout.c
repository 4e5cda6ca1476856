#include "model/layout.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MOST_RANKS 1024u /* of one kind: how far to look for a size that does */

void km_layout_stage(const struct km_model *model, const struct km_layout *layout, uint32_t stage,
                     uint32_t *first, uint32_t *count)
{
    uint32_t stages = layout->pipeline_parallel, each = model->layer_count / stages,
             rest = model->layer_count % stages;
    *first = 0;
    for (uint32_t s = 0;; s++) {
        /* Stages from the last but one backwards take one of the remaining layers each. */
        bool extra = s + 1 < stages && s + 1 + rest >= stages;
        *count = each + extra;
        if (s == stage)
            return;
        *first += *count;
    }
}

static const char tensor_key[] = "tensor_parallel_size", pipeline_key[] = "pipeline_parallel_size",
                  data_key[] = "data_parallel_size", expert_key[] = "enable_expert_parallel",
                  context_key[] = "prefill_context_parallel_size",
                  decode_context_key[] = "decode_context_parallel_size", kv_key[] = "kv_parallel_size";

/* What can be said of a layer, or of the whole. False: `problem` says why not. */
static bool fail(struct km_layout_problem *problem, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(struct km_layout_problem *problem, const char *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    problem->key = key;
    vsnprintf(problem->message, sizeof problem->message, format, args);
    va_end(args);
    return false;
}

static bool divides(const struct km_model *model, uint32_t ranks, const char *what, uint32_t value,
                    const char *key, uint32_t setting, struct km_layout_problem *problem)
{
    if (value % ranks == 0)
        return true;
    if (ranks == setting)
        return fail(problem, key, "%u does not divide the %u %s of %s", ranks, value, what, model->name);
    return fail(problem, key, "%u makes %u ranks, which do not divide the %u %s of %s", setting, ranks, value,
                what, model->name);
}

static bool check_attention(const struct km_model *model, const struct km_layer *layer,
                            const struct km_layout *layout, struct km_layout_problem *problem)
{
    uint32_t ranks = layout->tensor_parallel, context = km_layout_context(layout),
             shares = km_layout_decode_context(layout);
    bool latent = layer->mixer == KM_MLA, by_heads = layout->context_method == KM_CONTEXT_ULYSSES;
    uint32_t kv_heads = latent ? 1 : layer->kv_heads;
    if (!divides(model, ranks, "attention heads", layer->heads, tensor_key, ranks, problem))
        return false;
    if (kv_heads % ranks != 0 && ranks % kv_heads != 0)
        return fail(problem, tensor_key, "%u neither divides the %u KV heads of %s nor is a multiple of them",
                    ranks, kv_heads, model->name);
    if (context > 1 && by_heads && kv_heads % (ranks * context) != 0)
        return fail(problem, context_key,
                    "%u of ulysses does not divide the %u KV heads of a tensor rank of %s", context,
                    kv_heads > ranks ? kv_heads / ranks : 1, model->name);
    uint32_t copies = ranks > kv_heads ? ranks / kv_heads : 1;
    if (shares > 1 && copies == 1)
        return fail(problem, decode_context_key,
                    "%u, but no two of the %u tensor ranks hold the same KV head of %s", shares, ranks,
                    model->name);
    if (copies % shares != 0)
        return fail(problem, decode_context_key,
                    "%u does not divide the %u tensor ranks that hold the same KV head of %s", shares, copies,
                    model->name);
    return true;
}

static bool check_mlp(const struct km_model *model, const struct km_layer *layer,
                      const struct km_layout *layout, struct km_layout_problem *problem)
{
    uint32_t tensor = layout->tensor_parallel, data = km_layout_data(layout);
    if (layer->mlp == KM_MLP_DENSE)
        return divides(model, tensor, "MLP columns", layer->intermediate, tensor_key, tensor, problem);
    if (layer->mlp != KM_MLP_MOE)
        return true;
    uint32_t value = layout->expert_parallel ? layer->experts : layer->expert_intermediate;
    const char *what = layout->expert_parallel ? "experts" : "expert columns";
    return divides(model, tensor, what, value, tensor_key, tensor, problem) &&
           divides(model, tensor, "shared expert columns", layer->shared_intermediate, tensor_key, tensor,
                   problem) &&
           divides(model, tensor * data, what, value, data_key, data, problem);
}

static bool check_recurrent(const struct km_model *model, const struct km_layer *layer,
                            const struct km_layout *layout, struct km_layout_problem *problem)
{
    uint32_t ranks = layout->tensor_parallel;
    if (km_layout_context(layout) > 1)
        return fail(problem, context_key, "%u: the recurrent layers of %s read a prompt in order",
                    km_layout_context(layout), model->name);
    if (layer->mixer == KM_GDN || layer->mixer == KM_KDA)
        return divides(model, ranks, "key heads of linear attention", layer->delta_key_heads, tensor_key,
                       ranks, problem) &&
               divides(model, ranks, "value heads of linear attention", layer->delta_value_heads, tensor_key,
                       ranks, problem);
    return divides(model, ranks, layer->mixer == KM_CONV ? "convolution channels" : "state-space channels",
                   layer->ssm_inner, tensor_key, ranks, problem);
}

/* Tensor ranks talk all the time: they fill nodes, or share one, but never straddle two. */
static bool check_nodes(const struct km_layout *layout, struct km_layout_problem *problem)
{
    uint32_t tensor = layout->tensor_parallel, node = layout->gpus_per_node, all = km_layout_ranks(layout);
    if (node == 0 || all <= node || tensor % node == 0 || node % tensor == 0)
        return true;
    return fail(
        problem, tensor_key,
        "%u neither divides the %u GPUs of a node nor is a multiple of them, and %u GPUs need several "
        "nodes",
        tensor, node, all);
}

static bool check_whole(const struct km_model *model, const struct km_layout *layout,
                        struct km_layout_problem *problem)
{
    bool experts = false, cache = false;
    for (uint32_t i = 0; i < model->layer_count; i++) {
        experts |= model->layers[i].mlp == KM_MLP_MOE;
        cache |= km_layer_attends(&model->layers[i]);
    }
    uint32_t data = km_layout_data(layout), context = km_layout_context(layout),
             groups = km_layout_kv_groups(layout);
    if (layout->pipeline_parallel > model->layer_count)
        return fail(problem, pipeline_key, "%u stages for the %u layers of %s", layout->pipeline_parallel,
                    model->layer_count, model->name);
    if (layout->expert_parallel && !experts)
        return fail(problem, expert_key, "true, but %s has no experts", model->name);
    if (data > 1 && !experts)
        return fail(problem, data_key, "%u, but %s has no experts to share; use replicas", data, model->name);
    if (data > 1 && context > 1)
        return fail(problem, context_key, "%u does not go together with data_parallel_size %u", context,
                    data);
    if (data > 1 && groups > 1)
        return fail(problem, kv_key, "%u does not go together with data_parallel_size %u", groups, data);
    if (groups > 1 && !cache)
        return fail(problem, kv_key, "%u, but %s has no KV cache to share", groups, model->name);
    if (km_layout_decode_context(layout) > 1 && !cache)
        return fail(problem, decode_context_key, "%u, but %s has no KV cache to share",
                    km_layout_decode_context(layout), model->name);
    return check_nodes(layout, problem);
}

static bool possible(const struct km_model *model, const struct km_layout *layout,
                     struct km_layout_problem *problem)
{
    for (uint32_t i = 0; i < model->layer_count; i++) {
        const struct km_layer *layer = &model->layers[i];
        if (layer->mixer != KM_NO_MIXER &&
            !(km_layer_attends(layer) ? check_attention : check_recurrent)(model, layer, layout, problem))
            return false;
        if (!check_mlp(model, layer, layout, problem))
            return false;
    }
    return check_whole(model, layout, problem);
}

static uint32_t *field_of(struct km_layout *layout, const char *key)
{
    return key == tensor_key           ? &layout->tensor_parallel
           : key == pipeline_key       ? &layout->pipeline_parallel
           : key == data_key           ? &layout->data_parallel
           : key == context_key        ? &layout->prefill_context_parallel
           : key == decode_context_key ? &layout->decode_context_parallel
           : key == kv_key             ? &layout->kv_parallel
                                       : NULL;
}

/* Would this value of the setting at `key` do? Faults of other settings are for another message. */
static bool would_do(const struct km_model *model, struct km_layout layout, const char *key, uint32_t value)
{
    struct km_layout_problem problem;
    *field_of(&layout, key) = value;
    return possible(model, &layout, &problem) || problem.key != key;
}

bool km_layout_possible(const struct km_model *model, const struct km_layout *layout,
                        struct km_layout_problem *problem)
{
    struct km_layout copy = *layout;
    if (possible(model, layout, problem))
        return true;
    const uint32_t *field = field_of(&copy, problem->key);
    if (!field)
        return false;
    uint32_t below = *field - 1, above = *field + 1;
    while (below > 0 && !would_do(model, *layout, problem->key, below))
        below--;
    while (above <= MOST_RANKS && !would_do(model, *layout, problem->key, above))
        above++;
    size_t length = strlen(problem->message), left = sizeof problem->message - length;
    char *end = problem->message + length;
    if (below > 0 && above <= MOST_RANKS)
        snprintf(end, left, "; nearest: %u or %u", below, above);
    else if (below > 0 || above <= MOST_RANKS)
        snprintf(end, left, "; nearest: %u", below > 0 ? below : above);
    return false;
}

enum km_status km_layout_check(const struct km_model *model, const struct km_layout *layout,
                               struct km_error *error)
{
    struct km_layout_problem problem;
    /* Who takes no message needs no nearest sizes. */
    if ((error ? km_layout_possible : possible)(model, layout, &problem))
        return KM_OK;
    return km_fail(error, KM_NO, NULL, 0, 0, "%s %s", problem.key, problem.message);
}

void km_layout_describe(const struct km_layout *layout, struct km_text *out)
{
    const struct {
        const char *name;
        uint32_t ranks;
    } parts[] = {{"DP", km_layout_data(layout)},
                 {"CP", km_layout_context(layout)},
                 {"DCP", km_layout_decode_context(layout)},
                 {"KVP", km_layout_kv_groups(layout)}};
    km_text_printf(out, "TP %u x PP %u", layout->tensor_parallel, layout->pipeline_parallel);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].ranks > 1)
            km_text_printf(out, " x %s %u", parts[i].name, parts[i].ranks);
    km_text_puts(out, layout->expert_parallel ? ", experts spread" : "");
}
