/* Private to dynamic*.c. */
#ifndef KM_QUEUEING_BULK_DYNAMIC_PARTS_H
#define KM_QUEUEING_BULK_DYNAMIC_PARTS_H

#include "queueing/bulk/dynamic.h"

/* Everything of `out` but utilization and stability, which the caller has judged. */
enum km_status km_dynamic_solve_capped(const struct km_batch_law *law, double rate_per_s, uint32_t cap,
                                       const struct km_wait_tail *tail, struct km_queue_answer *out,
                                       struct km_error *error);
/* The same for a chain whose batches stay below `limit`. *fits is false, and nothing filled, when they do
 * not.
 */
enum km_status km_dynamic_solve_unlimited(const struct km_batch_law *law, double rate_per_s, uint32_t limit,
                                          const struct km_wait_tail *tail, struct km_queue_answer *out,
                                          bool *fits, struct km_error *error);

#endif
