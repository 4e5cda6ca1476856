/* A model as operators: what one pipeline stage of one rank computes in a step.
 *
 * Each operator says how its FLOPs and bytes follow from the step's rows (tokens, or sequences that sample)
 * or from its attention pairs; how long it takes is the cost model's business. Equal operators of equal
 * layers are one entry with a count. Shapes are per rank, already divided among the ranks of the layout.
 * Formulas: design section 4; attention FLOPs 4 * pairs * heads * dim (two matrix products of 2 FLOPs a pair
 * and dimension). */
#ifndef KM_MODEL_OPERATORS_H
#define KM_MODEL_OPERATORS_H

#include "base/memory.h"
#include "model/layout.h"
#include "model/model.h"

#include <stdint.h>

enum km_op_kind {
    KM_OP_GEMM,      /* [rows, k] x [k, n] */
    KM_OP_EXPERTS,   /* grouped GEMM: rows * experts_per_token products spread over the experts of the rank */
    KM_OP_ATTENTION, /* prefill and decode over the KV cache */
    KM_OP_STREAM,    /* element-wise and gather kernels, recurrences: bytes, few FLOPs (in `activations`) */
    KM_OP_COLLECTIVE,
};

/* What an operator's rows are. Counts are of one rank: the busiest, where data- or context-parallel ranks
 * share a step (cost/share.h). */
enum km_op_rows {
    KM_ROWS_TOKENS,    /* all tokens of the step, padded to the captured size */
    KM_ROWS_SAMPLED,   /* sequences that yield a token */
    KM_ROWS_SEQUENCES, /* sequences in the step: chunks and decodes */
    KM_ROWS_ALL,       /* tokens of all data-parallel ranks together, padded: what reaches the experts */
    KM_ROWS_PREFILL,   /* prompt tokens */
    KM_ROWS_DECODE,    /* decoding sequences */
    KM_ROWS_PAST,      /* tokens of the prompts in the step that were computed before */
    KM_ROWS_COUNT,
};

enum km_collective {
    KM_ALL_REDUCE,
    KM_ALL_GATHER,
    KM_REDUCE_SCATTER,
    KM_ALL_TO_ALL,
    KM_SEND_RECV,
};

/* Ranks that talk: `first`, first + stride, ... (model/layout.h says how ranks are numbered). */
struct km_group {
    uint32_t ranks, stride, first;
};

struct km_op {
    const char *name;
    enum km_op_kind kind;
    enum km_op_rows rows;
    uint32_t count; /* how often in this stage */
    /* GEMM and experts */
    double n, k;
    enum km_dtype weights, activations;
    uint32_t experts;       /* EXPERTS: experts held by this rank */
    double routed_per_row;  /* EXPERTS: products a row causes on this rank, on average */
    double distinct;        /* EXPERTS: of them, those among which rows choose (model.h) */
    double hit_probability; /* EXPERTS: chance that a given row uses a given one of these */
    /* attention, per rank */
    double pair_flops;       /* per query-key pair */
    double kv_bytes;         /* per token of context, decodes */
    double query_bytes;      /* queries read and outputs written, per token */
    double tile_flops;       /* pair_flops of one query row alone, all heads: what a padded tile row costs */
    double heads, kv_heads;  /* query heads and KV heads that a rank attends with */
    uint32_t window;         /* 0 = full context */
    double prefill_kv_bytes; /* kv_bytes and query_bytes of prompts: the same, unless decodes share */
    double prefill_query_bytes; /* out the context otherwise (decode context, Ulysses) */
    /* Ring attention: each of group.ranks - 1 rounds passes a block of message_bytes_per_row for each of its
     * tokens, behind the computation; no ranks = none. */
    /* stream */
    double bytes_per_row, bytes_fixed, flops_per_row;
    /* collective */
    enum km_collective collective;
    struct km_group group;
    double message_bytes_per_row; /* on each rank; all-gather: its share; all-to-all: what it sends in all */
};

struct km_stage_operators {
    struct km_op *ops; /* [count] in the arena */
    uint32_t count;
    uint32_t layers;
};

/* Operators of stage `stage`. */
void km_operators_build(const struct km_model *model, const struct km_precision *precision,
                        const struct km_layout *layout, uint32_t stage, struct km_arena *arena,
                        struct km_stage_operators *out);

/* Parameters' bytes read by one operator in a step of `rows` rows (0 for what has none). */
double km_op_weight_bytes(const struct km_op *op, double rows);

#endif
