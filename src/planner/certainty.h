/* How certain the ranking is, as far as the cost model goes: what measurements say of each plan's step times,
 * what the plan could cost if they are off so, and where that could turn a rank.
 *
 * An error is common to plans that share a row of measurements (accuracy/accuracy.h): between them it decides
 * nothing. Where rows differ, a plan is *uncertain* when it may cost no more than some plan above it: its
 * least cost is not above that one's most. */
#ifndef KM_PLANNER_CERTAINTY_H
#define KM_PLANNER_CERTAINTY_H

#include "planner/plan.h"

/* Sets the candidate's `accuracy`, `time_error`, `weight_only` and `no_profile`, unless they are set. */
enum km_status km_plan_find_time_error(const struct km_candidate_source *source, struct km_plan *plan,
                                       struct km_candidate *candidate, struct km_error *error);

/* Do the first `count` entries stand on different rows? Only then is there anything to mark. */
bool km_plan_rows_differ(const struct km_plan *plan, uint64_t count);

/* What the plan costs at the asked load if it sustains `slow_scale` to `fast_scale` times the asked rate (its
 * maximum rates with slow and with fast steps): as many replicas as then hold, rates growing with replicas;
 * INFINITY where the search allows no such number. Sets least_cost and most_cost. */
void km_plan_cost_interval(const struct km_plan *plan, double slow_scale, double fast_scale,
                           struct km_plan_entry *entry);

/* Sets `uncertain` of the first `count` entries, in the order of the ranking, by their cost intervals. */
void km_plan_mark_uncertain(struct km_plan_entry *entries, uint64_t count);

#endif
