/* How requests end, worked out by hand from vLLM 0.26: by a token that the engine sees a step late, or because
 * their clients give up. Times are in picoseconds of a synthetic executor whose steps take 1000.
 *
 * Async scheduling keeps two batches in the queue (v1/engine/core.py: step_with_batch_queue). A request whose
 * max_tokens the batch in flight reaches is left out of the next (v1/core/sched/scheduler.py: schedule); one
 * that ends by EOS is not, since update_from_output() has not seen the token yet: it computes one row more,
 * whose result finds no request. Aborts are taken before a batch is formed, and before the results of one are
 * (_process_aborts_queue). */
#include "base/simtime.h"
#include "support/check.h"
#include "support/expect.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct end {
    enum km_outcome outcome;
    uint64_t ended_ps;
    uint32_t output_tokens; /* that its client got */
    uint64_t scheduled_ps;
};

/* Plays it with and without lines and fast-forward; returns the blocks used at most. */
static uint64_t ends(const char *what, const struct km_replica_config *config, const struct scripted *script,
                     const struct scripted_more *more, size_t count, const struct end *expected,
                     uint64_t steps)
{
    struct played played[16];
    struct ending ending;
    for (int mode = 0; mode < 4; mode++) {
        struct km_replica_config mine = *config;
        mine.executor = mode & 1 ? &synthetic_lines : &synthetic_single;
        mine.fast_forward = mode & 2;
        play_more(&mine, script, more, count, played, &ending, NULL);
        assert_null(ending.complaint);
        assert_int_equal(ending.used_blocks, 0);
        if (ending.work.steps != steps)
            fail_msg("%s, mode %d: %llu steps", what, mode, (unsigned long long)ending.work.steps);
        for (size_t i = 0; i < count; i++)
            if (played[i].outcome != expected[i].outcome || played[i].times_ended != 1 ||
                played[i].ended_ps != expected[i].ended_ps ||
                played[i].record.output_tokens != expected[i].output_tokens ||
                played[i].record.scheduled_ps != expected[i].scheduled_ps)
                fail_msg("%s, mode %d, request %zu: outcome %d at %llu with %u tokens, scheduled %llu", what,
                         mode, i, (int)played[i].outcome, (unsigned long long)played[i].ended_ps,
                         played[i].record.output_tokens, (unsigned long long)played[i].record.scheduled_ps);
    }
    return ending.work.peak_blocks;
}

/* R0: 3 tokens in steps 1 to 3, the last at 3000. Step 4 was formed at 2000, when step 3's token was not known.
 * R1 comes at 3500; step 4 runs until 4000. By length there is no step 4.
 * A one-token answer costs a row, too: step 2, formed with step 1 at 0. */
static void a_row_in_vain(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    const struct km_replica_config overlapped = roomy(&synthetic, true), serial = roomy(&synthetic, false);
    const struct scripted script[] = {{0, 1, 3}, {3500, 1, 1}};
    const struct scripted_more eos[] = {{.ends_by_eos = true}, {0}}, length[2] = {{0}, {0}};
    ends("eos", &overlapped, script, eos, 2,
         (const struct end[]){{KM_COMPLETED, 3000, 3, 0}, {KM_COMPLETED, 5000, 1, 4000}}, 5);
    ends("length", &overlapped, script, length, 2,
         (const struct end[]){{KM_COMPLETED, 3000, 3, 0}, {KM_COMPLETED, 4500, 1, 3500}}, 4);
    ends("eos, one batch at a time", &serial, script, eos, 2,
         (const struct end[]){{KM_COMPLETED, 3000, 3, 0}, {KM_COMPLETED, 4500, 1, 3500}}, 4);
    ends("one token", &overlapped, (const struct scripted[]){{0, 1, 1}}, eos, 1,
         (const struct end[]){{KM_COMPLETED, 1000, 1, 0}}, 2);
}

/* Blocks of 4: prompt 3, 2 tokens. Step 2 computes the fourth token; the row in vain, the fifth, takes a second
 * block until R0 ends at 2000. With R1 (prompt 3, 1 token, both of length) in the other of 2 blocks there is none:
 * the youngest, R1, has ended at 1000 by then, its block free from 1000 on, when step 3 is formed. */
static void its_block(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config config = roomy(&synthetic, true);
    const struct scripted_more eos[] = {{.ends_by_eos = true}, {0}}, length[2] = {{0}, {0}};
    const struct end one[] = {{KM_COMPLETED, 2000, 2, 0}};
    assert_int_equal(ends("eos", &config, (const struct scripted[]){{0, 3, 2}}, eos, 1, one, 3), 2);
    assert_int_equal(ends("length", &config, (const struct scripted[]){{0, 3, 2}}, length, 1, one, 2), 1);
    config.kv.capacity_blocks = 2;
    ends("full", &config, (const struct scripted[]){{0, 3, 2}, {0, 3, 1}}, eos, 2,
         (const struct end[]){{KM_COMPLETED, 2000, 2, 0}, {KM_COMPLETED, 1000, 1, 0}}, 3);
}

/* Two stages of 500 with placeholders, one token a batch: a request decodes in every second batch, its token not yet
 * back (v1/core/sched/async_scheduler.py: next_decode_eligible_step), three batches in the queue. Both have two
 * tokens.
 *
 *   batch  formed  runs         of
 *     1        0      0-1000    A's prompt
 *     2        0    500-1500    B's prompt
 *     3        0   1000-2000    A, whose first stage waits for batch 1: its last token, at 2000
 *     4     1000   1500-2500    B: its last, at 2500
 *     5     1500   2000-3000    A in vain, unless it ends by length
 *     6     2000   2500-3500    B in vain, unless it ends by length */
static void in_a_pipeline(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 500, .stages = 2};
    struct km_replica_config config = roomy(&synthetic, true);
    config.pace.stages = 2;
    config.pace.placeholders = true;
    config.batching.max_num_batched_tokens = 1;
    for (uint64_t by_eos = 0; by_eos < 3; by_eos++) {
        const struct scripted_more more[] = {{.ends_by_eos = by_eos > 0}, {.ends_by_eos = by_eos > 1}};
        ends("pipeline", &config, (const struct scripted[]){{0, 1, 2}, {0, 1, 2}}, more, 2,
             (const struct end[]){{KM_COMPLETED, 2000, 2, 0}, {KM_COMPLETED, 2500, 2, 0}}, 4 + by_eos);
    }
}

/* One batch at a time, R0 with 10 tokens to come, and R1, which waits for the only slot.
 *
 *   tokens   with the second token, at 2000, R0's client gives up: R1 is in the next batch
 *   ingest   600 to be heard: R0 runs 600-1600-2600, is heard of at 3200, and its third token, at 3600, is dropped
 *   time     2500 after 0: heard while step 3 runs; its token is dropped, R1 goes on at 3000
 *   queue    R1's client gives up at 1600, heard at 2000, when the host is next free */
static void giving_up(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config config = roomy(&synthetic, false);
    config.batching.max_num_seqs = 1;
    const struct scripted script[] = {{0, 1, 10}, {100, 1, 1}};
    ends("tokens", &config, script, (const struct scripted_more[]){{.cancel_tokens = 2}, {0}}, 2,
         (const struct end[]){{KM_CANCELLED, 2000, 2, 0}, {KM_COMPLETED, 3000, 1, 2000}}, 3);
    ends("time", &config, script, (const struct scripted_more[]){{.cancel_after_ps = 2500}, {0}}, 2,
         (const struct end[]){{KM_CANCELLED, 3000, 2, 0}, {KM_COMPLETED, 4000, 1, 3000}}, 4);
    ends("queue", &config, (const struct scripted[]){{0, 1, 3}, {100, 1, 1}},
         (const struct scripted_more[]){{0}, {.cancel_after_ps = 1500}}, 2,
         (const struct end[]){{KM_COMPLETED, 3000, 3, 0}, {KM_CANCELLED, 2000, 0, 0}}, 3);
    config.frontend.fixed_ps = 600;
    ends("ingest", &config, script, (const struct scripted_more[]){{.cancel_tokens = 2}, {0}}, 1,
         (const struct end[]){{KM_CANCELLED, 3600, 2, 600}}, 3);
}

/* Overlapped: step 4 was formed at 2000 and is in flight when R0's client, at 2500, gives up; heard at 3000, before
 * the results of step 3 are taken. Its two blocks are free at once: R1, which needs both, is in the batch formed
 * then, and runs when step 4 has. */
static void giving_up_in_flight(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config config = roomy(&synthetic, true);
    config.kv.capacity_blocks = 2;
    ends("overlapped", &config, (const struct scripted[]){{0, 2, 6}, {100, 5, 1}},
         (const struct scripted_more[]){{.cancel_after_ps = 2500}, {0}}, 2,
         (const struct end[]){{KM_CANCELLED, 3000, 2, 0}, {KM_COMPLETED, 5000, 1, 3000}}, 5);
}

/* A batch that runs to its longest member's end; every row takes 100. R0's answer, of 2 tokens, is complete with step 2
 * and fills a row of every step until the batch ends, or until its client, after 3000, gives up. One batch at a
 * time steps end at 1200, 2400, 3600 and, with one row, 4700, 5800, 6900. Overlapped, step 4 has been formed at 2400
 * with R0's row, before it is heard at 3600: 1200, 2400, 3600, 4800, 5900, 7000. */
static void a_row_that_is_held(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000, .token_ps = 100};
    const struct scripted script[] = {{0, 1, 2}, {0, 1, 6}};
    const struct scripted_more more[] = {{.cancel_after_ps = 3000}, {0}};
    struct km_replica_config config = roomy(&synthetic, false);
    config.policy = km_batching_find("request_level");
    ends("held, one batch at a time", &config, script, more, 2,
         (const struct end[]){{KM_CANCELLED, 3600, 2, 0}, {KM_COMPLETED, 6900, 6, 0}}, 6);
    config = roomy(&synthetic, true);
    config.policy = km_batching_find("request_level");
    ends("held, overlapped", &config, script, more, 2,
         (const struct end[]){{KM_CANCELLED, 3600, 2, 0}, {KM_COMPLETED, 7000, 6, 0}}, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_in_vain),       cmocka_unit_test(its_block),
        cmocka_unit_test(in_a_pipeline),       cmocka_unit_test(giving_up),
        cmocka_unit_test(giving_up_in_flight), cmocka_unit_test(a_row_that_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
