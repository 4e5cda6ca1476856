/* The bill of a run: what its GPUs cost, drew and emitted (economics/economics.h), group by group. */
#ifndef KM_SCENARIO_BILL_H
#define KM_SCENARIO_BILL_H

#include "economics/economics.h"
#include "scenario/fleet.h"

/* How a device's power follows what it does. Where the description carries no measurement, streaming draws
 * the share of the range between idle and limit that it draws on an H200, and matrix multiplications reach
 * the limit at gemm_efficiency. */
struct km_power_law km_device_power_law(const struct km_device *device);

/* Rent of one GPU: the scenario's price, or that of the device. */
double km_gpu_price_usd_per_hour(const struct km_scenario *scenario, const struct km_device *device);

void km_run_bill(const struct km_fleet *fleet, const struct km_run_result *result, struct km_bill *out);

#endif
