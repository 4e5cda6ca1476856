/* Groups of layers that share a table of KV blocks, where not all layers keep all tokens.
 *
 * vLLM's hybrid KV-cache manager (0.26: vllm/v1/core/kv_cache_utils.py, _get_kv_cache_groups_uniform_page_size) puts
 * the layers of a model into groups of equally many, each all of one kind: layers that see the whole context, layers
 * with a sliding window, or recurrent layers. A *page* holds block_size tokens of one group's layers, and all groups take their
 * pages from one pool. A sequence of t tokens, b = ceil(t / block_size), holds
 *
 *     full * b  +  windowed * min(b, ceil(window / block_size) + 1)  +  recurrent   pages:
 *
 * in windowed groups a block whose tokens no later query sees goes back to the pool
 * (single_type_kv_cache_manager.py, remove_skipped_blocks), and in recurrent groups a sequence's state takes one page,
 * for which the block size is raised until it fits (vllm/platforms/interface.py, update_block_size_for_backend). */
#ifndef KM_MODEL_KV_GROUPS_H
#define KM_MODEL_KV_GROUPS_H

#include "model/layout.h"
#include "model/model.h"

#include <stdbool.h>
#include <stdint.h>

#define KM_MOST_BLOCK_SIZE 65536u /* as the engine key's limit */

struct km_kv_groups { /* all 0: one group, in which nothing is let go */
    /* keys that a query of a windowed layer sees, its own included; 0 = no such groups */
    uint32_t window_tokens;
    uint32_t full, windowed, recurrent;
    uint32_t layers; /* of one group; the last of each kind may have fewer, and is padded */
};

/* Does the layer see a window of the last tokens alone? (What an indexer chooses may be anywhere.) */
static inline bool km_layer_slides(const struct km_layer *layer)
{
    return layer->window > 0 && layer->index_topk == 0;
}

/* What keeps windowed and recurrent layers of a model from being groups of their own, as `disabled` does; NULL =
 * nothing does, or there are none and `out` is one group. Blocks are then kept in full, and states beside them. */
const char *km_kv_groups_of(const struct km_model *model, bool disabled, struct km_kv_groups *out);

static inline uint32_t km_kv_full_groups(const struct km_kv_groups *groups)
{
    return groups->full + groups->windowed + groups->recurrent ? groups->full : 1;
}

/* Pages of a block of tokens, while no window is full. */
static inline uint32_t km_kv_block_pages(const struct km_kv_groups *groups)
{
    return km_kv_full_groups(groups) + groups->windowed;
}

/* The block size of a model with recurrent layers and a KV cache: the least multiple of `block_size` of which a page is
 * no smaller than a state. Else `block_size`. */
uint32_t km_kv_block_size(const struct km_model *model, const struct km_precision *precision,
                          const struct km_layout *layout, uint32_t block_size);

/* Blocks of a windowed group that a sequence comes to hold at most, while nothing of it is in flight. */
static inline uint64_t km_kv_window_blocks(const struct km_kv_groups *groups, uint32_t block_size)
{
    return ((uint64_t)groups->window_tokens + block_size - 1) / block_size + 1;
}

/* The same, with as many tokens in flight as there may be: scheduled and not yet known to be computed
 * (SlidingWindowSpec.max_admission_blocks_per_request, vllm/v1/kv_cache_interface.py). */
static inline uint64_t km_kv_window_blocks_in_flight(const struct km_kv_groups *groups, uint32_t block_size,
                                                     uint64_t in_flight_tokens)
{
    return ((uint64_t)groups->window_tokens - 1 + in_flight_tokens + block_size - 1) / block_size + 1;
}

/* Pages of a sequence of so many blocks. */
static inline uint64_t km_kv_pages(const struct km_kv_groups *groups, uint32_t block_size, uint64_t blocks)
{
    uint64_t most = km_kv_window_blocks(groups, block_size);
    return km_kv_full_groups(groups) * blocks + groups->windowed * (blocks < most ? blocks : most) +
           (blocks ? groups->recurrent : 0);
}

/* Most sequences of `context` tokens each (at least 1) that `pages` pages hold at once. */
uint64_t km_kv_concurrency(const struct km_kv_groups *groups, uint64_t pages, uint32_t block_size,
                           uint64_t context);
/* Longest sequence that `pages` pages hold, whatever is in flight; UINT64_MAX = any. */
uint64_t km_kv_most_tokens(const struct km_kv_groups *groups, uint64_t pages, uint32_t block_size,
                           uint64_t in_flight_tokens);

#endif
