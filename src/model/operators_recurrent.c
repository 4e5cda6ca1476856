/* Mixers that keep a constant state a sequence instead of keys and values: state spaces and the delta rule.
 *
 * Each is projections, a short convolution, and a recurrence. A decode reads and writes the state once; along
 * the chunk of a prompt it stays on the chip, so there too it is read and written once a sequence. */
#include "model/operators_build.h"

/* Of one sequence on this rank, read and written. */
static void add_state(struct km_builder *b, const char *name, const struct km_layer *layer)
{
    km_build_op(b, (struct km_op){.name = name,
                                  .kind = KM_OP_STREAM,
                                  .rows = KM_ROWS_SEQUENCES,
                                  .bytes_per_row =
                                      2.0 * km_layer_state_bytes(layer, b->activation_bytes) / b->ranks});
}

/* Mamba, arXiv 2312.00752; Mamba-2, arXiv 2405.21060. The scan streams its inputs and outputs. */
void km_build_state_space(struct km_builder *b, const struct km_layer *layer)
{
    double inner = layer->ssm_inner / b->ranks, state = layer->ssm_state;
    if (layer->mixer == KM_SSM) {
        double dt = layer->ssm_dt_rank;
        km_build_gemm(b, "ssm_in_proj", 2.0 * inner, b->hidden);
        km_build_gemm(b, "ssm_x_proj", dt + 2.0 * state, inner);
        km_build_gemm(b, "ssm_dt_proj", inner, dt);
    } else {
        double groups = layer->ssm_groups;
        km_build_gemm(b, "ssm_in_proj", 2.0 * inner + 2.0 * groups * state + layer->ssm_heads / b->ranks,
                      b->hidden);
    }
    km_build_op(b, (struct km_op){.name = "ssm_scan",
                                  .kind = KM_OP_STREAM,
                                  .bytes_per_row = 6.0 * inner * b->activation_bytes,
                                  .flops_per_row = 9.0 * inner * state});
    add_state(b, "ssm_state", layer);
    km_build_gemm(b, "ssm_out_proj", b->hidden, inner);
}

/* x B, a convolution along the tokens, times C: all in one kernel (vllm/model_executor/layers/mamba/
 * short_conv.py). */
void km_build_conv(struct km_builder *b, const struct km_layer *layer)
{
    const double width = layer->ssm_inner / b->ranks;
    km_build_gemm(b, "conv_in_proj", 3.0 * width, b->hidden);
    km_build_op(b, (struct km_op){.name = "conv_gated",
                                  .kind = KM_OP_STREAM,
                                  .bytes_per_row = 4.0 * width * b->activation_bytes,
                                  .flops_per_row = (2.0 * layer->ssm_conv + 2.0) * width});
    add_state(b, "conv_state", layer);
    km_build_gemm(b, "conv_out_proj", b->hidden, width);
}

/* Tokens that are computed together in a prompt: FLA's kernels, which vLLM has taken over
 * (vllm/model_executor/layers/fla/ops/chunk.py, chunk size 64). */
#define CHUNK 64.0

/* The gated delta rule of one head, S = a S (1 - beta k k^T) + beta v k^T with S [dk, dv] (Gated DeltaNet,
 * arXiv 2412.06464, equation 10; Kimi Linear, arXiv 2510.26692, equation 1, has `a` a channel).
 *
 * A decode: a S (1 FLOP a value of the state), k^T S, the rank-one update and q^T S (2 each), in registers on
 * the vector units. A chunk of C tokens (2412.06464, section 3.3, the WY form), in 16-bit matrix products:
 * K K^T, its triangular inverse times K and times V, Q K^T and that times V between tokens of the chunk:
 * 2 C dk + C^2 + 2 C dk + 2 C dv + 2 C dk + 2 C dv a token; W S, Q S and K^T V against the state: 2 dk dv each.
 * Between its kernels go K K^T's inverse (C values a token), W, U and the state at each chunk's start, written
 * and read once each. */
void km_build_delta(struct km_builder *b, const struct km_layer *layer)
{
    const double heads = layer->delta_value_heads / b->ranks, dk = layer->delta_key_dim,
                 dv = layer->delta_value_dim, act = b->activation_bytes;
    const double keys = layer->delta_key_heads / b->ranks * dk, values = heads * dv;
    const double state = heads * dk * dv;
    const bool straight = !layer->delta_gate_rank; /* then the output gate is computed with q, k and v */
    km_build_gemm(b, straight ? "delta_qkvg_proj" : "delta_qkv_proj",
                  2.0 * keys + values * (straight ? 2.0 : 1.0), b->hidden);
    if (layer->mixer == KM_KDA) {
        km_build_gemm(b, "delta_decay_down", dv, b->hidden); /* whole on every rank */
        km_build_gemm(b, "delta_decay_up", keys, dv);
        km_build_gemm(b, "delta_beta_proj", heads, b->hidden);
    } else {
        km_build_gemm(b, "delta_beta_proj", 2.0 * heads, b->hidden); /* with the decay: a number a head */
    }
    if (!straight) {
        km_build_gemm(b, "delta_gate_down", layer->delta_gate_rank, b->hidden);
        km_build_gemm(b, "delta_gate_up", values, layer->delta_gate_rank);
    }
    km_build_stream(b, "delta_conv", 2.0 * (2.0 * keys + values));
    const double decay = layer->mixer == KM_KDA ? keys : heads;
    const double inputs = (2.0 * keys + 2.0 * values + heads) * act + 4.0 * decay;
    km_build_op(
        b, (struct km_op){.name = "delta_chunks",
                          .kind = KM_OP_STREAM,
                          .rows = KM_ROWS_PREFILL,
                          .activations = km_build_wide_type(b),
                          .flops_per_row = heads * (6.0 * dk * dv + CHUNK * (6.0 * dk + 4.0 * dv + CHUNK)),
                          .bytes_per_row = inputs + 2.0 * act * (heads * (CHUNK + dk + dv) + state / CHUNK)});
    km_build_op(b, (struct km_op){.name = "delta_step",
                                  .kind = KM_OP_STREAM,
                                  .rows = KM_ROWS_DECODE,
                                  .flops_per_row = 7.0 * state,
                                  .bytes_per_row = inputs});
    add_state(b, "delta_state", layer);
    km_build_stream(b, "delta_norm", 3.0 * values); /* with the output gate */
    km_build_gemm(b, "delta_out_proj", b->hidden, values);
}
