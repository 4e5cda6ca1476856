#include "model/operators_build.h"

#include <string.h>

static bool same(const struct km_op *a, const struct km_op *b)
{
    return strcmp(a->name, b->name) == 0 && a->kind == b->kind && a->rows == b->rows && a->n == b->n &&
           a->k == b->k && a->experts == b->experts && a->distinct == b->distinct &&
           a->routed_per_row == b->routed_per_row && a->pair_flops == b->pair_flops &&
           a->kv_bytes == b->kv_bytes && a->window == b->window && a->bytes_per_row == b->bytes_per_row &&
           a->bytes_fixed == b->bytes_fixed && a->message_bytes_per_row == b->message_bytes_per_row &&
           a->weights == b->weights && a->activations == b->activations && a->collective == b->collective &&
           a->group.ranks == b->group.ranks && a->group.stride == b->group.stride &&
           a->prefill_kv_bytes == b->prefill_kv_bytes && a->query_bytes == b->query_bytes &&
           a->tile_flops == b->tile_flops && a->flops_per_row == b->flops_per_row && a->heads == b->heads &&
           a->kv_heads == b->kv_heads;
}

void km_build_op(struct km_builder *b, struct km_op op)
{
    op.count = 1;
    for (uint32_t i = 0; i < b->count; i++)
        if (same(&b->ops[i], &op)) {
            b->ops[i].count++;
            return;
        }
    if (b->count == b->capacity) {
        uint32_t capacity = b->capacity ? 2 * b->capacity : 32;
        struct km_op *ops = km_arena_alloc(b->arena, capacity * sizeof *ops);
        if (b->count)
            memcpy(ops, b->ops, b->count * sizeof *ops);
        b->ops = ops;
        b->capacity = capacity;
    }
    b->ops[b->count++] = op;
}

/* The format of what is not quantised: attention scores, the LM head's input. */
enum km_dtype km_build_wide_type(const struct km_builder *b)
{
    if (km_dtype_is_wide(b->precision->activations))
        return b->precision->activations;
    return km_dtype_is_wide(b->precision->embeddings) ? b->precision->embeddings : KM_BF16;
}

void km_build_gemm_of(struct km_builder *b, const char *name, double n, double k, struct km_format format)
{
    km_build_op(b, (struct km_op){.name = name,
                                  .kind = KM_OP_GEMM,
                                  .n = n,
                                  .k = k,
                                  .weights = format.weights,
                                  .activations = format.activations});
}

/* A projection of a mixer. */
void km_build_gemm(struct km_builder *b, const char *name, double n, double k)
{
    km_build_gemm_of(b, name, n, k, b->formats[KM_MODULE_MIXER]);
}

/* Element-wise kernel: `values` activations read and written per row. */
void km_build_stream(struct km_builder *b, const char *name, double values)
{
    km_build_op(
        b, (struct km_op){.name = name, .kind = KM_OP_STREAM, .bytes_per_row = values * b->activation_bytes});
}

void km_build_collective(struct km_builder *b, const char *name, enum km_collective collective,
                         struct km_group group, enum km_op_rows rows, double message_bytes_per_row)
{
    if (group.ranks < 2)
        return;
    km_build_op(b, (struct km_op){.name = name,
                                  .kind = KM_OP_COLLECTIVE,
                                  .rows = rows,
                                  .collective = collective,
                                  .group = group,
                                  .message_bytes_per_row = message_bytes_per_row});
}

struct km_group km_build_tensor_group(const struct km_builder *b)
{
    return (struct km_group){.ranks = b->layout->tensor_parallel, .stride = 1};
}
