/* A fleet: the replicas of a scenario, made ready once and run as often as wanted. Every run is a function of
 * the fleet, the workload and the seed alone, and fleets share nothing: different ones may be made and run on
 * different threads. */
#ifndef KM_SCENARIO_FLEET_H
#define KM_SCENARIO_FLEET_H

#include "scenario/run.h"

struct km_fleet {
    const struct km_scenario *scenario; /* borrowed */
    struct km_setup setup;
};

/* As km_setup_create(): KM_NO when a replica cannot be laid out so or does not fit. */
enum km_status km_fleet_create(const struct km_scenario *scenario, struct km_fleet *out,
                               struct km_error *error);
void km_fleet_release(struct km_fleet *fleet);

/* `workload`: the scenario's own, or one like it (another rate, say); borrowed during the call. */
enum km_status km_fleet_run(const struct km_fleet *fleet, const struct km_workload_settings *workload,
                            uint64_t seed, const struct km_run_options *options, struct km_run_result *out,
                            struct km_error *error);

#endif
