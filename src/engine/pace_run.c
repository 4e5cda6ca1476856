#include "engine/pace_run.h"

/* While a step lasts no longer than this and the run begins no later than that, 2^20 of them end before the
 * clock does. Longer runs, and such steps, are cut shorter: within_clock(). */
#define MANY_STEPS    ((uint64_t)1 << 20)
#define SHORT_STEP_PS ((uint64_t)1 << 41)
#define EARLY_PS      ((uint64_t)1 << 62)

static uint64_t step_ps(const struct km_pace_start *start, uint64_t i)
{
    return start->first_ps + i * (uint64_t)start->slope_ps;
}

static uint64_t least_step_ps(const struct km_pace_start *start, uint64_t count)
{
    return start->slope_ps >= 0 ? start->first_ps : step_ps(start, count - 1);
}

static uint64_t most_step_ps(const struct km_pace_start *start, uint64_t count)
{
    return start->slope_ps >= 0 ? step_ps(start, count - 1) : start->first_ps;
}

uint64_t km_pace_run_device_ps(const struct km_pace_run *run, uint64_t count)
{
    if (count == 0)
        return 0;
    return count * run->start.first_ps + count * (count - 1) / 2 * (uint64_t)run->start.slope_ps;
}

uint64_t km_pace_run_lengths_ps(const struct km_pace_run *run, uint64_t count)
{
    return run->launch_bound ? count * run->start.host.launch_ps : km_pace_run_device_ps(run, count);
}

uint64_t km_pace_run_formed_ps(const struct km_pace_run *run, uint64_t i)
{
    if (i == 0)
        return run->start.now_ps;
    return run->base_ps + run->period_ps * (i - 1) +
           (run->with_steps ? km_pace_run_device_ps(run, i - 1 + run->shift) : 0);
}

int64_t km_pace_run_gap_slope_ps(const struct km_pace_run *run)
{
    return run->with_steps ? run->start.slope_ps : 0;
}

/* Workers are free whenever a step of a run has been formed. */
static uint64_t launching_ps(const struct km_pace_run *run, uint64_t i)
{
    return km_pace_launching_ps(&run->start.host, km_pace_run_formed_ps(run, i), 0);
}

uint64_t km_pace_run_launched_ps(const struct km_pace_run *run, uint64_t i)
{
    return km_pace_launched_ps(&run->start.host, launching_ps(run, i));
}

void km_pace_run_place(const struct km_pace_run *run, uint64_t i, uint64_t *start_ps, uint64_t *end_ps)
{
    const struct km_pace_start *start = &run->start;
    *start_ps = run->waits ? start->flight_end_ps + km_pace_run_device_ps(run, i)
                           : km_pace_ready_ps(&start->host, launching_ps(run, i));
    *end_ps = *start_ps + (run->launch_bound ? start->host.launch_ps : step_ps(start, i));
}

/* How many steps surely end within the clock. Each takes at most its own time and the host's; two more leave
 * room for what follows the last. */
static uint64_t within_clock(const struct km_pace_start *start, uint64_t limit)
{
    const struct km_host_time *host = &start->host;
    uint64_t from_ps =
        start->overlapped && start->flight_end_ps > start->now_ps ? start->flight_end_ps : start->now_ps;
    uint64_t last_ps = km_ps_along(start->first_ps, start->slope_ps, limit - 1);
    uint64_t longest_ps = last_ps > start->first_ps ? last_ps : start->first_ps;
    longest_ps =
        km_ps_after(longest_ps, km_ps_after(host->form_ps, km_ps_after(host->launch_ps, host->process_ps)));
    if (longest_ps <= SHORT_STEP_PS && from_ps <= EARLY_PS && limit <= MANY_STEPS)
        return limit;
    uint64_t room = from_ps < KM_PS_END ? (KM_PS_END - from_ps) / longest_ps : 0;
    return room < limit + 3 ? (room > 3 ? room - 3 : 0) : limit;
}

/* Most steps, up to `limit`, of which the last is formed before the horizon. */
static uint64_t steps_before(const struct km_pace_run *run, uint64_t horizon_ps, uint64_t limit)
{
    if (km_pace_run_formed_ps(run, limit - 1) < horizon_ps)
        return limit;
    uint64_t low = 1, high = limit; /* `low` steps are certain, `high` are too many */
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (km_pace_run_formed_ps(run, middle - 1) < horizon_ps)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* One batch is in flight and the next is being formed. */
static bool overlapped(struct km_pace_run *run, uint64_t limit)
{
    const struct km_pace_start *start = &run->start;
    const struct km_host_time *host = &start->host;
    uint64_t host_ps = host->form_ps + host->launch_ps + host->process_ps;
    uint64_t launched_ps = km_pace_launched_ps(host, km_pace_launching_ps(host, start->now_ps, 0));
    if (launched_ps <= start->flight_end_ps && host_ps <= least_step_ps(start, limit)) {
        run->base_ps = start->flight_end_ps + host->process_ps;
        run->with_steps = run->waits = true;
        return true;
    }
    if (host->workers)
        return false;
    run->base_ps = launched_ps + host->process_ps;
    run->period_ps = host_ps;
    if (host->captured)
        return start->flight_end_ps <= launched_ps && most_step_ps(start, limit) <= host_ps;
    run->launch_bound = start->flight_end_ps + host->launch_ps <= launched_ps &&
                        most_step_ps(start, limit) <= host->launch_ps;
    return run->launch_bound;
}

/* Form, launch, run, process, form again. */
static bool serial(struct km_pace_run *run, uint64_t limit)
{
    const struct km_pace_start *start = &run->start;
    const struct km_host_time *host = &start->host;
    run->period_ps = host->form_ps + host->process_ps;
    if (host->captured || host->launch_ps <= least_step_ps(start, limit)) {
        run->period_ps += host->captured ? host->launch_ps : 0;
        run->with_steps = true;
        run->shift = 1;
    } else {
        run->period_ps += host->launch_ps;
        run->launch_bound = true;
    }
    run->base_ps = start->now_ps + run->period_ps;
    return run->with_steps || most_step_ps(start, limit) <= host->launch_ps;
}

uint64_t km_pace_run(const struct km_pace_start *start, uint64_t horizon_ps, uint64_t limit,
                     struct km_pace_run *out)
{
    if (limit < 2 || (limit = within_clock(start, limit)) < 2)
        return 0;
    if (start->host.workers && start->workers_ps > km_ps_after(start->now_ps, start->host.form_ps))
        return 0;
    *out = (struct km_pace_run){.start = *start};
    if (!(start->overlapped ? overlapped(out, limit) : serial(out, limit)))
        return 0;
    return steps_before(out, horizon_ps, limit);
}
