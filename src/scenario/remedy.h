/* What would fit where a model does not: more ranks of the same device, or narrower weights. */
#ifndef KM_SCENARIO_REMEDY_H
#define KM_SCENARIO_REMEDY_H

#include "base/text.h"
#include "model/memory.h"
#include "scenario/scenario.h"

struct km_remedy {
    /* The smallest tensor_parallel_size above the scenario's, all else equal, that divides the model and
     * leaves room for a sequence of one block or more; 0 = none up to 1024. */
    uint32_t tensor_parallel_size;
    struct km_memory_map ranks_map; /* of that layout */
    /* The widest format of weights, narrower than the scenario's, that fits on its own layout and that the
     * device can multiply with the activations. */
    bool has_weights;
    enum km_dtype weights;
    struct km_memory_map weights_map;
};

void km_remedy_find(const struct km_scenario *scenario, struct km_remedy *out);

/* "tensor_parallel_size 4 would fit (12,345 KV blocks), or fp8 weights (...)", or that nothing would.
 * Appends.
 */
void km_remedy_describe(const struct km_remedy *fit, struct km_text *out);

#endif
