/* Stable or saturated: does the load exceed what the system can serve?
 *
 * A saturated system shows two things together. Its queue grows for as long as requests arrive, so queueing
 * delays rise steadily over the second half of the run. And what still waits when the arrivals end (the
 * backlog) is more than chance can explain: a system at exactly critical load, whose backlog is a random walk
 * with the variance c2 = (squared coefficient of variation of the gaps between arrivals) + 1 an arrival,
 * reaches about sqrt(c2 * arrivals) (the heavy-traffic limit, Kingman 1962, Iglehart and Whitt 1970; the 1
 * stands for service times as variable as an exponential). Arrivals that come in waves leave more behind: as
 * much as a fluid queue whose capacity is their mean rate, fed with the arrivals counted in up to 64 windows
 * of time. So let chance = sqrt(c2 * arrivals), limit = 3 chance + what the fluid queue holds at the end, and
 * let a quantity rise when its slope is significant at 1 % and its last quarter lies more than 15 % above its
 * third (steady growth from nothing gives 40 %). The verdict is
 *
 *   saturated  the backlog exceeds the limit, and delays rise, or the backlog is more than a third of all
 *              arrivals and the number in the system still grows (by 5 %: in a closed loop it stays level);
 *   unknown    fewer than 100 arrivals, all at one time, or fewer than half of them served when they end;
 *              delays rise and the backlog exceeds chance; the number in the system rises to more than the
 *              limit (long service may still be filling the system up); or the backlog exceeds chance while
 *              the number in the system moves by 5 % (a crest or an early burst being worked off);
 *   stable     otherwise.
 *
 * Everything is integer and bounded (33 KiB); nothing depends on how steps were grouped. */
#ifndef KM_METRICS_STABILITY_H
#define KM_METRICS_STABILITY_H

#include "metrics/batch_means.h"

#include <stdint.h>

enum km_verdict {
    KM_UNKNOWN, /* too short to tell */
    KM_STABLE,
    KM_SATURATED, /* the number in the system grows without bound */
};

struct km_stability; /* opaque */

struct km_stability *km_stability_create(void);
void km_stability_destroy(struct km_stability *stability);

/* A request arrived; `in_system` counts it. Times never decrease. */
void km_stability_arrival(struct km_stability *stability, uint64_t now_ps, uint64_t in_system);
/* A request left the queue at `now_ps`, told at any time before its end is told to anybody else. */
void km_stability_left_queue(struct km_stability *stability, uint64_t now_ps);

/* `delays`: queueing delays in the order of completion. */
enum km_verdict km_stability_verdict(const struct km_stability *stability,
                                     const struct km_batch_means *delays);
/* Requests that waited when the last one arrived, and all in the system at that time, it included. */
uint64_t km_stability_backlog(const struct km_stability *stability);
uint64_t km_stability_in_system(const struct km_stability *stability);

#endif
