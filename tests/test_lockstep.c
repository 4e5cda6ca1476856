/* Data-parallel ranks in lock-step: schedules worked out by hand from vLLM 0.26's code, and the law that ranks which
 * do the same do what each would do alone. */
#include "base/random.h"
#include "base/simtime.h"
#include "support/play.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct expected {
    uint64_t scheduled_ps, started_ps, first_token_ps, last_token_ps;
};

static struct km_replica_config two_ranks(struct synthetic *synthetic, bool overlapped)
{
    return (struct km_replica_config){
        .ranks = 2,
        .policy = km_batching_find("continuous"),
        .batching = {.max_num_seqs = 64, .max_num_batched_tokens = 64, .enable_chunked_prefill = true},
        .kv_manager = km_kv_find("paged"),
        .kv = {.capacity_blocks = 1000, .block_size = 16, .max_model_len = 1000},
        .executor = &synthetic_lines,
        .executor_state = synthetic,
        .pace = {.stages = 1, .overlapped = overlapped},
        .fast_forward = true,
        .patience_ps = KM_PS_NEVER,
    };
}

static void expect(const struct km_replica_config *config, const struct scripted *script,
                   const struct expected *expected, size_t count, uint64_t steps)
{
    struct played played[8];
    struct ending ending;
    play(config, script, count, played, &ending, NULL);
    assert_null(ending.complaint);
    for (size_t i = 0; i < count; i++) {
        const struct km_record *r = &played[i].record;
        assert_int_equal(played[i].outcome, KM_COMPLETED);
        if (r->scheduled_ps != expected[i].scheduled_ps || r->started_ps != expected[i].started_ps ||
            r->first_token_ps != expected[i].first_token_ps || r->last_token_ps != expected[i].last_token_ps)
            fail_msg("request %zu: scheduled %llu, started %llu, tokens %llu to %llu", i,
                     (unsigned long long)r->scheduled_ps, (unsigned long long)r->started_ps,
                     (unsigned long long)r->first_token_ps, (unsigned long long)r->last_token_ps);
    }
    assert_int_equal(ending.work.steps, steps);
    assert_int_equal(ending.used_blocks, 0);
}

/* One batch at a time. A step of n tokens takes 1000 + 100 n + 10 for each token of both ranks, a rank without a
 * batch running one (DPEngineCoreProc.run_busy_loop: execute_dummy_batch; gpu_worker.py: 1 token). Requests go to
 * ranks 0, 1, 0, 1, ... as none of their counts are published yet (DPLBAsyncMPClient: what was sent counts as
 * waiting). Forming takes 10, taking results 5.
 *
 *   step  formed   rank 0             rank 1             takes                      results at
 *   1         0    a: 4 of prompt     b: 2               1000 + 400 + 60 (rank 0)   10 + 1460 + 5     = 1475
 *   2      1475    a: 1, c: 1         b: 1, d: 1         1000 + 200 + 40            1485 + 1240 + 5   = 2730
 *   3      2730    dummy              b: 1               1000 + 100 + 20            2740 + 1120 + 5   = 3865
 *
 * Rank 0 has launched its dummy of step 3 at 2740, and looks into its queue: e is there, and in step 4.
 *   4      3865    e: 3               b: 1               1000 + 300 + 40            3875 + 1340 + 5   = 5220 */
static void dummy_batches(void **state)
{
    (void)state;
    struct synthetic synthetic = {
        .step_ps = 1000, .token_ps = 100, .peer_ps = 10, .form_ps = 10, .process_ps = 5};
    const struct scripted script[] = {{0, 4, 2}, {0, 2, 4}, {500, 1, 1}, {600, 1, 1}, {2740, 3, 1}};
    const struct expected expected[] = {{0, 10, 1475, 2730},
                                        {0, 10, 1475, 5220},
                                        {1475, 1485, 2730, 2730},
                                        {1475, 1485, 2730, 2730},
                                        {3865, 3875, 5220, 5220}};
    struct km_replica_config config = two_ranks(&synthetic, false);
    expect(&config, script, expected, COUNT(script), 4);
}

/* The same, but e comes when rank 0 has gone on to the next meeting: it misses step 4.
 *   4      3865    dummy              b: 1               1000 + 100 + 20            3875 + 1120 + 5   = 5000
 *   5      5000    e: 3               dummy              1000 + 300 + 40            5010 + 1340 + 5   = 6355 */
static void late_for_the_meeting(void **state)
{
    (void)state;
    struct synthetic synthetic = {
        .step_ps = 1000, .token_ps = 100, .peer_ps = 10, .form_ps = 10, .process_ps = 5};
    const struct scripted script[] = {{0, 4, 2}, {0, 2, 4}, {500, 1, 1}, {600, 1, 1}, {2741, 3, 1}};
    const struct expected expected[] = {{0, 10, 1475, 2730},
                                        {0, 10, 1475, 5000},
                                        {1475, 1485, 2730, 2730},
                                        {1475, 1485, 2730, 2730},
                                        {5000, 5010, 6355, 6355}};
    struct km_replica_config config = two_ranks(&synthetic, false);
    expect(&config, script, expected, COUNT(script), 5);
}

/* Overlapped: a on rank 0 decodes once, b on rank 1 three times, each step takes 1000.
 *
 *   step  formed   rank 0     rank 1    runs              results at
 *   1         0    a prompt   b prompt  10 to 1010        1015
 *   2        10    a's last   b         1010 to 2010      2015
 *   3      1015    nothing    b         ...
 *
 * Rank 0 has nobody to schedule and step 2 in flight: it takes those results first, at 2015, and only then runs its
 * dummy batch (EngineCore.step_with_batch_queue: the queue is full with an empty batch, so it pops the oldest).
 * So step 3 runs from 2015 to 3015, not from 2010. Where workers launch, the hosts have their turn in between. */
static void results_before_a_dummy(void **state)
{
    (void)state;
    for (int workers = 0; workers < 2; workers++) {
        struct synthetic synthetic = {.step_ps = 1000, .form_ps = 10, .process_ps = 5, .workers = workers};
        const struct scripted script[] = {{0, 1, 2}, {0, 1, 4}};
        /* The host that launches is free at 2015, and takes the results of step 2 until 2020. */
        const struct expected expected[] = {{0, 10, 1015, workers ? 2015 : 2020}, {0, 10, 1015, 4020}};
        struct km_replica_config config = two_ranks(&synthetic, true);
        expect(&config, script, expected, COUNT(script), 4);
    }
}

/* Graphs hold up to 2 tokens. Rank 0's prompt of 5 makes rank 1's step one outside the graphs, too
 * (dp_utils.py: the lowest mode of all): it runs while it is launched, for 300, and ends no earlier.
 *   1   formed 0       5 | 1     runs 10 to 110, launched at 310    results at 310
 *   2   formed 310     1 | 1     launched at 620, runs to 720       results at 720 */
static void lowest_graph_mode(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 100, .form_ps = 10, .launch_ps = 300, .captured_tokens = 2};
    const struct scripted script[] = {{0, 5, 2}, {0, 1, 2}};
    const struct expected expected[] = {{0, 10, 310, 720}, {0, 10, 310, 720}};
    struct km_replica_config config = two_ranks(&synthetic, false);
    expect(&config, script, expected, COUNT(script), 2);
}

/* Each rank has limits and blocks of its own: a and c meet on rank 0, which seats one, while rank 1 has room. */
static void limits_of_each(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 100};
    const struct scripted script[] = {{0, 1, 3}, {0, 1, 1}, {10, 1, 1}};
    const struct expected expected[] = {{0, 0, 100, 300}, {0, 0, 100, 100}, {300, 300, 400, 400}};
    struct km_replica_config config = two_ranks(&synthetic, false);
    config.batching.max_num_seqs = 1;
    expect(&config, script, expected, COUNT(script), 4);
}

/* Ranks at rest begin rank_wake_ps after the first request: what comes to the others until then is with it. */
static void woken(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 100};
    const struct scripted script[] = {{0, 1, 1}, {30, 1, 1}, {31, 1, 1}, {1000, 1, 1}};
    const struct expected expected[] = {
        {30, 30, 130, 130}, {30, 30, 130, 130}, {130, 130, 230, 230}, {1030, 1030, 1130, 1130}};
    struct km_replica_config config = two_ranks(&synthetic, false);
    config.rank_wake_ps = 30;
    expect(&config, script, expected, COUNT(script), 3);
}

/* --- random loads --------------------------------------------------------------------------------------- */

static void same_but_twice(const struct random_case *r, uint64_t seed)
{
    struct scripted script[2 * MOST_SCRIPTED];
    struct scripted_more more[2 * MOST_SCRIPTED];
    struct played alone[MOST_SCRIPTED], both[2 * MOST_SCRIPTED];
    struct ending one, two;
    for (size_t i = 0; i < 2 * r->count; i++) {
        script[i] = r->script[i / 2];
        more[i] = r->more[i / 2];
    }
    struct km_replica_config config = r->config;
    config.executor_state = (void *)&r->synthetic;
    config.frontend.request_ps = config.frontend.token_ps = 0; /* which all ranks share */
    play_more(&config, r->script, r->more, r->count, alone, &one, NULL);
    config.ranks = 2;
    play_more(&config, script, more, 2 * r->count, both, &two, NULL);
    bool same = !one.complaint && !two.complaint && one.work.steps == two.work.steps &&
                2 * one.work.tokens == two.work.tokens && one.work.busy_s == two.work.busy_s &&
                two.used_blocks == 0;
    for (size_t i = 0; i < 2 * r->count; i++) {
        struct km_record record = both[i].record;
        record.id = i / 2;
        same = same && both[i].times_ended == 1 && both[i].outcome == alone[i / 2].outcome &&
               same_record(&record, &alone[i / 2].record);
    }
    if (same)
        return;
    char text[4096];
    random_case_describe(r, text, sizeof text);
    fail_msg("seed %llu: %s", (unsigned long long)seed, text);
}

/* Every request twice, once on each of two ranks: both do what one engine alone does. */
static void twins(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct random_case r;
        gsl_rng *rng = km_random_stream(seed, KM_RANDOM_ARRIVALS);
        random_case(rng, NULL, NULL, &r);
        if (seed % 2)
            random_case_ends(rng, &r);
        r.config.pace.placeholders = false; /* of dense models, which have no ranks */
        gsl_rng_free(rng);
        same_but_twice(&r, seed);
    }
}

/* Whatever comes to however many ranks, in whatever order: every request ends once, time goes on, blocks come
 * back, and the same again is the same again. */
static void any_load(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct random_case r;
        gsl_rng *rng = km_random_stream(seed, KM_RANDOM_ARRIVALS);
        random_case(rng, NULL, NULL, &r);
        if (seed % 2)
            random_case_ends(rng, &r);
        r.config.pace.placeholders = false; /* of dense models, which have no ranks */
        r.config.ranks = 2 + (uint32_t)gsl_rng_uniform_int(rng, 4);
        r.config.rank_wake_ps = gsl_rng_uniform_int(rng, 2) ? 0 : 700;
        r.synthetic.peer_ps = gsl_rng_uniform_int(rng, 3);
        gsl_rng_free(rng);
        struct played played[2][MOST_SCRIPTED];
        struct ending ending[2];
        for (int fast = 0; fast < 2; fast++) {
            r.config.fast_forward = fast;
            play_case(&r, played[fast], &ending[fast], NULL);
        }
        bool fine = !ending[0].complaint && ending[0].used_blocks == 0 &&
                    memcmp(&ending[0].work, &ending[1].work, sizeof ending[0].work) == 0;
        for (size_t i = 0; i < r.count; i++)
            fine = fine && played[0][i].times_ended == 1 && played[0][i].outcome == played[1][i].outcome &&
                   same_record(&played[0][i].record, &played[1][i].record);
        if (!fine) {
            char text[4096];
            random_case_describe(&r, text, sizeof text);
            fail_msg("seed %llu, %u ranks: %s: %s", (unsigned long long)seed, r.config.ranks,
                     ending[0].complaint, text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dummy_batches),
        cmocka_unit_test(late_for_the_meeting),
        cmocka_unit_test(results_before_a_dummy),
        cmocka_unit_test(lowest_graph_mode),
        cmocka_unit_test(limits_of_each),
        cmocka_unit_test(woken),
        cmocka_unit_test(twins),
        cmocka_unit_test(any_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
