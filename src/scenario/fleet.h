/* A fleet: the replicas of a scenario, made ready once and run as often as wanted. Every run is a function of
 * the fleet, the workload and the seed alone, and fleets share nothing: different ones may be made and run on
 * different threads. */
#ifndef KM_SCENARIO_FLEET_H
#define KM_SCENARIO_FLEET_H

#include "base/stop.h"
#include "scenario/run.h"
#include "sim/simulation.h"

struct km_fleet {
    const struct km_scenario *scenario; /* borrowed */
    struct km_setup *groups; /* [group_count] by km_scenario_group(): what one replica of each is */
    uint32_t group_count;    /* 1 when all replicas are of one kind */
};

/* As km_setup_create(): KM_NO when a replica cannot be laid out so or does not fit. */
enum km_status km_fleet_create(const struct km_scenario *scenario, struct km_fleet *out,
                               struct km_error *error);
void km_fleet_release(struct km_fleet *fleet);
/* Would every replica's engine start? No: max_model_len is more than km_setup's most_model_len. Such a fleet
 * runs all the same, but meets no SLO. */
bool km_fleet_starts(const struct km_fleet *fleet);

struct km_run_options {
    bool fast_forward;
    void (*ended)(void *context, enum km_outcome outcome, const struct km_record *record); /* optional */
    void (*stepped)(void *context, const struct km_step_record *record);                   /* optional */
    void (*replica_ended)(void *context, const struct km_replica_result *result);          /* optional */
    void (*resized)(void *context, const struct km_group_size *size);                      /* optional */
    void *context;
    void (*progress)(void *context, double share, uint64_t requests); /* optional */
    const km_stop *stop;                                              /* optional */
    const bool *enough;                                               /* optional: sim/simulation.h */
};

/* Shares of what all GPUs could have done while they were paid; NAN where undefined. */
struct km_utilization {
    double mfu, mbu, busy;
};

struct km_run_group {
    double gpu_seconds; /* paid: of every replica from its start to its end, or the run's last completion */
    uint32_t gpus_per_replica;
    struct km_utilization utilization;
};

struct km_run_result {
    struct km_summary summary;
    struct km_simulation_result simulation;
    double mfu, mbu, busy; /* of all groups together, each against its own device's peaks */
    double gpu_seconds;
    struct km_run_group groups[KM_MAX_GROUPS]; /* [simulation.group_count] */
};

/* `workload`: the scenario's own, or one like it (another rate, say); borrowed during the call.
 * KM_FAILED, by an executor: `out` holds what was done so far, as a run that was stopped. */
enum km_status km_fleet_run(const struct km_fleet *fleet, const struct km_workload_settings *workload,
                            uint64_t seed, const struct km_run_options *options, struct km_run_result *out,
                            struct km_error *error);

/* utilization.c, for km_fleet_run(): model FLOPs and bytes of all steps against what the GPUs could have done. */
void km_fleet_utilizations(const struct km_fleet *fleet, struct km_run_result *out);

#endif
