#include "support/expect.h"

#include "base/simtime.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MOST_REQUESTS 16u
#define MOST_STEPS    64u

struct km_replica_config roomy(struct synthetic *synthetic, bool async)
{
    return (struct km_replica_config){
        .policy = (const struct km_batching_policy *)(const void *)km_registry_find(km_batching_registry,
                                                                                    "continuous"),
        .batching = {.max_num_seqs = 64, .max_num_batched_tokens = 1024, .enable_chunked_prefill = true},
        .kv_manager = (const struct km_kv_manager *)(const void *)km_registry_find(km_kv_registry, "paged"),
        .kv = {.capacity_blocks = 1000, .block_size = 4, .max_model_len = 4000},
        .executor = &synthetic_single,
        .executor_state = synthetic,
        .pace.stages = 1,
        .pace.overlapped = async,
        .patience_ps = KM_PS_NEVER,
    };
}

void expect(const char *what, const struct km_replica_config *config, const struct scripted *script,
            size_t count, const struct expected *expected)
{
    struct played played[MOST_REQUESTS];
    assert_true(count <= MOST_REQUESTS);
    for (int mode = 0; mode < 4; mode++) {
        struct km_replica_config mine = *config;
        mine.executor = mode & 1 ? &synthetic_lines : &synthetic_single;
        mine.fast_forward = mode & 2;
        struct ending ending;
        play(&mine, script, count, played, &ending, NULL);
        assert_null(ending.complaint);
        assert_int_equal(ending.used_blocks, 0);
        for (size_t i = 0; i < count; i++) {
            const struct km_record *r = &played[i].record;
            const struct expected *e = &expected[i];
            if (played[i].outcome != KM_COMPLETED || played[i].times_ended != 1 ||
                r->scheduled_ps != e->scheduled_ps || r->started_ps != e->started_ps ||
                r->first_token_ps != e->first_token_ps || r->last_token_ps != e->last_token_ps ||
                r->preemptions != e->preemptions)
                fail_msg("%s, mode %d, request %zu: scheduled %llu started %llu first %llu last %llu "
                         "preemptions %u, expected %llu %llu %llu %llu %u (outcome %d, ended %u times)",
                         what, mode, i, (unsigned long long)r->scheduled_ps,
                         (unsigned long long)r->started_ps, (unsigned long long)r->first_token_ps,
                         (unsigned long long)r->last_token_ps, r->preemptions,
                         (unsigned long long)e->scheduled_ps, (unsigned long long)e->started_ps,
                         (unsigned long long)e->first_token_ps, (unsigned long long)e->last_token_ps,
                         e->preemptions, (int)played[i].outcome, played[i].times_ended);
        }
    }
}

void expect_steps(const char *what, const struct km_replica_config *config, struct synthetic *synthetic,
                  const struct scripted *script, size_t count, const struct synthetic_step *steps,
                  size_t step_count)
{
    struct played played[MOST_REQUESTS];
    struct synthetic_step log[MOST_STEPS];
    struct ending ending;
    synthetic->log = log;
    synthetic->log_count = 0;
    synthetic->log_capacity = MOST_STEPS;
    play(config, script, count, played, &ending, NULL);
    if (synthetic->log_count != step_count)
        fail_msg("%s: %zu steps, expected %zu", what, synthetic->log_count, step_count);
    assert_int_equal(ending.work.steps, step_count);
    for (size_t i = 0; i < step_count; i++)
        if (log[i].chunks != steps[i].chunks || log[i].prefill_tokens != steps[i].prefill_tokens ||
            log[i].decodes != steps[i].decodes)
            fail_msg("%s, step %zu: %u chunks of %u tokens and %u decodes, expected %u of %u and %u", what,
                     i + 1, log[i].chunks, log[i].prefill_tokens, log[i].decodes, steps[i].chunks,
                     steps[i].prefill_tokens, steps[i].decodes);
    synthetic->log_capacity = 0;
}
