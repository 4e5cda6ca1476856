/* Ranked by predicted output length, the shortest first (learning to rank: Fu et al., "Efficient LLM Scheduling by
 * Learning to Rank", NeurIPS'24, arXiv 2408.15792): only the order of the predictions matters. With the oracle
 * this is shortest job first, with preemption. A prediction does not change while its request runs. */
#include "batching/ranked_batch.h"

#include <math.h>

static float by_length(const struct km_sequence *sequence, uint32_t generated)
{
    (void)generated;
    return sequence->predicted_output_tokens > 0 ? sequence->predicted_output_tokens : INFINITY;
}

static void waits(void *state, struct km_sequence *sequence)
{
    km_ranked_waits(state, by_length, sequence);
}

static void runs(void *state, struct km_sequence *sequence)
{
    km_ranked_runs(state, sequence);
}

static void leaves(void *state, struct km_sequence *sequence)
{
    km_ranked_leaves(state, sequence);
}

static void release(void *state)
{
    km_ranked_release(state);
}

static void form(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    km_ranked_form(state, by_length, view, batch);
}

const struct km_batching_policy km_batching_rank = {
    .entry = {"rank", "shortest predicted output first, driving out longer ones (learning to rank)"},
    .traits = KM_BATCHING_WITHIN_BUDGET | KM_BATCHING_BY_LENGTH,
    .state_bytes = sizeof(struct km_ranked),
    .form = form,
    .waits = waits,
    .runs = runs,
    .leaves = leaves,
    .release = release,
};
