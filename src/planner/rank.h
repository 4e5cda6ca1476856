/* The ranking of plans, and the least key that a plan not yet simulated could have.
 *
 * Keys are compared part by part: the objective, USD per hour, GPUs, the worst ratio of an SLO term to its
 * limit, position in the search. No two plans have the same key. */
#ifndef KM_PLANNER_RANK_H
#define KM_PLANNER_RANK_H

#include "planner/candidates.h"

#define KM_RANK_PARTS 4

struct km_rank {
    double parts[KM_RANK_PARTS];
    uint64_t point;
};

/* Of a plan that was simulated. */
struct km_rank km_rank_of(const struct km_search *search, const struct km_load *load,
                          const struct km_candidate *candidate, uint32_t replicas,
                          const struct km_probe *probe);
/* No run of the candidate with so many replicas, or with more, can have a smaller key. The objective's least
 * is proven so: GPUs, rent and the time that is paid for are known beforehand; where it is the run's own, a
 * run lasts at least from the first arrival to the last, and as long as its work takes; and every GPU draws
 * its idle power as long. */
struct km_rank km_rank_least(const struct km_search *search, const struct km_load *load,
                             const struct km_candidate *candidate, uint32_t replicas);

bool km_rank_before(const struct km_rank *a, const struct km_rank *b);

/* Rent, and the electricity of the run if the scenario bills it; `probe` NULL: rent alone. */
double km_plan_usd_per_hour(const struct km_search *search, const struct km_candidate *candidate,
                            uint32_t replicas, const struct km_probe *probe);
/* The same over a million tokens served in the time that is paid for; NAN when none were. */
double km_plan_usd_per_million_tokens(const struct km_search *search, const struct km_load *load,
                                      const struct km_candidate *candidate, uint32_t replicas,
                                      const struct km_probe *probe);
/* Joules in the time that is paid for, at the run's mean power. */
double km_plan_energy_j(const struct km_load *load, const struct km_probe *probe);

#endif
