#include "calibration/steplog/time.h"

#include "base/simtime.h"
#include "cost/power.h"

#include <math.h>
#include <stdlib.h>

#define MOST_BUNCHED 0.2

enum km_status km_steps_price(const struct km_cost_model *cost, const struct km_cost_config *config,
                              const struct km_recorded_run *runs, size_t run_count,
                              struct km_step_price *const *prices, struct km_error *error)
{
    void *state;
    enum km_status status = cost->create(config, &state, error);
    if (status != KM_OK)
        return status;
    for (size_t r = 0; r < run_count; r++)
        for (size_t i = 0; i < runs[r].count; i++) {
            const struct km_step_shape *shape = &runs[r].steps[i].shape;
            double device_s, bound_s = 0.0, longer_s;
            cost->step(state, shape, &device_s);
            if (shape->chunk_count > 0 && cost->compute_bound)
                cost->compute_bound(state, shape, &bound_s, &longer_s);
            prices[r][i] = (struct km_step_price){device_s, device_s > 0.0 ? bound_s / device_s : 0.0};
        }
    cost->destroy(state);
    return KM_OK;
}

static bool captured(const struct km_engine *engine, const struct km_step_shape *shape)
{
    bool in_graph;
    km_engine_padded_tokens(engine, km_step_tokens(shape), &in_graph);
    return in_graph;
}

/* When a step was seen to end; NAN when it was not, or too late. */
static double seen_s(const struct km_recorded_run *run, size_t i, const struct km_step_price *prices)
{
    const struct km_recorded_step *step = &run->steps[i];
    if (run->exact)
        return step->engine_s;
    bool late =
        i + 1 < run->count && run->steps[i + 1].client_s - step->client_s < 0.5 * prices[i + 1].device_s;
    return late ? (double)NAN : step->client_s;
}

bool km_step_windows_add(struct km_step_windows *windows, const struct km_recorded_run *run, uint32_t index,
                         const struct km_engine *engine, const struct km_step_price *prices, double *bunched)
{
    size_t before = windows->count, late = 0, begin = SIZE_MAX;
    for (size_t i = 0; i < run->count; i++) {
        double end_s = seen_s(run, i, prices);
        const struct km_step_shape *next = i + 1 < run->count ? &run->steps[i + 1].shape : NULL;
        late += !run->exact && isnan(end_s);
        if (run->steps[i].shape.decode.count == 0)
            begin = SIZE_MAX;
        if (isnan(end_s))
            continue;
        if (begin != SIZE_MAX) {
            double begin_s = run->exact ? run->steps[begin].engine_s : run->steps[begin].client_s;
            windows->items =
                km_grow(windows->items, &windows->capacity, windows->count + 1, sizeof *windows->items);
            windows->items[windows->count++] =
                (struct km_step_window){index, (uint32_t)begin, (uint32_t)i, end_s - begin_s};
        }
        if (next && next->chunk_count == 0 && next->decode.count > 0 && captured(engine, next))
            begin = i;
    }
    *bunched = run->count ? (double)late / (double)run->count : 0.0;
    if (*bunched <= MOST_BUNCHED)
        return true;
    windows->count = before;
    return false;
}

struct timeline {
    const struct km_engine *engine;
    const struct km_launch_layers *layers;
    const struct km_recorded_run *run;
    const double *device_s; /* [steps] */
};

static double process_s(const struct timeline *t, size_t i)
{
    const struct km_engine *e = t->engine;
    return e->process_step_s + t->run->steps[i].shape.sampled * e->process_sequence_s;
}

static struct km_step_seconds step_seconds(const struct timeline *t, size_t i)
{
    const struct km_engine *e = t->engine;
    const struct km_step_shape *shape = &t->run->steps[i].shape;
    struct km_step_seconds out = {.form_s = e->form_step_s +
                                            (shape->chunk_count + shape->decode.count) * e->form_sequence_s,
                                  .device_s = t->device_s[i]};
    out.launch_s =
        km_engine_launch_s(e, t->layers, captured(e, shape), shape->chunk_count > 0, &out.captured);
    return out;
}

/* End of step i on the device, when the one before ended at `device_s` and the host began to form it at
 * `host_s`; and when the host is done launching. */
static double run_step(const struct timeline *t, size_t i, double device_s, double host_s, double *launched_s)
{
    const struct km_step_seconds step = step_seconds(t, i);
    return km_step_ended_s(&step, host_s, device_s, launched_s);
}

/* Time 0 is when step `first` has been processed. */
static double window_s(const struct timeline *t, const struct km_step_window *window)
{
    bool overlapped = t->engine->async_scheduling;
    double host_s = 0.0, device_s = -process_s(t, window->first), launched_s = 0.0;
    if (overlapped)
        device_s += t->device_s[window->first + 1];
    for (size_t i = window->first + 1; i <= window->last; i++) {
        double next_s = 0.0;
        launched_s = host_s;
        if (!overlapped)
            device_s = run_step(t, i, device_s, host_s, &launched_s);
        else if (i + 1 < t->run->count)
            next_s = run_step(t, i + 1, device_s, host_s, &launched_s);
        host_s = fmax(device_s, launched_s) + process_s(t, i);
        if (overlapped)
            device_s = next_s;
    }
    return host_s;
}

/* Device times with the power limit. The clock of the run says when a step began only roughly: after the
 * results of the one before its predecessor, when it was formed; when its predecessor ended, which is not
 * later than that was seen; and, where the engine idled, its own length (and a launch) before its own end. */
static void stretch(const struct km_recorded_run *run, const struct km_step_price *prices,
                    const struct km_engine *engine, const struct km_launch_layers *layers, double *device_s)
{
    struct km_power power = {0};
    bool whole;
    double ended_s = -INFINITY, launch_s = km_engine_launch_s(engine, layers, false, true, &whole);
    for (size_t i = 0; i < run->count; i++) {
        const struct km_step_price *price = &prices[i];
        const struct km_power_use use = {.share = engine->gemm_power_rise > 0.0 ? price->bound_share : 0.0,
                                         .rise = engine->gemm_power_rise,
                                         .time_s = engine->gemm_power_time_s,
                                         .stream = engine->stream_power_share};
        double begin_s = run->steps[i].client_s - price->device_s - launch_s;
        if (i > 0)
            begin_s = fmax(begin_s, fmin(ended_s, run->steps[i - 1].client_s));
        if (i > 1)
            begin_s = fmax(begin_s, run->steps[i - 2].client_s);
        double duty = km_power_step(&power, &use, fmax(begin_s, power.at_s), price->device_s);
        device_s[i] = price->device_s * (1.0 + use.share * use.rise * duty);
        if (use.share <= 0.0)
            power.other_ps += km_ps_round(1e12 * device_s[i]);
        ended_s = begin_s + device_s[i];
    }
}

void km_steps_predict(const struct km_recorded_run *runs, size_t run_count,
                      struct km_step_price *const *prices, const struct km_engine *engine,
                      const struct km_launch_layers *layers, const struct km_step_windows *windows,
                      double *out_s)
{
    size_t w = 0;
    for (size_t r = 0; r < run_count; r++) {
        double *device_s = km_alloc((runs[r].count + 1) * sizeof *device_s);
        stretch(&runs[r], prices[r], engine, layers, device_s);
        const struct timeline t = {engine, layers, &runs[r], device_s};
        for (; w < windows->count && windows->items[w].run == r; w++)
            out_s[w] = window_s(&t, &windows->items[w]);
        free(device_s);
    }
}
