/* A step accounted for: what each operator takes on the device, what the host takes, and the pace at which
 * such steps follow each other (engine/pace.h), as the replica takes them with a steady batch. */
#ifndef KM_EXECUTOR_STEP_ACCOUNT_H
#define KM_EXECUTOR_STEP_ACCOUNT_H

#include "base/memory.h"
#include "executor/executor.h"

/* What there is to ask; borrowed. */
struct km_step_source {
    const struct km_cost_config *config;
    const struct km_cost_model *cost;
    const void *cost_state;
    const struct km_executor *executor; /* one that asks: it cannot fail */
    void *executor_state;
};

struct km_step_account {
    struct km_step_shape shape; /* chunks borrowed */
    uint32_t tokens, padded_tokens;
    bool captured;          /* runs from a captured graph */
    struct km_op_cost *ops; /* [op_count], stage by stage; 0 when the cost model has no operators */
    uint32_t op_count;
    double *stage_s; /* [stages] */
    uint32_t stages, slowest_stage;
    double device_s; /* all stages, one after another */
    double flops, bytes;
    double bound_s[KM_BOUND_COUNT]; /* device_s by what its operators are bound by */
    double form_s, launch_s, process_s, host_s;
    uint32_t batches_in_flight; /* batches whose sequences differ; 1 with one stage */
    double step_s;              /* from one token of a sequence to its next */
    enum km_paced_by paced_by;
};

/* Arrays live in `arena`. */
void km_step_account(const struct km_step_source *source, const struct km_step_shape *shape,
                     struct km_arena *arena, struct km_step_account *out);

#endif
