/* A run of like steps in closed form: what pace.h's law gives step by step, for any step at once.
 *
 * One stage, the same sequences in every batch, constant host times, and step i (from 0) takes
 * g(i) = first + i * slope picoseconds on the device. If the host keeps up with the device throughout, or the
 * device with the host, every time of every step follows in integers and is what single steps give. Those two
 * plainest situations are recognised; all others are no runs. */
#ifndef KM_ENGINE_PACE_RUN_H
#define KM_ENGINE_PACE_RUN_H

#include "engine/pace.h"

/* What a run begins with: its first batch is being formed. */
struct km_pace_start {
    struct km_host_time host;
    uint64_t first_ps; /* g(0) */
    int64_t slope_ps;
    bool overlapped;        /* a batch like these is in flight ... */
    uint64_t flight_end_ps; /* ... until then */
    uint64_t now_ps;
    uint64_t workers_ps; /* from when on workers are free, where they launch */
};

struct km_pace_run {
    struct km_pace_start start;
    /* Step i > 0 is formed at base + period * (i - 1) plus, when with_steps, g(0) + ... + g(i - 2 + shift).
     * */
    uint64_t base_ps, period_ps;
    bool with_steps;
    uint64_t shift;
    bool launch_bound; /* outside the graphs: a step lasts as long as its launch */
    bool waits;        /* overlapped, for the step before */
};

/* The most steps, up to `limit`, that surely go so, of which the last is formed before the horizon and ends
 * within the clock. Less than 2: no run. */
uint64_t km_pace_run(const struct km_pace_start *start, uint64_t horizon_ps, uint64_t limit,
                     struct km_pace_run *out);

/* g(0) + ... + g(count - 1): the device's time. */
uint64_t km_pace_run_device_ps(const struct km_pace_run *run, uint64_t count);
/* The lengths of the first `count` steps, each from its start to its end, summed. */
uint64_t km_pace_run_lengths_ps(const struct km_pace_run *run, uint64_t count);
/* When the host begins to form step i, and has just taken the results before. */
uint64_t km_pace_run_formed_ps(const struct km_pace_run *run, uint64_t i);
/* What each time between two results is longer than the one before. */
int64_t km_pace_run_gap_slope_ps(const struct km_pace_run *run);
/* When step i has been launched. */
uint64_t km_pace_run_launched_ps(const struct km_pace_run *run, uint64_t i);
/* Start and end of step i on the device. */
void km_pace_run_place(const struct km_pace_run *run, uint64_t i, uint64_t *start_ps, uint64_t *end_ps);

#endif
