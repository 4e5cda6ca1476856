/* Schedules worked out by hand, compared time by time. */
#ifndef KM_TESTS_EXPECT_H
#define KM_TESTS_EXPECT_H

#include "support/play.h"
#include "support/synthetic.h"

struct expected {
    uint64_t scheduled_ps, started_ps, first_token_ps, last_token_ps;
    uint32_t preemptions;
};

/* A replica on which nothing but the executor takes time: roomy, blocks of 4 tokens. */
struct km_replica_config roomy(struct synthetic *synthetic, bool async);

/* Plays a script of at most 16 requests with an executor that draws lines and one that does not, singly and
 * in fast-forward: everybody completes, with these times. */
void expect(const char *what, const struct km_replica_config *config, const struct scripted *script,
            size_t count, const struct expected *expected);

/* The steps that were run, at most 64, are these, in this order. */
void expect_steps(const char *what, const struct km_replica_config *config, struct synthetic *synthetic,
                  const struct scripted *script, size_t count, const struct synthetic_step *steps,
                  size_t step_count);

#endif
