/* Fast-forward: many decode steps in one action. While nobody arrives, ends, or runs out of blocks, the
 * steps of a batch are a run in closed form (engine/pace_run.h); here it is found out how long, and booked.
 * What is no run is stepped. */
#include "base/simtime.h"
#include "sim/replica_state.h"

/* A run with more steps than this is cut; nothing is lost but one action. */
#define MOST_STEPS ((uint64_t)1 << 20)

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

/* Book the blocks of `steps` decodes one by one, and tell of every step that is processed on the way.
 * Results i are taken when step i is formed: those of `before`, then of the run's own steps. */
static void tell_steps(struct km_replica *replica, const struct km_pace_run *run,
                       const struct km_flight *before, uint64_t steps)
{
    const struct km_host_time *host = &run->start.host;
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    const struct km_flight own = {.decode_count = cohort->count};
    for (uint64_t i = 1; i <= steps; i++) {
        replica->config.kv_manager->decode(replica->kv, &cohort->growth, cohort->clock + i - 1, 1);
        if (i == steps)
            break;
        uint64_t done_ps = km_pace_run_formed_ps(run, i), ended_ps = done_ps - host->process_ps;
        uint64_t free_ps = km_pace_host_free_ps(host, km_pace_run_formed_ps(run, i - 1));
        km_replica_tell_step(replica, before && i == 1 ? before : &own, done_ps,
                             ended_ps > free_ps ? ended_ps - free_ps : 0);
    }
}

/* The batch in flight, if batches overlap, then all new ones but those that stay in flight. */
static void tell_metrics(struct km_replica *replica, const struct km_pace_run *run,
                         const struct km_flight *before, uint64_t steps)
{
    struct km_metrics *metrics = replica->config.metrics;
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    uint64_t sequences = cohort->count, processed = steps - (before ? 2 : 1);
    if (before)
        km_metrics_steps(metrics, 1, sequences, sequences, before->end_ps - before->start_ps);
    if (processed)
        km_metrics_steps(metrics, processed, sequences, sequences, km_pace_run_lengths_ps(run, processed));
    /* The first results are processed when the second step is formed. */
    uint64_t first_done_ps = km_pace_run_formed_ps(run, 1);
    km_replica_tell_gaps(replica, &cohort->classes, first_done_ps - cohort->last_token_ps, 0, 1, sequences);
    if (steps > 2)
        km_replica_tell_gaps(replica, &cohort->classes, km_pace_run_formed_ps(run, 2) - first_done_ps,
                             km_pace_run_gap_slope_ps(run), steps - 2, sequences);
    cohort->last_token_ps = km_pace_run_formed_ps(run, steps - 1);
}

static void add_totals(struct km_replica *replica, const struct km_pace_run *run, uint64_t steps)
{
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    struct km_decode_shape shape;
    cohort->clock++;
    km_cohort_shape(cohort, &shape);
    cohort->clock--;
    uint64_t sequences = cohort->count, triangle = steps * (steps - 1) / 2;
    replica->steps += steps;
    replica->tokens += steps * sequences;
    replica->sampled += steps * sequences;
    replica->decode_pairs += (km_u128)steps * shape.sum_context + (km_u128)triangle * sequences;
    replica->decode_pairs_windowed +=
        (km_u128)steps * shape.sum_windowed + (km_u128)triangle * shape.below_window;
    replica->clock.weight_bytes += (km_u128)steps * replica->line.time.weight_bytes;
    replica->clock.busy_ps += km_pace_run_device_ps(run, steps);
    replica->clock.stage_power[0].other_ps += km_pace_run_device_ps(run, steps);
}

/* The batches that are in flight after the run: its last ones. */
static void leave_in_flight(struct km_replica *replica, const struct km_pace_run *run, uint64_t steps)
{
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    replica->batches += steps - 1; /* the first was opened */
    replica->flight_count = run->start.overlapped ? 2 : 1;
    for (uint32_t i = 0; i < replica->flight_count; i++) {
        struct km_flight *flight = flight_at(replica, i);
        uint64_t back = replica->flight_count - 1 - i;
        *flight = (struct km_flight){.number = replica->batches - back,
                                     .lane = replica->lane,
                                     .decode_count = cohort->count,
                                     .steps_cohort = true,
                                     .process_ps = run->start.host.process_ps,
                                     .entries = flight->entries,
                                     .entry_capacity = flight->entry_capacity,
                                     .classes = flight->classes};
        flight->classes.used = 0;
        if (cohort->classes.used > 1)
            km_class_counts_copy(&flight->classes, &cohort->classes);
        km_pace_run_place(run, steps - 1 - back, &flight->start_ps, &flight->end_ps);
        replica->clock.stage_free_ps[0] = flight->end_ps;
    }
    cohort->last_batch = replica->batches;
    replica->clock.host_free_ps =
        km_pace_host_free_ps(&run->start.host, km_pace_run_formed_ps(run, steps - 1));
    replica->clock.workers_free_ps = km_pace_run_launched_ps(run, steps - 1);
}

bool km_replica_jump(struct km_replica *replica, uint64_t now_ps, uint64_t horizon_ps)
{
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    bool overlapped = replica->max_flights > 1;
    struct km_flight *before = overlapped ? flight_at(replica, 0) : NULL;
    if (!replica->config.executor->line || replica->config.pace.stages > 1 || cohort->count == 0 ||
        replica->flight_count != (overlapped ? 1u : 0u) || replica->batch.late_count || replica->loose_count)
        return false;
    if (before && (before->entry_count || before->chunk_count || before->decode_count != cohort->count))
        return false;
    uint64_t limit = most_steps(replica, cohort);
    if (limit < 2)
        return false;

    const struct km_step_line *line = &replica->line;
    if (before && before->process_ps != line->time.host.process_ps)
        return false; /* rows that it filled for who had ended are gone: they gave up */
    const struct km_pace_start start = {
        .host = line->time.host,
        .first_ps =
            km_ps_along(line->time.stage_ps[0], line->slope_ps[0], cohort->clock + 1 - replica->line_clock),
        .slope_ps = line->slope_ps[0],
        .overlapped = overlapped,
        .flight_end_ps = before ? before->end_ps : 0,
        .now_ps = now_ps,
        .workers_ps = replica->clock.workers_free_ps,
    };
    struct km_pace_run run;
    uint64_t steps = km_pace_run(&start, horizon_ps, limit, &run);
    if (steps < 2)
        return false;
    tell_metrics(replica, &run, before, steps);
    add_totals(replica, &run, steps);
    replica->kv->promised_blocks = 0;
    if (replica->config.stepped)
        tell_steps(replica, &run, before, steps);
    else
        replica->config.kv_manager->decode(replica->kv, &cohort->growth, cohort->clock, steps);
    cohort->clock += steps;
    leave_in_flight(replica, &run, steps);
    return true;
}
