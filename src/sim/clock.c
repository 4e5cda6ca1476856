#include "sim/clock.h"

#include "base/simtime.h"

struct km_placed_step km_clock_place(struct km_clock *clock, const struct km_step_time *time,
                                     const uint64_t *stage_ps, uint64_t now_ps, uint64_t back_ps)
{
    struct km_placed_step placed = {.process_ps = time->host.process_ps};
    uint64_t launching_ps = km_pace_launching_ps(&time->host, now_ps, clock->workers_free_ps);
    uint64_t launched_ps = km_pace_launched_ps(&time->host, launching_ps);
    uint64_t at = km_pace_begun_ps(km_pace_ready_ps(&time->host, launching_ps), back_ps);
    uint64_t busy_ps = 0;
    for (uint32_t s = 0; s < clock->stages; s++) {
        at = km_pace_begun_ps(at, clock->stage_free_ps[s]);
        if (s == 0)
            placed.start_ps = at;
        double duty = km_power_step(&clock->stage_power[s], &time->power, (double)at * 1e-12,
                                    (double)stage_ps[s] * 1e-12);
        uint64_t longer_ps = km_ps_round((double)stage_ps[s] * time->power.share * time->power.rise * duty);
        uint64_t whole_ps = km_ps_after(stage_ps[s], longer_ps);
        if (time->power.share <= 0.0)
            clock->stage_power[s].other_ps += whole_ps;
        at = km_ps_after(at, whole_ps);
        busy_ps = km_ps_after(busy_ps, whole_ps);
        if (s + 1 == clock->stages)
            at = km_pace_ended_ps(at, launched_ps);
        clock->stage_free_ps[s] = at;
    }
    placed.end_ps = at;
    clock->host_free_ps = km_pace_host_free_ps(&time->host, now_ps);
    clock->workers_free_ps = launched_ps;
    clock->busy_ps += busy_ps;
    clock->weight_bytes += time->weight_bytes;
    return placed;
}

uint64_t km_clock_busy_until_ps(const struct km_clock *clock)
{
    uint64_t until_ps = 0;
    for (uint32_t s = 0; s < clock->stages; s++)
        until_ps = clock->stage_free_ps[s] > until_ps ? clock->stage_free_ps[s] : until_ps;
    return until_ps;
}

double km_clock_busy_s(const struct km_clock *clock)
{
    return (double)clock->busy_ps * 1e-12 / clock->stages;
}
