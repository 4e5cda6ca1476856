/* Ranked by predicted output length, the shortest first (learning to rank: Fu et al., "Efficient LLM Scheduling by
 * Learning to Rank", NeurIPS'24, arXiv 2408.15792): only the order of the predictions matters. With the oracle
 * this is shortest job first, with preemption. A prediction does not change while its request runs. With
 * starvation_threshold_steps nobody waits for ever. */
#include "batching/ranked_batch.h"

#include <math.h>

static float by_length(const struct km_sequence *sequence, uint32_t generated)
{
    (void)generated;
    return sequence->predicted_output_tokens > 0 ? sequence->predicted_output_tokens : INFINITY;
}

#define AT(member) offsetof(struct km_ranked_settings, member)
static const struct km_setting settings[] = {
    {"starvation_threshold_steps", KM_SETTING_U32, AT(starvation_threshold_steps), KM_AT_LEAST(0),
     .optional = true, .doc = "who was not served in so many steps goes first; 0 = nobody ever"},
    {"priority_quantum_steps", KM_SETTING_U32, AT(priority_quantum_steps), KM_AT_LEAST(1), .optional = true,
     .doc = "until it has been served in so many"},
    {0},
};
static const struct km_ranked_settings defaults = {0, 1};

static void waits(void *state, struct km_sequence *sequence)
{
    km_ranked_waits(state, by_length, sequence);
}

static void form(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    const struct km_ranked_settings *own = view->settings->own;
    km_ranked_form(state, by_length, own ? own : &defaults, view, batch);
}

const struct km_batching_policy km_batching_rank = {
    .entry = {"rank", "shortest predicted output first, driving out longer ones (learning to rank)"},
    .traits = KM_BATCHING_WITHIN_BUDGET | KM_BATCHING_BY_LENGTH,
    .state_bytes = sizeof(struct km_ranked),
    .form = form,
    .waits = waits,
    .runs = km_ranked_runs,
    .leaves = km_ranked_leaves,
    .release = km_ranked_release,
    .settings = settings,
    .defaults = &defaults,
    .settings_bytes = sizeof defaults,
};
