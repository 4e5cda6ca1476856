/* Play a script of requests through one replica, and keep what became of each. Along the way: time never goes
 * back, blocks in use never exceed the capacity, and the replica does not act for ever. */
#ifndef KM_TESTS_PLAY_H
#define KM_TESTS_PLAY_H

#include "sim/replica.h"

#include <stddef.h>

struct scripted { /* in order of arrival */
    uint64_t arrival_ps;
    uint32_t prompt_tokens, output_tokens;
};

struct played {
    struct km_record record;
    enum km_outcome outcome;
    uint64_t ended_ps;
    uint32_t times_ended;
};

struct ending { /* of a run: what must be so after it */
    struct km_work work;
    uint64_t used_blocks, capacity_blocks;
};

/* `metrics` and `ended` of the config are filled in here. out: [count], by position in the script. A request
 * that the replica refuses is KM_REJECTED. The summary is of the whole run; either may be NULL. */
void play(const struct km_replica_config *config, const struct scripted *script, size_t count,
          struct played *out, struct ending *ending, struct km_summary *summary);

#endif
