/* All that is checked of a case: the laws of its run, what must give the same run again, and its relation. */
#ifndef KM_TESTS_CAMPAIGN_CHECK_H
#define KM_TESTS_CAMPAIGN_CHECK_H

#include "campaign/laws.h"
#include "campaign/relations.h"

#define LONGEST_CASE_S 60 /* what takes longer hangs */

/* What a run came across: that the campaign sees it at all. */
enum feature {
    PREEMPTED,
    REJECTED,
    ABANDONED,
    SCALED,
    SHARED_PREFIX,
    SEVERAL_GROUPS,
    SATURATED,
    MISSED_SLO,
    FEATURES
};
extern const char *const feature_names[FEATURES];

struct checked {
    enum km_status status;         /* of the case itself: ran, or was refused */
    bool features[FEATURES];       /* of its run */
    enum verdict relation_verdict; /* of relations[c->relation], checked under its own conditions */
    struct complaint complaint;
};

void check_case(const struct random_scenario *c, const char *folder, struct checked *out);

/* check_case() in a process of its own: a crash or a hang is a complaint, too. */
void check_apart(const struct random_scenario *c, const char *folder, struct checked *out);

#endif
