/* Measured operators: a profile bound to what there is to be timed. It answers for one operator at a time,
 * and only where its tables reach; the walk over a step's operators asks it before it asks the roofline.
 *
 * A time is the operator's own least time (profile_roofline.h) over the share of the roofline that the
 * profile says such operators reach. Attention is looked up by the shape of the whole batch:
 *   - prompts as so many chunks of their mean size after their mean past;
 *   - decodes as so many sequences of the mean context, times the profile's ratio for batches as ragged
 *     (attention_skew), if it has one;
 *   - both at once in attention_mixed, all prompts as one chunk with as many query-key pairs, in rows of
 *     launches that share sequences out among multiprocessors or of such as do not, where the table tells
 *     them apart; without that table as the sum less one launch, where every decode takes a tile of the engine's mixed_tile_rows query
 *     rows at the rate of long prompts if that takes longer than alone.
 *
 * A profile may be of kernels that stand in for the engine's own (provenance.kernels_of names another program
 * than the engine). An element-wise or attention operator then takes the measured time or what cost model
 * roofline makes of the engine's description (op_overhead_scale, attention_sequence_s, mixed_tile_rows),
 * whichever is longer. Products of matrices and NCCL's collectives come from libraries that engines share,
 * and are taken as measured; one- and two-shot all-reduces are not.
 *
 * A collective takes the fastest of the implementations measured for so many ranks (or for fewer and for
 * more), interpolated between message sizes; an all-reduce that the engine leaves to a library takes NCCL's,
 * one that an engine with `peer_kernel: custom` does itself takes vLLM's custom all-reduce within its
 * measured sizes. Where the profile has none, the alpha-beta model counts. Experts are grouped products or,
 * with `experts_kernel: fused`, routed MLPs measured as a whole, where the model's formats were measured so.
 *
 * A profile may name a supplement: another profile of the same device, in the same folder, that answers what
 * the profile has no rows for: classes, formats and words that are missing, and collectives of an
 * implementation and number of ranks that are. Its `kernels_of` and kernel_gap_us count for its own rows. It
 * may name one of its own: a chain of three profiles at most. */
#ifndef KM_COST_PROFILE_MEASURED_H
#define KM_COST_PROFILE_MEASURED_H

#include "cost/attention_load.h"
#include "cost/cost.h"
#include "cost/power.h"
#include "cost/profile/profile.h"

struct km_measured;

/* Read config->profile, and its supplement, and bind them. KM_BAD_INPUT: a file cannot be read or is of
 * another device, or the profile has no table that any operator of this model could use. `config` is
 * borrowed. */
enum km_status km_measured_create(const struct km_cost_config *config, struct km_measured **out,
                                  struct km_error *error);
void km_measured_destroy(struct km_measured *measured);

/* Of the first profile that has them all: rise = its gemm_rested_flops_per_s over its
 * gemm_sustained_flops_per_s, less 1; its gemm_power_time_constant_s; and power_stream_w over power_gemm_w,
 * both less what the device draws idling (0 where these are missing). All 0 where none has. */
void km_measured_power(const struct km_measured *measured, struct km_power_use *out);

/* How much longer an operator takes under continuous load than after a rest: a product what the nearest shape
 * of its formats does (rows of gemm_sustained over gemm, of one profile), anything else as large products do.
 */
double km_measured_rise(const struct km_measured *measured, const struct km_op *op, double rows);

/* One execution of an operator in seconds, fixed times included, and where the time comes from; false, with
 * nothing written, when nothing in the profile answers. Answers are remembered. `*time_s` comes in as the
 * time by the engine's description, or 0: it stays, with its origin, where a stand-in's kernel took less.
 * `*supplement` is set with an answer: did the supplement's rows have a part in it? */
bool km_measured_rows(struct km_measured *measured, const struct km_op *op, double rows, double *time_s,
                      enum km_origin *origin, bool *supplement);
bool km_measured_attention(struct km_measured *measured, const struct km_op *op,
                           const struct km_attention_load *load, double *time_s, enum km_origin *origin,
                           bool *supplement);

#endif
