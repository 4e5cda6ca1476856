/* The tail of attention over contexts of unequal lengths.
 *
 * A kernel cuts the batch into pieces, one for a sequence and KV head, and hands them to the device's
 * multiprocessors. The work W = sum of all contexts takes as long as its bytes (or FLOPs) say; then one
 * multiprocessor is still at the last piece while the others have nothing left. How far that piece sticks
 * out, over its own length, is the engine's decode_tail_share and mixed_tail_share: one half when pieces end
 * at random times, less where long ones go first, one when the longest goes last.
 *
 * Decodes alone: kernels split long contexts so that no piece is longer than a multiprocessor's share of the
 * whole (flash-decoding; FlashAttention 3 sizes its splits so). With H KV heads on a rank, M multiprocessors,
 * contexts x_i, their mean x, and t = kv_bytes / (H * bandwidth / M) the time of one token of one head on one
 * multiprocessor,
 *
 *     piece(y) = min(y, W H / M)        tail = share * t * (piece(max x_i) - piece(x))
 *
 * The second term is what an even batch has as well, and hence what measured attention and the device's
 * attention_decode_efficiency contain already.
 *
 * A mixed step: decodes run unsplit in the prompts' kernel, as a tile of mixed_tile_rows query rows each, at
 * a multiprocessor's part of the rate of long prompts:
 *
 *     tail = share * max x_i * mixed_tile_rows * 2 (dk + dv) * M / (peak * attention_prefill_efficiency) */
#ifndef KM_COST_ATTENTION_TAIL_H
#define KM_COST_ATTENTION_TAIL_H

#include "cost/attention_load.h"
#include "engine/engine.h"
#include "hardware/device.h"
#include "model/operators.h"

/* Seconds of one execution; 0 without decodes, without the engine's share, or where the device does not say
 * how many multiprocessors it has. */
double km_attention_tail_s(const struct km_device *device, const struct km_engine *engine,
                           const struct km_op *op, const struct km_attention_load *load);

/* Query rows that one decode's row of one head fills in a mixed step: a tile's, divided among the heads that
 * share it; 1 when the engine has no such tiles. */
double km_mixed_tile_rows(const struct km_engine *engine, const struct km_op *op);

#endif
