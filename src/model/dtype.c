#include "model/dtype.h"

#include <stddef.h>
#include <strings.h>

/* Bits = the value's own + its share of what is stored beside each group of values. Scales a channel or a
 * tensor wide (fp8, int8; DeepSeek-V3's fp8 keeps one 32-bit scale for 128 x 128 values, 0.002 bit) are left
 * out. */
static const struct {
    const char *name;
    double bits;
    const char *aliases[9];
} dtypes[KM_DTYPE_COUNT] = {
    [KM_FP32] = {"fp32", 32, {"float32", "float", "f32"}},
    [KM_BF16] = {"bf16", 16, {"bfloat16"}},
    [KM_FP16] = {"fp16", 16, {"float16", "half", "f16"}},
    [KM_FP8] = {"fp8",
                8,
                {"fp8_e4m3", "fp8_e5m2", "e4m3", "e5m2", "float8", "float8_e4m3fn", "float8_e5m2",
                 "fp8_inc"}},
    [KM_INT8] = {"int8", 8, {"i8", "w8a8"}},
    /* GPTQ and AWQ checkpoints with their usual groups of 128: per group a 16-bit scale and a 4-bit zero
     * point. (MARLIN, arXiv 2408.11743, runs the symmetric kind: 4.125, without the zero point.) As a KV
     * cache: Atom (arXiv 2310.19102) has a scale and a zero point a token and head, 128 values wide in most
     * models: the same share. */
    [KM_INT4] = {"int4", 4 + (16 + 4) / 128.0, {"w4a16", "i4", "awq", "gptq"}},
    /* OCP Microscaling Formats (MX) v1.0: 32 E2M1 values share one 8-bit E8M0 scale. */
    [KM_MXFP4] = {"mxfp4", 4 + 8 / 32.0, {NULL}},
    /* NVIDIA's NVFP4: 16 E2M1 values share one 8-bit E4M3 scale (the per-tensor 32-bit scale is left out). */
    [KM_NVFP4] = {"nvfp4", 4 + 8 / 16.0, {"fp4"}},
    /* Groups of 32 with a 16-bit scale each (Kimi-K2-Thinking's pack-quantized checkpoints). */
    [KM_INT4_G32] = {"int4_g32", 4 + 16 / 32.0, {NULL}},
    /* QLoRA (arXiv 2305.14314, section 3): 64 values share one 32-bit scale. */
    [KM_NF4] = {"nf4", 4 + 32 / 64.0, {NULL}},
    /* KIVI (arXiv 2402.02750): groups of 32 values, each with a 16-bit scale and a 16-bit zero point. Its
     * last (up to) 128 tokens, kept in 16 bits, are not counted. */
    [KM_INT2] = {"int2", 2 + (16 + 16) / 32.0, {"kivi"}},
};

double km_dtype_bits(enum km_dtype dtype)
{
    return dtypes[dtype].bits;
}

const char *km_dtype_name(enum km_dtype dtype)
{
    return dtypes[dtype].name;
}

bool km_dtype_find(const char *name, enum km_dtype *out)
{
    for (int i = 0; i < KM_DTYPE_COUNT; i++) {
        bool same = strcasecmp(name, dtypes[i].name) == 0;
        for (const char *const *alias = dtypes[i].aliases; *alias && !same; alias++)
            same = strcasecmp(name, *alias) == 0;
        if (same) {
            *out = (enum km_dtype)i;
            return true;
        }
    }
    return false;
}

static enum km_dtype served(enum km_dtype dtype)
{
    return dtype == KM_FP32 ? KM_BF16 : dtype;
}

struct km_precision km_precision_served(const struct km_precision *checkpoint)
{
    return (struct km_precision){
        .weights = served(checkpoint->weights),
        .activations = served(checkpoint->activations),
        .kv_cache = served(checkpoint->kv_cache),
        .embeddings = served(checkpoint->embeddings),
        .attention = served(checkpoint->attention),
    };
}
