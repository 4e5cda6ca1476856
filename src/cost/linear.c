/* Cost model `linear`: the service law of the queueing paper (arXiv 2407.05347),
 *     H(b, l) = k1*b + k2 + (k3*b + k4)*l
 * for b requests of l output tokens. A prompt's step costs k1*b + k2 and, as l counts every output token, its
 * first token's k3*b + k4; every later step costs k3*m + k4 with m rows. Contexts do not matter. The law is one
 * engine's: data-parallel ranks each follow it with their own requests. */
#include "base/memory.h"
#include "cost/cost.h"

#include <math.h>
#include <stdlib.h>

struct linear {
    struct km_linear_law law;
    uint32_t stages, data;
};

/* With pipeline stages each takes an equal share. */
static void share(const struct linear *linear, double seconds, double *stage_s)
{
    for (uint32_t s = 0; s < linear->stages; s++)
        stage_s[s] = seconds / linear->stages;
}

static void linear_step(const void *state, const struct km_step_shape *shape, double *stage_s)
{
    const struct linear *linear = state;
    const struct km_linear_law *law = &linear->law;
    const double data = shape->peers.ranks ? 1 : linear->data,
                 rows = ceil(((double)shape->sampled + shape->decode.padding) / data);
    double seconds = 0.0;
    if (shape->chunk_count)
        seconds += law->k1 * ceil(shape->chunk_count / data) + law->k2;
    if (rows > 0.0)
        seconds += law->k3 * rows + law->k4;
    share(linear, seconds, stage_s);
}

static void linear_decode_fixed(const void *state, uint32_t rows, double *stage_s)
{
    const struct linear *linear = state;
    share(linear, linear->law.k3 * ceil((double)rows / linear->data) + linear->law.k4, stage_s);
}

static enum km_status linear_create(const struct km_cost_config *config, void **state, struct km_error *error)
{
    (void)error;
    struct linear *linear = km_alloc(sizeof *linear);
    *linear =
        (struct linear){config->linear, config->layout.pipeline_parallel, km_layout_data(&config->layout)};
    *state = linear;
    return KM_OK;
}

const struct km_cost_model km_cost_linear = {
    .entry = {"linear", "the queueing paper's law k1*b + k2 + (k3*b + k4)*l"},
    .create = linear_create,
    .destroy = free,
    .step = linear_step,
    .decode_fixed = linear_decode_fixed,
};
