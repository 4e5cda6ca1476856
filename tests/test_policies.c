/* Schedules of the batching policies worked out by hand, times in picoseconds. Three requests, one server that does
 * not overlap:
 *
 *       arrival  prompt  output
 *   A         0       2       3
 *   B       100       4       1
 *   C       200       3       2
 *
 * A step takes 1000 + 100 a row: prompt tokens, decodes, and rows that finished members of a batch still
 * fill. The disciplines are those of arXiv 2407.05347, section IV (dynamic, fixed, elastic), Orca (OSDI'22,
 * section 3 and algorithm 1) and Triton Inference Server's dynamic batcher (max_queue_delay_microseconds). */
#include "base/simtime.h"
#include "batching/ranked_batch.h"
#include "support/play.h"
#include "support/synthetic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define REQUESTS 3u

static const struct scripted script[REQUESTS] = {{0, 2, 3}, {100, 4, 1}, {200, 3, 2}};

static const struct {
    const char *what, *policy;
    struct km_batching_settings settings;
    struct {
        uint64_t scheduled_ps, first_token_ps, last_token_ps;
    } expected[REQUESTS];
    struct scripted_more more[REQUESTS];
} cases[] = {
    /* A: 2 tokens to 1200, then two decodes. B and C at its end: 7 tokens to 5100, where B has its only
     * token; C's second comes with B's row beside it at 6300, and both end there. */
    {"all that wait",
     "dynamic",
     {.max_num_seqs = 8},
     {{0, 1200, 3400}, {3400, 5100, 6300}, {3400, 5100, 6300}},
     {{.priority = 0}}},
    /* One at a time: B 1400 after A, C two steps after B. */
    {"a cap of one",
     "dynamic",
     {.max_num_seqs = 8, .batch_cap = 1},
     {{0, 1200, 3400}, {3400, 4800, 4800}, {4800, 6100, 7200}},
     {{.priority = 0}}},
    /* B comes within the 500 and fills the cap: both start at 100. C's 500 have long passed when they end. */
    {"waits for company, and it comes",
     "dynamic",
     {.max_num_seqs = 8, .batch_cap = 2, .max_wait_ps = 500},
     {{100, 1700, 4100}, {100, 1700, 4100}, {4100, 5400, 6500}},
     {{.priority = 0}}},
    /* A goes alone after 50. B and C together are as many as may go. */
    {"waits for company in vain",
     "dynamic",
     {.max_num_seqs = 8, .batch_cap = 2, .max_wait_ps = 50},
     {{50, 1250, 3450}, {3450, 5150, 6350}, {3450, 5150, 6350}},
     {{.priority = 0}}},
    /* A waits for B; B's row is filled to A's end. C has nobody to wait for when nobody is left to come. */
    {"exactly two",
     "fixed",
     {.max_num_seqs = 8, .batch_size = 2},
     {{100, 1700, 4100}, {100, 1700, 4100}, {4100, 5400, 6500}},
     {{.priority = 0}}},
    /* As above, but B leaves at its end, and A's decodes are a row cheaper. */
    {"exactly two, leaving",
     "elastic",
     {.max_num_seqs = 8, .batch_size = 2},
     {{100, 1700, 3900}, {100, 1700, 1700}, {3900, 5200, 6300}},
     {{.priority = 0}}},
    {"all that wait, leaving",
     "elastic",
     {.max_num_seqs = 8},
     {{0, 1200, 3400}, {3400, 5100, 5100}, {3400, 5100, 6200}},
     {{.priority = 0}}},
    /* Two slots; C's prompt is padded to B's 4 tokens. */
    {"slots and padding",
     "request_level",
     {.max_num_seqs = 2},
     {{0, 1200, 3400}, {3400, 5200, 6400}, {3400, 5200, 6400}},
     {{.priority = 0}}},
    {"padding on request",
     "dynamic",
     {.max_num_seqs = 8, .pad_prompts = true},
     {{0, 1200, 3400}, {3400, 5200, 6400}, {3400, 5200, 6400}},
     {{.priority = 0}}},
    /* B and C join A's first decode with their whole prompts: 8 rows to 3000, where B ends. A and C end
       together. */
    {"joining at every step",
     "orca",
     {.max_num_seqs = 8},
     {{0, 1200, 4200}, {1200, 3000, 3000}, {1200, 3000, 4200}},
     {{.priority = 0}}},
    /* Two slots: C joins when B has left. */
    {"joining a free slot",
     "orca",
     {.max_num_seqs = 2},
     {{0, 1200, 4100}, {1200, 2700, 2700}, {2700, 4100, 5200}},
     {{.priority = 0}}},
    /* One slot: C, of the smallest priority, before B, which came first; A is not driven out. */
    {"the most urgent first",
     "priority",
     {.max_num_seqs = 1},
     {{0, 1200, 3400}, {5800, 7200, 7200}, {3400, 4700, 5800}},
     {{.priority = 5}, {.priority = 1}, {.priority = -1}}},
    /* One slot. After A's first token B, with 1 token, is the shortest, then C with 2; A, with 3, sits out and keeps its
     * blocks. */
    {"the shortest first",
     "rank",
     {.max_num_seqs = 1},
     {{0, 1200, 7200}, {1200, 2600, 2600}, {2600, 3900, 5000}},
     {{.predicted_output_tokens = 3}, {.predicted_output_tokens = 1}, {.predicted_output_tokens = 2}}},
    /* A has not been served in two steps when C's first token is there: it goes first for a step, then C again. */
    {"nobody starves",
     "rank",
     {.max_num_seqs = 1, .own = &(const struct km_ranked_settings){2, 1}},
     {{0, 1200, 7200}, {1200, 2600, 2600}, {2600, 3900, 6100}},
     {{.predicted_output_tokens = 3}, {.predicted_output_tokens = 1}, {.predicted_output_tokens = 2}}},
    /* When B has ended A and C have 2 tokens left each, and A came first. */
    {"the shortest remainder first",
     "srpt",
     {.max_num_seqs = 1},
     {{0, 1200, 4800}, {1200, 2600, 2600}, {4800, 6100, 7200}},
     {{.predicted_output_tokens = 3}, {.predicted_output_tokens = 1}, {.predicted_output_tokens = 2}}},
};

static void schedules(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        for (int mode = 0; mode < 4; mode++) {
            struct synthetic synthetic = {.step_ps = 1000, .token_ps = 100};
            struct km_replica_config config = {
                .policy = (const struct km_batching_policy *)(const void *)km_registry_find(
                    km_batching_registry, cases[c].policy),
                .batching = cases[c].settings,
                .kv_manager =
                    (const struct km_kv_manager *)(const void *)km_registry_find(km_kv_registry, "paged"),
                .kv = {.capacity_blocks = 1000, .block_size = 4, .max_model_len = 4000},
                .executor = mode & 1 ? &synthetic_lines : &synthetic_single,
                .executor_state = &synthetic,
                .pace.stages = 1,
                .fast_forward = mode & 2,
                .patience_ps = KM_PS_NEVER,
            };
            config.batching.max_num_batched_tokens = 1024;
            config.batching.enable_chunked_prefill = true;
            struct played played[REQUESTS];
            struct ending ending;
            play_more(&config, script, cases[c].more, REQUESTS, played, &ending, NULL);
            assert_null(ending.complaint);
            assert_int_equal(ending.used_blocks, 0);
            for (size_t i = 0; i < REQUESTS; i++) {
                const struct km_record *r = &played[i].record;
                if (played[i].outcome != KM_COMPLETED ||
                    r->scheduled_ps != cases[c].expected[i].scheduled_ps ||
                    r->first_token_ps != cases[c].expected[i].first_token_ps ||
                    r->last_token_ps != cases[c].expected[i].last_token_ps)
                    fail_msg("%s, %s, mode %d, request %c: scheduled %llu, first token %llu, last %llu",
                             cases[c].policy, cases[c].what, mode, (char)('A' + i),
                             (unsigned long long)r->scheduled_ps, (unsigned long long)r->first_token_ps,
                             (unsigned long long)r->last_token_ps);
            }
        }
    }
}

/* Want of blocks: 5 of 4 tokens. Under `priority`, by the rules of vLLM's scheduler, with at most 3 tokens a step:
 *
 *       arrival  prompt  output  priority
 *   A         0       6       6         2
 *   B       100       2       5         0
 *   E       100       5       1         1
 *
 *  step  formed    batch (tokens)                           blocks used   ends
 *   1        0     A 0-3                                    A1             1300
 *   2     1300     A 3-6                                    A2             2600  A1 (its first token)
 *   3     2600     A, B 0-2                                 A2 B1          3900  A2 B1
 *   4     3900     A, B, E 0-1                              A2 B1 E1       5200  A3 B2
 *   5     5200     A (takes a block), B, E 1-2              A3 B1 E1       6500  A4 B3
 *   6     6500     A; B needs a block: A, which has the     B2 E1          7800  B4
 *                  largest priority, is taken out of the
 *                  batch again, and E gets its token: B,
 *                  E 2-4
 *   7     7800     B, E 4-5; A's 10 tokens need 3 blocks    B2 E2          9000  B5, E1, both the last
 *   8     9000     A 0-3, then 3-6, 6-9 and 9-10            A3            14000  A5
 *  12    14000     A                                        A3            15100  A6, the last
 *
 * Under `rank`, with predictions that are right:
 *
 *       arrival  prompt  output
 *   A         0       6       6
 *   B       100       7       3
 *
 *   1        0     A 0-6                                    A2             1600  A1
 *   2     1600     B 0-7, A                                 A2 B2          3400  B1 A2
 *   3     3400     B, A                                     A2 B2          4600  B2 A3
 *   4     4600     both need a block, one is free: A is     B3             5700  B3, the last
 *                  preempted, B goes on
 *   5     5700     A 0-9                                    A3             7600  A4, then 8700 A5 and 9800 A6
 *
 * A shorter one that comes drives out who runs, under `rank` and `srpt`:
 *
 *   A         0      14       4
 *   B       100       5       2
 *
 *   1        0     A 0-14                                   A4             2400  A1
 *   2     2400     B ranks first (2; A 4, or 3 that are     B2             3900  B1
 *                  left) and needs 2 blocks, one is free:
 *                  A is preempted; B 0-5
 *   3     3900     B; A's 15 tokens need 4 blocks           B2             5000  B2, the last
 *   4     5000     A 0-15                                   A4             7500  A2, then 8600 A3 and 9700 A4 */
#define CROWD 3u

static const struct {
    const char *policy;
    uint32_t budget;
    size_t count;
    struct scripted script[CROWD];
    struct scripted_more more[CROWD];
    struct {
        uint64_t scheduled_ps, first_token_ps, last_token_ps;
        uint32_t preemptions;
    } expected[CROWD];
    uint64_t steps;
} crowds[] = {
    {"priority",
     3,
     3,
     {{0, 6, 6}, {100, 2, 5}, {100, 5, 1}},
     {{.priority = 2}, {.priority = 0}, {.priority = 1}},
     {{0, 2600, 15100, 1}, {2600, 3900, 9000, 0}, {3900, 9000, 9000, 0}},
     12},
    {"rank",
     100,
     2,
     {{0, 6, 6}, {100, 7, 3}},
     {{.predicted_output_tokens = 6}, {.predicted_output_tokens = 3}},
     {{0, 1600, 9800, 1}, {1600, 3400, 5700, 0}},
     7},
    {"rank",
     100,
     2,
     {{0, 14, 4}, {100, 5, 2}},
     {{.predicted_output_tokens = 4}, {.predicted_output_tokens = 2}},
     {{0, 2400, 9700, 1}, {2400, 3900, 5000, 0}},
     6},
    {"srpt",
     100,
     2,
     {{0, 14, 4}, {100, 5, 2}},
     {{.predicted_output_tokens = 4}, {.predicted_output_tokens = 2}},
     {{0, 2400, 9700, 1}, {2400, 3900, 5000, 0}},
     6},
};

static void play_crowd(size_t c, int mode)
{
    struct synthetic synthetic = {.step_ps = 1000, .token_ps = 100};
    const struct km_replica_config config = {
        .policy = km_batching_find(crowds[c].policy),
        .batching = {.max_num_seqs = 8,
                     .max_num_batched_tokens = crowds[c].budget,
                     .enable_chunked_prefill = true},
        .kv_manager = km_kv_find("paged"),
        .kv = {.capacity_blocks = 5, .block_size = 4, .max_model_len = 20},
        .executor = mode & 1 ? &synthetic_lines : &synthetic_single,
        .executor_state = &synthetic,
        .pace.stages = 1,
        .fast_forward = mode & 2,
        .patience_ps = KM_PS_NEVER,
    };
    struct played played[CROWD];
    struct ending ending;
    play_more(&config, crowds[c].script, crowds[c].more, crowds[c].count, played, &ending, NULL);
    assert_null(ending.complaint);
    assert_int_equal(ending.used_blocks, 0);
    assert_int_equal(ending.work.steps, crowds[c].steps);
    for (size_t i = 0; i < crowds[c].count; i++) {
        const struct km_record *r = &played[i].record;
        if (r->scheduled_ps != crowds[c].expected[i].scheduled_ps ||
            r->first_token_ps != crowds[c].expected[i].first_token_ps ||
            r->last_token_ps != crowds[c].expected[i].last_token_ps ||
            r->preemptions != crowds[c].expected[i].preemptions)
            fail_msg("crowd %zu, mode %d, request %zu: scheduled %llu, first token %llu, last %llu, "
                     "preemptions %u",
                     c, mode, i, (unsigned long long)r->scheduled_ps, (unsigned long long)r->first_token_ps,
                     (unsigned long long)r->last_token_ps, r->preemptions);
    }
}

static void want_of_blocks(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof crowds / sizeof *crowds; c++)
        for (int mode = 0; mode < 4; mode++)
            play_crowd(c, mode);
}

/* Every registered policy but the default, which test_schedule.c works out, has a case above. */
static void every_policy_is_here(void **state)
{
    (void)state;
    for (const struct km_entry *const *entry = km_batching_registry; *entry; entry++) {
        bool found = strcmp((*entry)->name, "continuous") == 0;
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
            found |= strcmp((*entry)->name, cases[c].policy) == 0;
        if (!found)
            fail_msg("no schedule of %s has been worked out", (*entry)->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(schedules), cmocka_unit_test(want_of_blocks),
                                       cmocka_unit_test(every_policy_is_here)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
