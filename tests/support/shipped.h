/* Descriptions that ship with the project, ready to be timed by a cost model. */
#ifndef KM_TESTS_SHIPPED_H
#define KM_TESTS_SHIPPED_H

#include "cost/cost.h"

#include <stddef.h>

/* Fails the test with the error's line, unless the status is KM_OK. */
void must(enum km_status status, const struct km_error *error);

struct shipped {
    struct km_arena arena;
    struct km_device device;
    struct km_model model;
    struct km_engine engine;
};

/* By the names of their files in configs/ and models/. Released by its arena. */
void open_shipped(const char *device, const char *model, const char *engine, struct shipped *out);
/* One rank, the model's own formats. */
struct km_cost_config shipped_config(const struct shipped *shipped, const char *profile);

/* What a breakdown says of the operator of a name (the last one), and of all together. */
struct op_times {
    const char *wanted;
    double time_s;
    uint32_t count;
    enum km_origin origin;
    double total_s;
};

/* Fails the test when the step has no such operator. */
struct op_times time_op(const struct km_cost_model *cost, const void *state,
                        const struct km_step_shape *shape, const char *name);

#endif
