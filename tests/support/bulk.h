/* Token laws that tests of bulk queues share. */
#ifndef KM_TESTS_BULK_H
#define KM_TESTS_BULK_H

#include "queueing/queue_model.h"

extern const struct km_distribution lattice; /* eight powers of two */
extern const struct km_distribution uniform; /* 1 to 300 */
extern const struct km_distribution skewed;  /* log-normal, up to 400 */

/* Fails the test unless the relative difference is within the tolerance. */
void near(double got, double want, double tolerance);
struct km_token_law law_of(const struct km_distribution *distribution);

#endif
