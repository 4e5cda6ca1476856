/* Play a script of requests through one replica, and keep what became of each. Complains when time goes back,
 * when more blocks are in use than there are, or when the replica does not come to an end. */
#ifndef KM_TESTS_PLAY_H
#define KM_TESTS_PLAY_H

#include "sim/lockstep.h"
#include "support/synthetic.h"

#include <gsl/gsl_rng.h>
#include <stddef.h>

struct scripted { /* in order of arrival */
    uint64_t arrival_ps;
    uint32_t prompt_tokens, output_tokens;
};

/* What else is known of a request. */
struct scripted_more {
    uint64_t prefix; /* requests of one number share their prompts, as far as they go; 0 shares with nobody */
    int32_t priority;
    float predicted_output_tokens;
    bool ends_by_eos;
    uint64_t cancel_after_ps;
    uint32_t cancel_tokens;
};

struct played {
    struct km_record record;
    enum km_outcome outcome;
    uint64_t ended_ps;
    uint32_t times_ended;
};

struct ending {
    struct km_work work;
    uint64_t used_blocks;  /* at the end */
    const char *complaint; /* what went wrong; NULL = nothing */
};

/* `metrics` and `ended` of the config are filled in here; config->ranks of them, 0 = one by itself. out: [count], by position in the script. A request
 * that the replica refuses is KM_REJECTED. The summary may be NULL. */
void play(const struct km_replica_config *config, const struct scripted *script, size_t count,
          struct played *out, struct ending *ending, struct km_summary *summary);
/* more: [count], or NULL */
void play_more(const struct km_replica_config *config, const struct scripted *script,
               const struct scripted_more *more, size_t count, struct played *out, struct ending *ending,
               struct km_summary *summary);

/* Every field, to the last bit. */
bool same_summary(const struct km_summary *a, const struct km_summary *b);
bool same_record(const struct km_record *a, const struct km_record *b);

/* A random script and replica: short requests, few blocks, host times from nothing to more than the steps. */
#define MOST_SCRIPTED 40u

struct random_case {
    struct synthetic synthetic;
    struct km_replica_config config; /* executor_state is &synthetic, of this very struct: point it again
                                        after copying */
    struct scripted script[MOST_SCRIPTED];
    struct scripted_more more[MOST_SCRIPTED];
    size_t count;
};

/* Either may be NULL: any of the registry. */
void play_case(const struct random_case *random_case, struct played *out, struct ending *ending,
               struct km_summary *summary);
/* Without the i-th request. */
void random_case_drop(struct random_case *random_case, size_t i);
void random_case(gsl_rng *rng, const struct km_batching_policy *policy, const struct km_kv_manager *manager,
                 struct random_case *out);
/* Some end by EOS, some clients give up, pipelines hold placeholders. */
void random_case_ends(gsl_rng *rng, struct random_case *random_case);
/* In words, for messages about failures. */
void random_case_describe(const struct random_case *random_case, char *out, size_t size);

#endif
