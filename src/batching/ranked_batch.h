/* What the policies that serve whoever ranks first have in common.
 *
 * At each step all requests, those that run and those that wait, stand in one order, the smallest rank first and then
 * the one that came first. The batch is the longest beginning of that order within max_num_seqs and
 * max_num_batched_tokens. Who runs and is not in it sits out and keeps its blocks; for want of blocks whoever ranks last
 * is preempted, to be recomputed (the order and the selection of vLLM-LTR, github.com/hao-ai-lab/vllm-ltr,
 * vllm/core/scheduler.py, _general_schedule and reserve_free_blocks, which swaps to host memory instead). Hence
 * more sequences than max_num_seqs may hold blocks.
 *
 * A sequence whose last token is in flight is never preempted: its blocks are about to be free. */
#ifndef KM_BATCHING_RANKED_BATCH_H
#define KM_BATCHING_RANKED_BATCH_H

#include "batching/batching.h"
#include "batching/sequence_queue.h"

struct km_ranked_entry {
    struct km_sequence *sequence; /* NULL: it has left */
    uint64_t rank;
    bool decodes, served, evicted; /* in this batch */
};

/* Starvation: who has not been served for so many steps ranks before all others until it has been served in so many
 * (arXiv 2408.15792, algorithm 1: StarvationThreshold and PriorityQuantum; in vLLM-LTR `starv` and `period`). */
struct km_ranked_settings {
    uint32_t starvation_threshold_steps; /* 0 = nobody ever */
    uint32_t priority_quantum_steps;     /* that yield a token: preempted ones compute their prompt anew */
};

struct km_ranked_age {
    uint64_t since; /* steps taken when it was last served, or came, or was promoted */
    uint32_t left;  /* steps that it may still rank first */
    bool promoted;
};

/* Zeroed, it is empty. It is told of every change by the hooks of batching.h, which pass it on. */
struct km_ranked {
    struct km_sequence_queue waiting;
    struct km_ranked_entry *running; /* [count] sorted but for those admitted by the latest batch */
    size_t count, capacity;
    struct km_sequence **ahead; /* waiting ones that rank before one that runs: scratch of a step */
    size_t ahead_count, ahead_capacity;
    /* Starvation */
    struct km_ranked_age *ages;    /* [age_capacity] by slot */
    struct km_sequence_queue idle; /* who is not served, the longest first */
    struct km_sequence **fresh;    /* who began to wait since the latest step */
    size_t age_capacity, fresh_count, fresh_capacity;
    uint64_t steps; /* taken before the latest step */
};

/* The rank of a sequence that has `generated` output tokens. While a sequence decodes its rank may fall, by as much as
 * that of any other that decodes; otherwise it stays. */
typedef float km_rank_function(const struct km_sequence *sequence, uint32_t generated);

void km_ranked_waits(struct km_ranked *ranked, km_rank_function *rank, struct km_sequence *sequence);
/* Hooks as they are; `state` is a struct km_ranked *. */
void km_ranked_runs(void *state, struct km_sequence *sequence);
void km_ranked_leaves(void *state, struct km_sequence *sequence);
void km_ranked_release(void *state);
void km_ranked_form(struct km_ranked *ranked, km_rank_function *rank,
                    const struct km_ranked_settings *settings, const struct km_batching_view *view,
                    const struct km_batch_handle *batch);

#endif
