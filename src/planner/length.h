/* How long a run must be before it tells whether a plan sustains a load.
 *
 * A synthetic stream can be drawn as long as one likes: how many requests a scenario states is no part of the
 * question, and the answer must not depend on it. A run of it takes the longest of
 *
 *   - 400 / (1 - q) requests, for the tightest quantile q of the SLO: 400 of them lie beyond it, so that the
 *     share beyond is known to a twentieth (1 / sqrt(400), binomial); tails grow steeply with the load, so that
 *     is one or two per cent of a rate;
 *   - 40 times the longest wait that the SLO allows: at a load 1 / 40 above what is sustained work piles up by a
 *     fortieth of the clock, and passes the limit only after 40 limits;
 *   - 20 times a request's stay by the SLO's limits, so that filling up at first and running empty at the end
 *     are a small part of the run;
 *   - 5,000 requests;
 *
 * and at most 100,000 requests (20 / (1 - q) all the same), and ten days. In a closed loop every client sends
 * 20 requests at least. What is as long as the scenario says: a recording, an offline batch, a job with a
 * deadline, a rate that swings (the days are the question).
 *
 * A recording tells of a quantile only when ten of its requests lie beyond it (metrics/quantile.h). */
#ifndef KM_PLANNER_LENGTH_H
#define KM_PLANNER_LENGTH_H

#include "scenario/scenario.h"

/* Can a run of this workload under this SLO be as long as one likes? */
bool km_length_is_free(const struct km_scenario *scenario);

/* Requests of a run at `rate_per_s` arrivals a second (ignored in a closed loop). Only when free. */
uint64_t km_length_requests(const struct km_scenario *scenario, double rate_per_s);

#endif
