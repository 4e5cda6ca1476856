/* Maximum rates of the plans that hold, and what if of the winner's. */
#ifndef KM_PLANNER_RATES_H
#define KM_PLANNER_RATES_H

#include "planner/plan.h"

/* Fills `capacity` of the first `top` entries that hold, or of all in an exhaustive search, and the
 * winner's sensitivity. */
enum km_status km_plan_find_rates(const struct km_candidate_source *source,
                                  const struct km_plan_options *options, struct km_plan *plan,
                                  struct km_error *error);

#endif
