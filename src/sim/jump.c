/* Fast-forward: many decode steps in one action.
 *
 * While nobody arrives, ends, or runs out of blocks, step i of a run takes g(i) = first + i * slope
 * picoseconds and the host's share is constant. If the host keeps up (or the device does), every time of
 * every step follows in closed form, in integers, and is what single steps would give. Only the two plainest
 * situations are recognised - device-bound and host-bound throughout - and everything else is stepped. */
#include "base/simtime.h"
#include "sim/replica_state.h"

/* A run with more steps than this is cut; nothing is lost but one action. */
#define MOST_STEPS ((uint64_t)1 << 20)

/* While a step lasts no longer than this and the run begins no later than that, MOST_STEPS of them end before
 * the clock does. Else runs are cut shorter: within_clock(). */
#define SHORT_STEP_PS ((uint64_t)1 << 41)
#define EARLY_PS      ((uint64_t)1 << 62)

/* Step i is formed at now for i = 0, else at `base + period * (i - 1)` plus, when with_steps, g(0) + ... +
 * g(i - 2 + shift). */
struct run {
    uint64_t first_ps;
    int64_t slope_ps;
    uint64_t base_ps, period_ps;
    bool with_steps;
    uint64_t shift;
};

static uint64_t step_ps(const struct run *run, uint64_t i)
{
    return run->first_ps + i * (uint64_t)run->slope_ps;
}

/* g(0) + ... + g(count - 1) */
static uint64_t sum_ps(const struct run *run, uint64_t count)
{
    return count == 0 ? 0 : count * run->first_ps + count * (count - 1) / 2 * (uint64_t)run->slope_ps;
}

static uint64_t formed_ps(const struct run *run, uint64_t now_ps, uint64_t i)
{
    if (i == 0)
        return now_ps;
    return run->base_ps + run->period_ps * (i - 1) + (run->with_steps ? sum_ps(run, i - 1 + run->shift) : 0);
}

/* How many steps of a run that begins at `start_ps` surely end within the clock. Each takes at most its own
 * time and the host's; two more leave room for what follows the last. */
static uint64_t within_clock(const struct run *run, const struct km_step_time *t, uint64_t start_ps,
                             uint64_t limit)
{
    uint64_t last_ps = km_ps_along(run->first_ps, run->slope_ps, limit - 1);
    uint64_t longest_ps = last_ps > run->first_ps ? last_ps : run->first_ps;
    longest_ps = km_ps_after(longest_ps, km_ps_after(t->form_ps, km_ps_after(t->launch_ps, t->process_ps)));
    if (longest_ps <= SHORT_STEP_PS && start_ps <= EARLY_PS)
        return limit;
    uint64_t room = start_ps < KM_PS_END ? (KM_PS_END - start_ps) / longest_ps : 0;
    return room < limit + 3 ? (room > 3 ? room - 3 : 0) : limit;
}

static uint64_t least_step_ps(const struct run *run, uint64_t count)
{
    return run->slope_ps >= 0 ? run->first_ps : step_ps(run, count - 1);
}

static uint64_t most_step_ps(const struct run *run, uint64_t count)
{
    return run->slope_ps >= 0 ? step_ps(run, count - 1) : run->first_ps;
}

/* Most steps, up to `limit`, of which the last is formed before the horizon. */
static uint64_t steps_before(const struct run *run, uint64_t now_ps, uint64_t horizon_ps, uint64_t limit)
{
    if (formed_ps(run, now_ps, limit - 1) < horizon_ps)
        return limit;
    uint64_t low = 1, high = limit; /* `low` steps are certain, `high` are too many */
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (formed_ps(run, now_ps, middle - 1) < horizon_ps)
            low = middle;
        else
            high = middle;
    }
    return low;
}

enum pace {
    PACE_NONE,
    PACE_DEVICE, /* steps follow each other on the device */
    PACE_HOST,   /* each step waits for the host */
    PACE_LAUNCH, /* outside the graphs: a step lasts as long as its launch */
};

/* Overlapped: one batch is in flight and the next is being formed. */
static enum pace overlapped_pace(struct run *run, const struct km_step_time *t,
                                 const struct km_flight *flight, uint64_t now_ps, uint64_t limit)
{
    uint64_t host_ps = t->form_ps + t->launch_ps + t->process_ps;
    uint64_t launched_ps = now_ps + t->form_ps + t->launch_ps;
    if (launched_ps <= flight->end_ps && host_ps <= least_step_ps(run, limit)) {
        run->base_ps = flight->end_ps + t->process_ps;
        run->with_steps = true;
        return PACE_DEVICE;
    }
    run->base_ps = launched_ps + t->process_ps;
    run->period_ps = host_ps;
    if (t->captured && flight->end_ps <= launched_ps && most_step_ps(run, limit) <= host_ps)
        return PACE_HOST;
    if (!t->captured && flight->end_ps + t->launch_ps <= launched_ps &&
        most_step_ps(run, limit) <= t->launch_ps)
        return PACE_LAUNCH;
    return PACE_NONE;
}

/* Not overlapped: form, launch, run, process, form again. */
static enum pace serial_pace(struct run *run, const struct km_step_time *t, uint64_t now_ps, uint64_t limit)
{
    uint64_t around_ps = t->form_ps + t->process_ps;
    if (t->captured || t->launch_ps <= least_step_ps(run, limit)) {
        run->period_ps = around_ps + (t->captured ? t->launch_ps : 0);
        run->base_ps = now_ps + run->period_ps;
        run->with_steps = true;
        run->shift = 1;
        return PACE_DEVICE;
    }
    if (most_step_ps(run, limit) <= t->launch_ps) {
        run->period_ps = around_ps + t->launch_ps;
        run->base_ps = now_ps + run->period_ps;
        return PACE_LAUNCH;
    }
    return PACE_NONE;
}

/* Start and end of step i; times of earlier steps are consistent with these. */
static void place(const struct run *run, enum pace pace, const struct km_step_time *t, bool overlapped,
                  uint64_t flight_end_ps, uint64_t now_ps, uint64_t i, struct km_flight *out)
{
    uint64_t formed = formed_ps(run, now_ps, i) + t->form_ps;
    uint64_t ready = formed + (t->captured ? t->launch_ps : 0);
    if (pace == PACE_LAUNCH) {
        out->start_ps = formed;
        out->end_ps = formed + t->launch_ps;
    } else {
        out->start_ps = pace == PACE_DEVICE && overlapped ? flight_end_ps + sum_ps(run, i) : ready;
        out->end_ps = out->start_ps + step_ps(run, i);
    }
    out->process_ps = t->process_ps;
}

static uint64_t most_steps(struct km_replica *replica, struct km_cohort *cohort)
{
    uint64_t limit = km_cohort_plain_steps(cohort);
    limit = limit < replica->batch.steady_steps ? limit : replica->batch.steady_steps;
    replica->kv->promised_blocks = 0; /* this batch is part of the run */
    limit = replica->config.kv_manager->decode_steps(replica->kv, &cohort->growth, cohort->clock,
                                                     limit < MOST_STEPS ? limit : MOST_STEPS);
    if (limit < 2)
        return limit;
    cohort->clock++; /* the line speaks of the clock after the step */
    km_replica_decode_line(replica, cohort);
    uint64_t left = replica->line.steps - (cohort->clock - replica->line_clock);
    cohort->clock--;
    return limit < left ? limit : left;
}

/* Book the blocks of `steps` decodes one by one, and tell of every step that is processed on the way. Results i
 * are taken when step i is formed: those of `before`, then of the run's own steps. */
static void tell_steps(struct km_replica *replica, const struct run *run, const struct km_flight *before,
                       uint64_t now_ps, uint64_t steps)
{
    const struct km_step_time *t = &replica->line.time;
    const struct km_cohort *cohort = &replica->lanes[replica->lane];
    const struct km_flight own = {.decode_count = cohort->count};
    for (uint64_t i = 1; i <= steps; i++) {
        replica->config.kv_manager->decode(replica->kv, &cohort->growth, cohort->clock + i - 1, 1);
        if (i == steps)
            break;
        uint64_t done_ps = formed_ps(run, now_ps, i), ended_ps = done_ps - t->process_ps;
        uint64_t free_ps = formed_ps(run, now_ps, i - 1) + t->form_ps + t->launch_ps;
        km_replica_tell_step(replica, before && i == 1 ? before : &own, done_ps,
                             ended_ps > free_ps ? ended_ps - free_ps : 0);
    }
}

bool km_replica_jump(struct km_replica *replica, uint64_t now_ps, uint64_t horizon_ps)
{
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    bool overlapped = replica->max_flights > 1;
    struct km_flight *before = overlapped ? flight_at(replica, 0) : NULL;
    if (!replica->config.executor->line || replica->config.stages > 1 || cohort->count == 0 ||
        replica->flight_count != (overlapped ? 1u : 0u) || replica->batch.late_count || replica->loose_count)
        return false;
    if (before && (before->entry_count || before->chunk_count || before->decode_count != cohort->count))
        return false;
    uint64_t limit = most_steps(replica, cohort);
    if (limit < 2)
        return false;

    const struct km_step_time *t = &replica->line.time;
    uint64_t offset = cohort->clock + 1 - replica->line_clock;
    struct run run = {.slope_ps = replica->line.slope_ps[0]};
    run.first_ps = km_ps_along(t->stage_ps[0], run.slope_ps, offset);
    uint64_t busy_until_ps = before && before->end_ps > now_ps ? before->end_ps : now_ps;
    limit = within_clock(&run, t, busy_until_ps, limit);
    if (limit < 2)
        return false;
    enum pace pace =
        overlapped ? overlapped_pace(&run, t, before, now_ps, limit) : serial_pace(&run, t, now_ps, limit);
    if (pace == PACE_NONE)
        return false;
    uint64_t steps = steps_before(&run, now_ps, horizon_ps, limit);
    if (steps < 2)
        return false;

    /* Processed on the way: the batch that was in flight, then all new ones but those that stay in flight. */
    uint64_t processed = steps - (overlapped ? 2 : 1);
    uint64_t sequences = cohort->count;
    uint64_t first_done_ps =
        formed_ps(&run, now_ps, 1); /* the first results are processed when the second step is formed */
    struct km_metrics *metrics = replica->config.metrics;
    if (overlapped)
        km_metrics_steps(metrics, 1, sequences, sequences, before->end_ps - before->start_ps);
    uint64_t duration_ps = pace == PACE_LAUNCH ? processed * t->launch_ps : sum_ps(&run, processed);
    if (processed)
        km_metrics_steps(metrics, processed, sequences, sequences, duration_ps);
    km_replica_tell_gaps(replica, &cohort->classes, first_done_ps - cohort->last_token_ps, 0, 1, sequences);
    if (steps > 2) {
        uint64_t gap_ps = formed_ps(&run, now_ps, 2) - first_done_ps;
        km_replica_tell_gaps(replica, &cohort->classes, gap_ps, run.with_steps ? run.slope_ps : 0, steps - 2,
                             sequences);
    }
    cohort->last_token_ps = formed_ps(&run, now_ps, steps - 1);

    struct km_decode_shape shape;
    cohort->clock++;
    km_cohort_shape(cohort, &shape);
    cohort->clock--;
    replica->steps += steps;
    replica->tokens += steps * sequences;
    replica->sampled += steps * sequences;
    uint64_t triangle = steps * (steps - 1) / 2;
    replica->decode_pairs += (km_u128)steps * shape.sum_context + (km_u128)triangle * sequences;
    replica->decode_pairs_windowed +=
        (km_u128)steps * shape.sum_windowed + (km_u128)triangle * shape.below_window;
    replica->weight_bytes += (km_u128)steps * t->weight_bytes;
    replica->busy_ps += sum_ps(&run, steps);
    replica->stage_power[0].other_ps += sum_ps(&run, steps);

    replica->kv->promised_blocks = 0;
    if (replica->config.stepped)
        tell_steps(replica, &run, before, now_ps, steps);
    else
        replica->config.kv_manager->decode(replica->kv, &cohort->growth, cohort->clock, steps);
    cohort->clock += steps;
    uint64_t before_end_ps = before ? before->end_ps : 0;
    replica->batches += steps - 1; /* the first was opened */
    replica->flight_count = overlapped ? 2 : 1;
    for (uint32_t i = 0; i < replica->flight_count; i++) {
        struct km_flight *flight = flight_at(replica, i);
        uint64_t back = replica->flight_count - 1 - i;
        *flight = (struct km_flight){.number = replica->batches - back,
                                     .lane = replica->lane,
                                     .decode_count = cohort->count,
                                     .steps_cohort = true,
                                     .entries = flight->entries,
                                     .entry_capacity = flight->entry_capacity,
                                     .classes = flight->classes};
        flight->classes.used = 0;
        if (cohort->classes.used > 1)
            km_class_counts_copy(&flight->classes, &cohort->classes);
        place(&run, pace, t, overlapped, before_end_ps, now_ps, steps - 1 - back, flight);
        replica->stage_free_ps[0] = flight->end_ps;
    }
    cohort->last_batch = replica->batches;
    replica->host_free_ps = formed_ps(&run, now_ps, steps - 1) + t->form_ps + t->launch_ps;
    return true;
}
