/* The law of the host and the device: when a step starts, when it ends, and how fast steps follow each
 * other. Whoever follows steps through time asks here: the simulator step by step and in whole runs, the
 * account of a step, the queueing models, and the fit of engines to their logs.
 *
 * The host is one serial resource. It forms batch k and launches it, or takes (processes) the results of the
 * oldest batch in flight, forming first while fewer than F = km_pace_flights() batches are out:
 *
 *     formed(k)     = the moment the host begins, when the results of batch k - F have been taken
 *     launched(k)   = formed(k) + form + launch                  then the host is free again
 *     ready(k)      = launched(k)                                one graph: runs once it has been launched
 *                     formed(k) + form                           outside the graphs: kernels run as they come
 *     begun(k, s)   = max(ready(k), ended(k, s-1), ended(k-1, s))    on each stage s in turn
 *     ended(k)      = max(begun(k, last) + D_last, launched(k))
 *     processed(k)  = max(ended(k), host free) + process
 *
 * An engine of several GPUs may launch in worker processes, one a GPU and all alike, that have a clock of their own: the host is free once a
 * batch is formed, and
 *
 *     launched(k)   = max(formed(k) + form, launched(k-1)) + launch
 *     ready(k)      = launched(k), or launched(k) - launch outside the graphs
 *
 * Batch k takes part in what follows with the sequences it holds. One stage: all decodes are in every batch,
 * and F is 2 when scheduling is overlapped, else 1. P stages: the sequences fall into P groups in turn, F =
 * P; with placeholders a group's next batch is formed while its last one runs, F = P + 1, and begins when
 * that has ended.
 *
 * Like steps, repeated, follow each other at a steady pace. With H = form + launch + process, D = sum of D_s:
 *
 *     one batch at a time       form + launch + D + process            one graph        ("alone")
 *                               form + max(launch, D) + process        outside them
 *     overlapped, one stage     max(D, H)
 *         with workers          max(D, launch, form + process, alone / 2)
 *     P stages                  max(P * max_s D_s, P * H, alone; with placeholders D)
 *         with workers          P * max(launch, form + process) for P * H
 *
 * (the last is the cycle time of a closed tandem of stations with constant service times). */
#ifndef KM_ENGINE_PACE_H
#define KM_ENGINE_PACE_H

#include "base/simtime.h"
#include "engine/engine.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* How an engine lets steps overlap. */
struct km_pace {
    bool overlapped;   /* one stage: the next batch is formed while one runs */
    bool placeholders; /* P stages: a group's batch is formed before its last tokens are back */
    uint32_t stages;   /* 1 .. KM_MAX_STAGES */
};

struct km_pace km_pace_of(const struct km_engine *engine, bool model_is_dense, uint32_t stages);
/* Batches that may be formed and not yet processed. */
uint32_t km_pace_flights(const struct km_pace *pace);

/* The host's part of a step, in whole picoseconds. */
struct km_host_time {
    uint64_t form_ps; /* schedule and prepare */
    uint64_t launch_ps;
    uint64_t process_ps; /* take the results */
    bool captured;       /* launched as one graph (or at no cost) */
    bool workers;        /* others launch: the host is free once it has formed */
};

/* When a batch that the host begins to form at formed_ps begins to be launched, by workers that are free from workers_ps on. */
static inline uint64_t km_pace_launching_ps(const struct km_host_time *host, uint64_t formed_ps,
                                            uint64_t workers_ps)
{
    const uint64_t ready_ps = km_ps_after(formed_ps, host->form_ps);
    return host->workers && workers_ps > ready_ps ? workers_ps : ready_ps;
}
static inline uint64_t km_pace_launched_ps(const struct km_host_time *host, uint64_t launching_ps)
{
    return km_ps_after(launching_ps, host->launch_ps);
}
static inline uint64_t km_pace_ready_ps(const struct km_host_time *host, uint64_t launching_ps)
{
    return host->captured ? km_pace_launched_ps(host, launching_ps) : launching_ps;
}
/* When the host has formed a batch and, unless workers do, launched it. */
static inline uint64_t km_pace_host_free_ps(const struct km_host_time *host, uint64_t formed_ps)
{
    const uint64_t ready_ps = km_ps_after(formed_ps, host->form_ps);
    return host->workers ? ready_ps : km_pace_launched_ps(host, ready_ps);
}
/* `free_ps`: when the stage, and what the batch waits for, are free; `ready_ps` on the first stage, and when
 * it ended on the one before on the others. */
static inline uint64_t km_pace_begun_ps(uint64_t ready_ps, uint64_t free_ps)
{
    return ready_ps > free_ps ? ready_ps : free_ps;
}
/* On the last stage. */
static inline uint64_t km_pace_ended_ps(uint64_t run_until_ps, uint64_t launched_ps)
{
    return run_until_ps > launched_ps ? run_until_ps : launched_ps;
}
static inline uint64_t km_pace_processed_ps(uint64_t ended_ps, uint64_t host_free_ps, uint64_t process_ps)
{
    return km_ps_after(ended_ps > host_free_ps ? ended_ps : host_free_ps, process_ps);
}

/* A step in seconds. */
struct km_step_seconds {
    double form_s, launch_s, process_s;
    double device_s;  /* all stages, one after another */
    double slowest_s; /* the slowest stage */
    bool captured;    /* launched as one graph */
    bool workers;     /* not by the host */
};

/* Its host's part of `host`, the device's left 0. */
struct km_step_seconds km_step_seconds_of(const struct km_host_time *host);
/* The end of a step on one stage that the host begins to form at formed_s and that the device, busy until
 * free_s, takes on. *host_free_s: when the host is free again. Workers are taken to be free. */
double km_step_ended_s(const struct km_step_seconds *step, double formed_s, double free_s,
                       double *host_free_s);

/* The host's time of a step, H; with workers, of whichever takes longer. */
double km_step_host_s(const struct km_step_seconds *step);
/* A step all by itself, from forming to results. */
double km_step_alone_s(const struct km_step_seconds *step);
/* From where its sequences' last tokens are there to where their next are: a step by itself, but for what
 * placeholders let the host do meanwhile. */
double km_step_through_s(const struct km_pace *pace, const struct km_step_seconds *step);
/* From one token of a sequence to its next, in a run of such steps. */
double km_step_pace_s(const struct km_pace *pace, const struct km_step_seconds *step);
/* What `step` adds to the time line when it follows steps like `before` (with one stage); `before` NULL:
 * steps like itself. Outside the graphs and after steps (H', D') that hide their host it is max(D, H + H' -
 * D'): the host forms a step when the one before begins, so it gains that one's time on the launch, which in
 * turn delays the forming of the step after. */
double km_step_after_s(const struct km_pace *pace, const struct km_step_seconds *step,
                       const struct km_step_seconds *before);

/* What sets the pace of such steps. */
enum km_paced_by {
    KM_PACED_BY_DEVICE, /* the host is hidden */
    KM_PACED_BY_HOST,
    KM_PACED_BY_LAUNCH, /* the host, outside the graphs, by launching */
    KM_PACED_BY_BOTH,   /* device and host in turn */
};
enum km_paced_by km_step_paced_by(const struct km_pace *pace, const struct km_step_seconds *step);
/* "device", "host", "launch", "device and host" */
const char *km_paced_by_name(enum km_paced_by by);

#endif
