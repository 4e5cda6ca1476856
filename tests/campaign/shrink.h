/* The smallest case found that still breaks the same law. */
#ifndef KM_TESTS_CAMPAIGN_SHRINK_H
#define KM_TESTS_CAMPAIGN_SHRINK_H

#include "campaign/laws.h"

/* Leave out settings and rows, and make the rows plainer, as long as check() complains of the law that
 * `complaint` names. The case and the complaint become the smallest found. */
void shrink_case(struct random_scenario *c,
                 void (*check)(const struct random_scenario *c, void *context, struct complaint *out),
                 void *context, struct complaint *complaint);

#endif
