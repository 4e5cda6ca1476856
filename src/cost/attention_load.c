#include "cost/attention_load.h"

#include "cost/profile/ideal.h"
#include "cost/share.h"

#include <math.h>

static double round_up(double tokens, uint32_t granularity)
{
    return granularity > 1 ? ceil(tokens / granularity) * granularity : tokens;
}

/* Vidur's rules, over the load as it is. */
static void compose(double data, const struct km_composition *rules, const struct km_op *op,
                    const struct km_step_shape *shape, struct km_attention_load *load)
{
    const double overhead = op->heads > op->kv_heads ? rules->batching_overhead : 0.0;
    double squares = 0.0, past = 0.0, longest = 0.0;
    for (uint32_t i = 0; i < shape->chunk_count; i++) {
        double c = shape->chunks[i].tokens;
        squares += c * c;
        longest = fmax(longest, c);
        past += round_up(shape->chunks[i].past, rules->context_granularity_tokens);
    }
    if (load->prefill_tokens > 0.0) {
        double tokens = fmax(nearbyint(sqrt(squares / data)), longest);
        load->past = past / data;
        load->prefill_tokens = tokens;
        load->prefill_pairs = km_chunk_pairs(tokens, load->past, op->window);
        load->prefill_context = km_chunk_reads(tokens, load->past, op->window);
        load->prefill_scale = load->chunks > 1.0 ? 1.0 + overhead : 1.0;
        load->chunks = 1.0;
    }
    if (load->decodes > 0.0) {
        /* its tables count the cache before the new token, ours with it */
        double cache =
            round_up(floor(load->decode_context / load->decodes), rules->context_granularity_tokens);
        load->longest_context = cache + 1.0;
        load->decode_context = load->decodes * load->longest_context;
        load->decode_scale = load->decodes > 1.0 ? 1.0 + overhead : 1.0;
    }
    load->mixed = false;
    load->apart = true;
}

void km_attention_load(const struct km_layout *layout, const struct km_engine *engine, const struct km_op *op,
                       const struct km_step_shape *shape, struct km_attention_load *out)
{
    const uint32_t window = op->window;
    double most_pairs = 0.0, most_context = 0.0;
    struct km_rank_share share;
    km_rank_share(layout, shape, &share);
    const double data = share.data;
    *out = (struct km_attention_load){
        .decodes = ceil(shape->decode.count / data),
        .decode_context = (double)(window ? shape->decode.sum_windowed : shape->decode.sum_context) / data,
        .prefill_tokens = share.prefill_tokens,
        .past = (double)share.past,
        .chunks = ceil(shape->chunk_count / data),
        .longest_context =
            (double)(window && window < shape->decode.max_context ? window : shape->decode.max_context),
        .prefill_scale = 1.0,
        .decode_scale = 1.0,
        .mixed = shape->chunk_count > 0};
    for (uint32_t i = 0; i < shape->chunk_count; i++) {
        double c = shape->chunks[i].tokens, past = shape->chunks[i].past;
        double growing = window == 0 ? c : fmin(c, fmax(0.0, window - past));
        double pairs = growing * (past + (growing + 1.0) / 2.0) + (c - growing) * window;
        double context = window ? fmin(past + c, window + c) : past + c;
        out->prefill_pairs += pairs;
        out->prefill_context += context;
        out->longest_chunk = fmax(out->longest_chunk, c);
        most_pairs = fmax(most_pairs, pairs);
        most_context = fmax(most_context, context);
    }
    out->prefill_pairs = fmax(out->prefill_pairs / data, most_pairs);
    out->prefill_context = fmax(out->prefill_context / data, most_context);
    out->longest_read = most_context;
    if (engine->composition.rule == KM_COMPOSE_VIDUR)
        compose(data, &engine->composition, op, shape, out);
}
