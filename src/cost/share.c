#include "cost/share.h"

/* A division by one, usual and dear, is spared: this is done several times a step. */
static uint64_t split_long(uint64_t value, uint32_t ranks)
{
    return ranks == 1 ? value : (value + ranks - 1) / ranks;
}

static uint32_t split(uint32_t value, uint32_t ranks)
{
    return (uint32_t)split_long(value, ranks);
}

void km_rank_share(const struct km_layout *layout, const struct km_step_shape *shape,
                   struct km_rank_share *out)
{
    const uint32_t ranks = km_layout_data(layout), data = shape->peers.ranks ? 1 : ranks;
    uint32_t largest = 0;
    uint64_t past = 0, longest = 0;
    for (uint32_t i = 0; i < shape->chunk_count; i++) {
        const struct km_chunk *chunk = &shape->chunks[i];
        largest = chunk->tokens > largest ? chunk->tokens : largest;
        longest = chunk->past > longest ? chunk->past : longest;
        past += chunk->past;
    }
    uint32_t prefill = split(shape->prefill_tokens, data);
    if (data > 1 && prefill < largest)
        prefill = largest;
    uint64_t past_share = split_long(past, data);
    *out = (struct km_rank_share){
        .prefill_tokens = split(prefill, km_layout_context(layout)),
        .decodes = split(shape->decode.count + shape->decode.padding, data),
        .sequences = split(shape->chunk_count + shape->decode.count + shape->decode.padding, data),
        .sampled = split(shape->sampled, data),
        .past = past_share > longest ? past_share : longest,
        .data = data,
        .ranks = ranks,
    };
    out->most_tokens = shape->peers.ranks ? shape->peers.most_tokens : km_rank_tokens(out);
    out->all_tokens = shape->peers.all_tokens;
}

void km_share_rows(const struct km_engine *engine, const struct km_rank_share *share,
                   double rows[KM_ROWS_COUNT])
{
    bool captured;
    double padded = km_engine_padded_tokens(engine, share->most_tokens, &captured);
    rows[KM_ROWS_ALL] = padded * share->ranks;
    if (!captured && share->data < share->ranks) { /* each its own */
        const double rounded = km_engine_padded_tokens(engine, km_rank_tokens(share), &captured);
        padded = captured ? km_rank_tokens(share) : rounded;
        rows[KM_ROWS_ALL] = (double)share->all_tokens;
    }
    rows[KM_ROWS_TOKENS] = padded;
    rows[KM_ROWS_SAMPLED] = share->sampled;
    rows[KM_ROWS_SEQUENCES] = share->sequences;
    rows[KM_ROWS_PREFILL] = share->prefill_tokens;
    rows[KM_ROWS_DECODE] = share->decodes;
    rows[KM_ROWS_PAST] = (double)share->past;
}
