/* Bounds: what can be shown of a candidate under a load without simulating it.
 *
 * Latency. A request takes at least the steps that compute it, as if it were alone and the steps the shortest
 * that could hold it (planner/step_bound.h). So a quantile of the latencies is at least that quantile of
 * these, and more requests beyond a limit than the term leaves to spare rule the candidate out, whatever the
 * number of replicas.
 *
 * Throughput. The terms of an SLO say by when work must be done: with q of the TTFT within L, all but (1 - q)
 * N prompts by L after their arrival; with TPOT limited, too, all but (1 - q) N more requests within the
 * limit times their tokens; E2E, normalized latency and deadlines likewise. In any window from a to b the
 * work that arrives and is due in it, less the dearest (1 - q) N requests, at prices that no schedule beats
 * (planner/work_bound.h), must fit into replicas * (b - a): the processor demand criterion (Baruah, Rosier
 * and Howell 1990, "Algorithms and complexity concerning the preemptive scheduling of periodic, real-time
 * tasks on one processor"), which holds for any schedule. It says how many replicas there must be at least,
 * and which rates are beyond a number of them.
 *
 * Prefix caching may spare the work of prompts: where requests have prefix hashes, prompts count as one token
 * and KV blocks as shared by all. Nothing is claimed for closed loops, where a limit on patience or a share
 * that may be rejected lets work go undone, nor of terms of one class. */
#ifndef KM_PLANNER_BOUNDS_H
#define KM_PLANNER_BOUNDS_H

#include "planner/candidates.h"
#include "planner/load.h"
#include "planner/work_bound.h"

/* Fills candidate->bounds, and its fate and reason (owned by the caller: free() it) when they rule it out.
 * `setup` is of the candidate's scenario. */
enum km_status km_bounds_find(const struct km_setup *setup, const struct km_load *load,
                              struct km_candidate *candidate, char **reason, struct km_error *error);

/* No schedule holds above this rate with so many replicas; INFINITY where nothing is known. */
double km_bounds_most_rate_per_s(const struct km_candidate_bounds *bounds, const struct km_load *load,
                                 uint32_t replicas);

#endif
