/* A probe: one run of one plan under one load, and whether it holds.
 *
 * A plan holds when every term of the SLO does (by the exact counts of metrics/slo.h); without an SLO, when
 * no request is rejected or leaves. Where no term keeps a queue short, it must not grow without bound,
 * either.
 *
 * A probe that only asks may be cut short: with N requests to come, a term "q of them within the limit" is
 * missed as soon as more than (1 - q) N are beyond it, and a share s as soon as more than s N go unserved,
 * whatever the others do. The verdict is that of the
 * whole run; the figures are then of the part that was simulated. */
#ifndef KM_PLANNER_PROBE_H
#define KM_PLANNER_PROBE_H

#include "planner/load.h"
#include "scenario/bill.h"

struct km_probe {
    bool holds;
    bool cut; /* ended as soon as the miss was certain */
    bool saturated;
    bool load_bounded; /* by a term of the SLO: then a growing queue does not count (km_slo_bounds_load()) */
    uint64_t completed, rejected, abandoned;
    double duration_s, requests_per_s, output_tokens_per_s, total_tokens_per_s;
    struct km_latency_summary latency[KM_LATENCY_COUNT];
    struct km_slo_outcome slo[KM_MAX_SLO_TERMS]; /* [slo_count] in the order of the scenario */
    uint32_t slo_count;
    /* The term nearest to its limit, or farthest beyond: value over limit (of a goodput, limit over value; of
     * a share that allows none, 1 + value once there is one); 0 and -1 without an SLO. */
    double worst_ratio;
    int worst_term;
    double busy, mfu, mbu, prefix_hit_rate;
    double kv_peak; /* share of the blocks */
    struct km_bill bill;
    struct km_doubt doubt; /* of its step times, where they come from a measured profile */
    uint64_t events;
};

/* `whole`: never cut it short. */
enum km_status km_probe_run(const struct km_fleet *fleet, const struct km_load *load, bool whole,
                            struct km_probe *out, struct km_error *error);

/* "ttft_p99_s 2.31 s, limit 2 s": why a probe does not hold. Appends. */
void km_probe_explain(const struct km_probe *probe, struct km_text *out);

#endif
