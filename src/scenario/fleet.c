#include "scenario/fleet.h"

enum km_status km_fleet_create(const struct km_scenario *scenario, struct km_fleet *out,
                               struct km_error *error)
{
    *out = (struct km_fleet){.scenario = scenario};
    return km_setup_create(scenario, &out->setup, error);
}

void km_fleet_release(struct km_fleet *fleet)
{
    km_setup_release(&fleet->setup);
}

enum km_status km_fleet_run(const struct km_fleet *fleet, const struct km_workload_settings *workload,
                            uint64_t seed, const struct km_run_options *options, struct km_run_result *out,
                            struct km_error *error)
{
    return km_setup_run_workload(&fleet->setup, workload, seed, options, out, error);
}
