/* Number formats of tensors. */
#ifndef KM_MODEL_DTYPE_H
#define KM_MODEL_DTYPE_H

#include <stdbool.h>

enum km_dtype {
    KM_FP32,
    KM_BF16,
    KM_FP16,
    KM_FP8,
    KM_INT8,
    KM_INT4,     /* group-quantised, weight-only */
    KM_MXFP4,    /* OCP microscaling: blocks of 32 with an 8-bit scale */
    KM_NVFP4,    /* blocks of 16 with an fp8 scale */
    KM_INT4_G32, /* the same in groups of 32, symmetric */
    KM_NF4,      /* bitsandbytes' 4-bit normal float, weight-only */
    KM_INT2,     /* KV cache only (KIVI, arXiv 2402.02750) */
    KM_DTYPE_COUNT,
};

/* Bits a value takes in memory with its share of scales and zero points (see the table in dtype.c for each
 * source). */
double km_dtype_bits(enum km_dtype dtype);
static inline double km_dtype_bytes(enum km_dtype dtype)
{
    return km_dtype_bits(dtype) / 8.0;
}
/* 16 or 32 bits of floating point: not quantised. */
static inline bool km_dtype_is_wide(enum km_dtype dtype)
{
    return dtype == KM_FP32 || dtype == KM_BF16 || dtype == KM_FP16;
}
/* What a product with these weights takes as its other operand: the run's activations, unless the weights were
 * left in 16 or 32 bits: those multiply with their own kind. */
static inline enum km_dtype km_dtype_operand(enum km_dtype weights, enum km_dtype activations)
{
    return km_dtype_is_wide(weights) && km_dtype_bits(weights) >= km_dtype_bits(activations) ? weights
                                                                                             : activations;
}
const char *km_dtype_name(enum km_dtype dtype);
/* Finds "bf16", "bfloat16", "fp8", "fp8_e4m3", ...; false when unknown. */
bool km_dtype_find(const char *name, enum km_dtype *out);

struct km_precision {
    enum km_dtype weights;     /* linear layers and experts */
    enum km_dtype activations; /* operands of the matrix multiplications */
    enum km_dtype kv_cache;
    /* embedding and LM head: engines leave them in 16 bits when weights are quantised */
    enum km_dtype embeddings;
    enum km_dtype attention; /* weights of the mixers: as `weights`, except in checkpoints that quantise
                                experts only (gpt-oss); set it wherever `weights` is set */
};

/* What engines serve a checkpoint in: its own formats, with 32-bit floats cut to bf16, as vLLM's and SGLang's
 * dtype "auto" does (16 bits; a file that states no type counts as 32). Who wants 32 bits says so. */
struct km_precision km_precision_served(const struct km_precision *checkpoint);

#endif
