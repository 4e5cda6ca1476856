/* Relations between runs: what must become of a result when the question is changed in a way whose effect is
 * known. Each names the conditions under which it must hold, and why; condition() changes a random case so
 * that they are met, and check() runs both sides and compares. */
#ifndef KM_TESTS_CAMPAIGN_RELATIONS_H
#define KM_TESTS_CAMPAIGN_RELATIONS_H

#include "campaign/laws.h"

enum verdict { HELD, NOT_ASKED, BROKEN }; /* NOT_ASKED: refused, or the conditions are not met after all */

struct relation {
    const char *name;
    const char *holds; /* when, and why */
    void (*condition)(struct random_scenario *c);
    enum verdict (*check)(const struct random_scenario *c, const char *folder, struct complaint *out);
};

extern const struct relation relations[];
extern const uint32_t relation_count;

#endif
