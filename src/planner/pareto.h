/* The Pareto front of plans that hold: those of which no other is at least as good in USD per hour, the worst
 * ratio of an SLO term to its limit, and maximum rate (where both have one), and better in one of them. */
#ifndef KM_PLANNER_PARETO_H
#define KM_PLANNER_PARETO_H

#include "planner/plan.h"

/* Sets on_front of the first `count` entries, all of plans that hold. */
void km_pareto_mark(struct km_plan_entry *entries, uint64_t count);

#endif
