/* Shortest remaining processing time first (Schrage, Operations Research 16(3), 1968: no other order has fewer in
 * the system of one server at any time), by predicted output tokens less those generated: `srtf` of vLLM-LTR
 * (vllm/core/scheduler.py, _get_srtf_ordered_requests). Who has outlived its prediction ranks before all who have
 * not. */
#include "batching/ranked_batch.h"

#include <math.h>

static float by_remainder(const struct km_sequence *sequence, uint32_t generated)
{
    float predicted = sequence->predicted_output_tokens;
    return predicted > 0 ? predicted - (float)generated : INFINITY;
}

static void waits(void *state, struct km_sequence *sequence)
{
    km_ranked_waits(state, by_remainder, sequence);
}

static void form(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    static const struct km_ranked_settings nobody_starves = {0};
    km_ranked_form(state, by_remainder, &nobody_starves, view, batch);
}

const struct km_batching_policy km_batching_srpt = {
    .entry = {"srpt", "shortest remaining predicted output first"},
    .traits = KM_BATCHING_WITHIN_BUDGET | KM_BATCHING_BY_LENGTH,
    .state_bytes = sizeof(struct km_ranked),
    .form = form,
    .waits = waits,
    .runs = km_ranked_runs,
    .leaves = km_ranked_leaves,
    .release = km_ranked_release,
};
