/* Maximum rates of the plans that hold, and what if of the winner's. */
#ifndef KM_PLANNER_RATES_H
#define KM_PLANNER_RATES_H

#include "planner/plan.h"

/* The maximum rate of a candidate that holds as drawn, on runs made as long as its interval asks for; fills
 * its `capacity`. *holds: that rate is not below the load asked for; only then `plan->sensitivity` is filled.
 */
enum km_status km_plan_confirm(const struct km_candidate_source *source,
                               const struct km_plan_options *options, struct km_plan *plan,
                               struct km_candidate *candidate, bool *holds, struct km_error *error);

/* To a few per cent, of the first `top` entries that hold, or of all in an exhaustive search, where it is not
 * known yet; of those that stand on different rows of measurements, also what they could cost. */
enum km_status km_plan_find_rates(const struct km_candidate_source *source,
                                  const struct km_plan_options *options, struct km_plan *plan,
                                  struct km_error *error);

#endif
