#include "scenario/bill.h"

#include <math.h>

/* An H200 draws 80 W idle, 592 W streaming, and its limit is 700 W: (592 - 80) / (700 - 80)
 * (configs/devices/h200-sxm.yaml). Assumed of devices without a measurement. */
#define STREAM_SHARE 0.826

struct km_power_law km_device_power_law(const struct km_device *device)
{
    double range_w = device->power_w - device->idle_power_w;
    return (struct km_power_law){
        .idle_w = device->idle_power_w,
        .limit_w = device->power_w,
        .stream_w = device->stream_power_w > 0 ? device->stream_power_w
                                               : device->idle_power_w + STREAM_SHARE * range_w,
        .stream_mbu = device->memory_efficiency,
        .compute_w = device->power_w,
        .compute_mfu = device->power_limited_mfu > 0 ? device->power_limited_mfu : device->gemm_efficiency,
    };
}

double km_gpu_price_usd_per_hour(const struct km_scenario *scenario, const struct km_device *device)
{
    double stated = scenario->economics.price_usd_per_gpu_hour;
    return stated > 0 ? stated : device->price_usd_per_hour;
}

void km_run_bill(const struct km_fleet *fleet, const struct km_run_result *result, struct km_bill *out)
{
    struct km_rented rented[KM_MAX_GROUPS];
    const struct km_work *work = &result->simulation.work;
    for (uint32_t i = 0; i < fleet->group_count; i++) {
        const struct km_device *device = &fleet->groups[i].scenario->device;
        const struct km_utilization *used = &result->groups[i].utilization;
        const struct km_power_law law = km_device_power_law(device);
        rented[i] = (struct km_rented){
            .gpu_seconds = result->groups[i].gpu_seconds,
            .price_usd_per_hour = km_gpu_price_usd_per_hour(fleet->scenario, device),
            .mean_power_w = km_power_mean_w(&law, used->mfu, used->mbu),
        };
    }
    const struct km_served_tokens served = {
        .duration_s = result->summary.span_s,
        .prompt_share = work->busy_s > 0 ? work->prompt_busy_s / work->busy_s : (double)NAN,
        .prompt_tokens = result->summary.prompt_tokens,
        .output_tokens = result->summary.output_tokens,
    };
    km_bill_make(&fleet->scenario->economics, rented, fleet->group_count, &served, out);
}
