/* Autoscaling: how many replicas a fleet should have. Policies are one file and one registry line each.
 *
 * A scaler looks at the fleet every interval. Its policy says how many replicas the load would fill at the
 * stated target, a real number; the scaler turns that into an order as Kubernetes' Horizontal Pod Autoscaler
 * does (kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale, "Algorithm details"):
 *
 *   desired = ceil(current * metric / target), where metric is the mean over the replicas, so that
 *   current * metric / target is what the policy says; unless it is within `tolerance` of current;
 *   never fewer than the most desired at any look of the last scale_down_delay_s ("stabilization window");
 *   never outside [min_replicas, max_replicas].
 *
 * `current` counts replicas that serve and that are starting, as there: what has been ordered is not ordered
 * again. The defaults are the HPA's: 15 s, a tolerance of 0.1, 300 s. A schedule is obeyed at once, without
 * tolerance or delay.
 *
 * A replica that starts is paid from then on and serves after startup_s. Where fewer are wanted, starting
 * ones are given up first; then the one with the fewest outstanding requests drains: it gets no new requests
 * and is paid until its last one ends. There is always at least one that serves (min_replicas >= 1): an
 * engine cannot hold requests that nobody serves. */
#ifndef KM_SCALING_SCALING_H
#define KM_SCALING_SCALING_H

#include "base/registry.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a fleet's use is measured by, as a share. */
enum km_scaling_metric {
    KM_SCALING_SEQUENCES, /* running sequences, of max_num_seqs */
    KM_SCALING_KV_CACHE,  /* KV blocks in use, of all */
    KM_SCALING_BUSY,      /* time in which a step ran, since the last look */
};

struct km_schedule_entry {
    double at_s;
    uint32_t replicas;
};

struct km_scaling_settings {
    const char *policy; /* registry name; NULL = the fleet is fixed */
    uint32_t group;     /* whose replicas are scaled, from 0 */
    uint32_t min_replicas, max_replicas;
    double interval_s;
    double startup_s;
    double scale_down_delay_s;
    double tolerance;
    /* the policies' own */
    double target_requests;    /* target_queue: waiting and running requests a replica */
    bool waiting_only;         /* target_queue: count only those that wait */
    double target_utilization; /* target_utilization: share 0..1 */
    enum km_scaling_metric metric;
    double target_tokens_per_s;              /* predictive: of prompts and outputs, a replica */
    double level_smoothing, trend_smoothing; /* predictive: 0..1 */
    /* [schedule_count] ascending from the first at_s >= 0; borrowed */
    const struct km_schedule_entry *schedule;
    uint32_t schedule_count;
    double period_s; /* schedule: repeats; 0 = once */
};

/* The scaled group at one moment. Sums are over the replicas that serve. */
struct km_scaling_view {
    double now_s, since_last_s;       /* since_last_s: since the last look; 0 at the first */
    uint32_t serving, starting;       /* starting: paid, not yet serving */
    uint64_t waiting, running;        /* requests */
    double sequences, kv_cache, busy; /* shares, as enum km_scaling_metric says */
    /* Of the whole fleet since the last look. */
    uint64_t arrived_requests;
    /* prompts, and as many output tokens as completed requests had on average so far */
    double arrived_tokens;
};

struct km_scaling_policy {
    struct km_entry entry;
    size_t state_bytes; /* zeroed before the first look, owned by the scaler */
    bool exact;         /* an order, to be followed at once, not an estimate */
    /* Replicas that the load would fill at the target. */
    double (*wanted)(void *state, const struct km_scaling_settings *settings,
                     const struct km_scaling_view *view);
    /* Optional: when to look next, instead of after interval_s; HUGE_VAL = never again. */
    double (*next_s)(const struct km_scaling_settings *settings, double now_s);
};

extern const struct km_entry *const km_scaling_registry[];

/* NULL when there is none of that name. */
static inline const struct km_scaling_policy *km_scaling_find(const char *name)
{
    return (const struct km_scaling_policy *)(const void *)km_registry_find(km_scaling_registry, name);
}

/* What is wrong with a schedule or with a target that the policy needs: the key and a message, or NULL. */
const char *km_scaling_problem(const struct km_scaling_settings *settings, const char **key);

struct km_scaler; /* opaque */

/* `settings` is borrowed. */
struct km_scaler *km_scaler_create(const struct km_scaling_settings *settings);
void km_scaler_destroy(struct km_scaler *scaler);
/* Replicas, serving and starting, that there should be from now on. */
uint32_t km_scaler_look(struct km_scaler *scaler, const struct km_scaling_view *view);
/* When it wants to look next, after a look at now_s: > now_s, or HUGE_VAL. The first look is at 0. */
double km_scaler_next_s(const struct km_scaler *scaler, double now_s);

#endif
