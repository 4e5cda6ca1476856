/* What the fleet calls a replica: one engine, or the data-parallel ranks of a model with experts, each an engine
 * with a scheduler, a queue and a KV pool of its own. One engine is a km_replica and nothing else. Ranks share
 * the front end, a balancer (routing/data_parallel.c) and every step, as vLLM 0.26 has it:
 *
 *     rank 0   forms 1 |all-reduce|launch 1|      forms 2 |all-reduce|launch 2|   takes 1 ...
 *     rank 1   dummy   |all-reduce|launch 1| looks into its queue: forms 2 ...
 *     devices                              |---- step 1 of both ----|---- step 2 of both ---- ...
 *
 * - Before each launch the ranks meet in an all-reduce (vllm/v1/worker/dp_utils.py): of how many tokens each
 *   has, for padding, and of the graph mode, of which the lowest counts for all. As the devices meet at every
 *   layer's experts, the step takes as long as its slowest rank, and results come to all at once: so batches are
 *   formed as one, in the time of the slowest host.
 * - While any rank has work, one without runs a dummy batch of one token (vllm/v1/engine/core.py,
 *   DPEngineCoreProc.run_busy_loop). It has no results to wait for, so it goes on to the next meeting at once:
 *   what reaches its queue later than that is in the batch after.
 * - A rank that has batches in flight and nobody to schedule takes the oldest one's results before it runs a
 *   dummy batch (step_with_batch_queue), and the others' next step waits for it.
 * - Ranks at rest are woken by the first request of any: through client and coordinator, which takes
 *   rank_wake_ps. All form then.
 *
 * Not modelled: after the last request has ended ranks go on with dummy batches for up to 32 steps, before they
 * agree to rest. */
#ifndef KM_SIM_LOCKSTEP_H
#define KM_SIM_LOCKSTEP_H

#include "sim/replica.h"

struct km_lockstep; /* opaque */

/* `config` is each rank's, but for ranks, rank. As km_replica_*: */
struct km_lockstep *km_lockstep_create(const struct km_replica_config *config, uint32_t ranks);
void km_lockstep_destroy(struct km_lockstep *lockstep);
const char *km_lockstep_refuses(const struct km_lockstep *lockstep, const struct km_request *request);
void km_lockstep_arrive(struct km_lockstep *lockstep, struct km_request *request, uint64_t now_ps);
void km_lockstep_drain(struct km_lockstep *lockstep, uint64_t now_ps);
uint64_t km_lockstep_next(const struct km_lockstep *lockstep);
bool km_lockstep_idle(const struct km_lockstep *lockstep);
bool km_lockstep_computes(const struct km_lockstep *lockstep);
enum km_status km_lockstep_act(struct km_lockstep *lockstep, uint64_t horizon_ps, struct km_error *error);
void km_lockstep_load(const struct km_lockstep *lockstep, struct km_replica_load *out);
uint64_t km_lockstep_busy_until_ps(const struct km_lockstep *lockstep);
uint32_t km_lockstep_ranks(const struct km_lockstep *lockstep);
const struct km_replica *km_lockstep_rank(const struct km_lockstep *lockstep, uint32_t rank);
/* Of all ranks; a step of all is one. */
void km_lockstep_work(const struct km_lockstep *lockstep, struct km_work *out);

#endif
