#include "support/shipped.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void must(enum km_status status, const struct km_error *error)
{
    char line[1200];
    if (status == KM_OK)
        return;
    km_error_format(error, line, sizeof line);
    fail_msg("%s", line);
}

void open_shipped(const char *device, const char *model, const char *engine, struct shipped *out)
{
    struct km_error error;
    *out = (struct shipped){0};
    struct km_arena *arena = &out->arena;
    must(km_device_read(km_arena_printf(arena, KM_SOURCE_DIR "/configs/devices/%s.yaml", device), arena,
                        &out->device, &error),
         &error);
    must(km_model_read(km_arena_printf(arena, KM_SOURCE_DIR "/models/%s.json", model), arena, &out->model,
                       &error),
         &error);
    must(km_engine_read(km_arena_printf(arena, KM_SOURCE_DIR "/configs/engines/%s.yaml", engine), arena,
                        &out->engine, &error),
         &error);
}

struct km_cost_config shipped_config(const struct shipped *shipped, const char *profile)
{
    return (struct km_cost_config){.model = &shipped->model,
                                   .precision = shipped->model.precision,
                                   .layout = {.tensor_parallel = 1, .pipeline_parallel = 1},
                                   .device = &shipped->device,
                                   .engine = &shipped->engine,
                                   .profile = profile};
}

static void note(void *context, const struct km_op_cost *cost)
{
    struct op_times *times = context;
    times->total_s += cost->time_s;
    if (strcmp(cost->op->name, times->wanted) == 0) {
        times->time_s = cost->time_s;
        times->count = cost->op->count;
        times->origin = cost->origin;
    }
}

struct op_times time_op(const struct km_cost_model *cost, const void *state,
                        const struct km_step_shape *shape, const char *name)
{
    struct op_times times = {.wanted = name};
    cost->breakdown(state, shape, note, &times);
    assert_true(times.count > 0);
    return times;
}
