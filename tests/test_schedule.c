/* Schedules worked out by hand from the serving semantics (continuous batching in vLLM V1's order, overlapped
 * and not), compared time by time. Times are in picoseconds of a synthetic executor. */
#include "base/simtime.h"
#include "support/check.h"
#include "support/expect.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Five requests in 5 blocks of 4 tokens, at most 8 tokens a step; a step takes 1000 + 100 a token.
 *         arrival  prompt  output
 *   A           0      10       6
 *   B           0       4       6
 *   C         100       3       2
 *   D        2500       6       3
 *   E        5000       2       1 */
static const struct scripted five[] = {{0, 10, 6}, {0, 4, 6}, {100, 3, 2}, {2500, 6, 3}, {5000, 2, 1}};

static struct km_replica_config tight(struct synthetic *synthetic, bool async)
{
    struct km_replica_config config = roomy(synthetic, async);
    config.batching.max_num_seqs = 4;
    config.batching.max_num_batched_tokens = 8;
    config.kv = (struct km_kv_config){.capacity_blocks = 5, .block_size = 4, .max_model_len = 20};
    return config;
}

/* Not overlapped: a step is formed when its predecessor has ended.
 *
 *  step  formed    batch (tokens)                    blocks used   ends
 *   1        0     A 0-8                             A2            1800
 *   2     1800     A 8-10, B 0-4, C 0-2              A3 B1 C1      3600  A1 B1 (first tokens)
 *   3     3600     A, B: B's fifth token needs a     A3 B2         4800  A2 B2
 *                  block, C (2 of 3 computed) is preempted; nobody is admitted
 *   4     4800     A, B; C needs a block, none       A3 B2         6000  A3 B3
 *   5     6000     A (13th token): B preempted       A4            7100  A4      waiting: B C D E
 *   6     7100     A; B's 4+3 tokens need 2 blocks   A4            8200  A5
 *   7     8200     A                                 A4            9300  A6, the last
 *   8     9300     B 0-7, C 0-1                      B2 C1        11100  B4
 *   9    11100     B, C 1-3, D 0-5                   B2 C1 D2     12900  B5 C1
 *  10    12900     B (9th token): D preempted; C     B3 C1        14100  B6, C2, both the last
 *  11    14100     D 0-6, E 0-2                      D2 E1        15900  D1, E1 the last
 *  12    15900     D                                 D2           17000  D2
 *  13    17000     D                                 D2           18100  D3, the last */
static void five_requests(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000, .token_ps = 100};
    const struct km_replica_config config = tight(&synthetic, false);
    const struct expected expected[] = {{0, 0, 3600, 9300, 0},
                                        {1800, 1800, 3600, 14100, 1},
                                        {1800, 1800, 12900, 14100, 1},
                                        {11100, 11100, 15900, 18100, 1},
                                        {14100, 14100, 15900, 15900, 0}};
    const struct synthetic_step steps[] = {{1, 8, 0}, {3, 8, 0}, {0, 0, 2}, {0, 0, 2}, {0, 0, 1},
                                           {0, 0, 1}, {0, 0, 1}, {2, 8, 0}, {2, 7, 1}, {0, 0, 2},
                                           {2, 8, 0}, {0, 0, 1}, {0, 0, 1}};
    expect("five requests", &config, five, COUNT(five), expected);
    expect_steps("five requests", &config, &synthetic, five, COUNT(five), steps, COUNT(steps));
}

/* Overlapped: a step is formed when the one before its predecessor has ended, or, when that yielded nothing,
 * when its predecessor has.
 *
 *  step  formed  runs         batch                           blocks used
 *   1        0      0- 1800   A 0-8                           A2
 *   2        0   1800- 3400   A 8-10, B 0-4                   A3 B1        A1 B1 (first tokens)
 *   3     1800   3400- 4600   A, B (takes a block); C: none   A3 B2        A2 B2
 *   4     3400   4600- 5800   A, B                            A3 B2        A3 B3
 *   5     4600   5800- 6900   A; B preempted with its third   A4           A4
 *                             token in flight, which it keeps
 *   6     5800   6900- 8000   A                               A4           A5
 *   7     6900   8000- 9100   A                               A4           A6, the last
 *   -     8000                A is left out, its blocks held; B needs 2, 1 is free: nothing
 *   8     9100   9100-10900   B 0-7, C 0-1                    B2 C1        B4
 *   9     9100  10900-12700   B, C 1-3, D 0-5                 B2 C1 D2     B5 C1
 *  10    10900  12700-13900   B: D preempted; C               B3 C1        B6, C2, both the last
 *   -    12700                B and C hold 4 blocks, D needs 2: nothing
 *  11    13900  13900-15700   D 0-6, E 0-2                    D2 E1        D1, E1 the last
 *  12    13900  15700-16800   D                               D2           D2
 *  13    15700  16800-17900   D                               D2           D3, the last */
static void five_requests_overlapped(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000, .token_ps = 100};
    const struct km_replica_config config = tight(&synthetic, true);
    const struct expected expected[] = {{0, 0, 3400, 9100, 0},
                                        {0, 1800, 3400, 13900, 1},
                                        {9100, 9100, 12700, 13900, 0},
                                        {9100, 10900, 15700, 17900, 1},
                                        {13900, 13900, 15700, 15700, 0}};
    const struct synthetic_step steps[] = {{1, 8, 0}, {2, 6, 0}, {0, 0, 2}, {0, 0, 2}, {0, 0, 1},
                                           {0, 0, 1}, {0, 0, 1}, {2, 8, 0}, {2, 7, 1}, {0, 0, 2},
                                           {2, 8, 0}, {0, 0, 1}, {0, 0, 1}};
    expect("five requests, overlapped", &config, five, COUNT(five), expected);
    expect_steps("five requests, overlapped", &config, &synthetic, five, COUNT(five), steps, COUNT(steps));
}

/* What an arrival waits for. Steps take 1000; R0 decodes all the while. */
static void arrivals(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config serial = roomy(&synthetic, false), overlapped = roomy(&synthetic, true);

    /* During step 1: step 2 is formed when 1 ends; overlapped, 2 stands already and 3 is the first to hold
     * it.
     */
    const struct scripted during[] = {{0, 1, 10}, {500, 1, 1}};
    expect("serial", &serial, during, 2,
           (const struct expected[]){{0, 0, 1000, 10000, 0}, {1000, 1000, 2000, 2000, 0}});
    expect("overlapped", &overlapped, during, 2,
           (const struct expected[]){{0, 0, 1000, 10000, 0}, {1000, 2000, 3000, 3000, 0}});

    /* In the very moment at which a batch is formed, it is part of it. */
    const struct scripted at_once[] = {{0, 1, 10}, {3000, 1, 1}};
    expect("serial, at once", &serial, at_once, 2,
           (const struct expected[]){{0, 0, 1000, 10000, 0}, {3000, 3000, 4000, 4000, 0}});
    expect("overlapped, at once", &overlapped, at_once, 2,
           (const struct expected[]){{0, 0, 1000, 10000, 0}, {3000, 4000, 5000, 5000, 0}});

    /* An idle engine takes it at once, whatever it did before. */
    const struct scripted idle[] = {{0, 1, 2}, {7500, 1, 2}};
    expect("serial, idle", &serial, idle, 2,
           (const struct expected[]){{0, 0, 1000, 2000, 0}, {7500, 7500, 8500, 9500, 0}});
    expect("overlapped, idle", &overlapped, idle, 2,
           (const struct expected[]){{0, 0, 1000, 2000, 0}, {7500, 7500, 8500, 9500, 0}});

    /* ingest_s lies between arrival and queue, engine idle or not. R1 is in the queue at 1100. */
    serial.frontend.fixed_ps = overlapped.frontend.fixed_ps = 600;
    expect("serial, ingest", &serial, during, 2,
           (const struct expected[]){{600, 600, 1600, 10600, 0}, {1600, 1600, 2600, 2600, 0}});
    expect("overlapped, ingest", &overlapped, during, 2,
           (const struct expected[]){{600, 600, 1600, 10600, 0}, {1600, 2600, 3600, 3600, 0}});
    const struct scripted late[] = {{0, 1, 10}, {1001, 1, 1}}; /* in the queue at 1601, just too late */
    expect("serial, ingest, late", &serial, late, 2,
           (const struct expected[]){{600, 600, 1600, 10600, 0}, {2600, 2600, 3600, 3600, 0}});
    expect("overlapped, ingest, late", &overlapped, late, 2,
           (const struct expected[]){{600, 600, 1600, 10600, 0}, {2600, 3600, 4600, 4600, 0}});
}

/* A server in front takes requests in order, 100 each and 10 a prompt token; 50 later they are in the queue. The first keeps it until
 * 500, so the second is in the queue at 500 + 100 + 100 + 50, during the first one's step; the third finds nobody. */
static void front_end(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config serial = roomy(&synthetic, false), overlapped = roomy(&synthetic, true);
    serial.frontend = overlapped.frontend =
        (struct km_replica_frontend){.request_ps = 100, .token_ps = 10, .fixed_ps = 50, .chunk_ps = 30};
    const struct scripted three[] = {{0, 40, 1}, {200, 10, 1}, {5000, 1, 2}};
    const struct expected expected[] = {
        {550, 550, 1550, 1550, 0}, {1550, 1550, 2550, 2550, 0}, {5160, 5160, 6160, 7160, 0}};
    expect("serial, front end", &serial, three, 3, expected);
    const struct expected overlap[] = {
        {550, 550, 1550, 1550, 0}, {1550, 1550, 2550, 2550, 0}, {5160, 5160, 6160, 7160, 0}};
    expect("overlapped, front end", &overlapped, three, 3, overlap);

    struct played played[3];
    struct ending ending;
    play(&serial, three, 3, played, &ending, NULL);
    static const uint64_t queued_ps[] = {550, 750, 5160};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(played[i].record.queued_ps, queued_ps[i]);
        assert_int_equal(played[i].record.delivery_ps, 30);
    }
}

/* A sequence that ends in step k is left out of k+1, but its slot is free only for k+2. */
static void slots_of_the_ended(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config serial = roomy(&synthetic, false), overlapped = roomy(&synthetic, true);

    /* Two slots: R0 ends in step 2, R1 goes on, R2 waits for R0's slot. */
    const struct scripted two[] = {{0, 1, 2}, {0, 1, 6}, {0, 1, 1}};
    serial.batching.max_num_seqs = overlapped.batching.max_num_seqs = 2;
    expect(
        "serial", &serial, two, 3,
        (const struct expected[]){{0, 0, 1000, 2000, 0}, {0, 0, 1000, 6000, 0}, {2000, 2000, 3000, 3000, 0}});
    expect(
        "overlapped", &overlapped, two, 3,
        (const struct expected[]){{0, 0, 1000, 2000, 0}, {0, 0, 1000, 6000, 0}, {2000, 3000, 4000, 4000, 0}});
    const struct synthetic_step steps[] = {{2, 2, 0}, {0, 0, 2}, {0, 0, 1}, {1, 1, 1}, {0, 0, 1}, {0, 0, 1}};
    expect_steps("overlapped", &overlapped, &synthetic, two, 3, steps, COUNT(steps));

    /* One slot: with nothing to form, the engine idles until the batch in flight has returned. */
    const struct scripted one[] = {{0, 1, 2}, {0, 1, 1}, {0, 1, 3}};
    serial.batching.max_num_seqs = overlapped.batching.max_num_seqs = 1;
    const struct expected in_turn[] = {
        {0, 0, 1000, 2000, 0}, {2000, 2000, 3000, 3000, 0}, {3000, 3000, 4000, 6000, 0}};
    expect("serial, one slot", &serial, one, 3, in_turn);
    expect("overlapped, one slot", &overlapped, one, 3, in_turn);
}

/* The same with blocks: 3 of 4 tokens. R0 (4 + 2 tokens) grows to its second block in the step that ends it;
 * R2 needs 2. */
static void blocks_of_the_ended(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config serial = roomy(&synthetic, false), overlapped = roomy(&synthetic, true);
    serial.kv.capacity_blocks = overlapped.kv.capacity_blocks = 3;
    const struct scripted script[] = {{0, 4, 2}, {0, 1, 4}, {0, 5, 1}};
    expect(
        "serial", &serial, script, 3,
        (const struct expected[]){{0, 0, 1000, 2000, 0}, {0, 0, 1000, 4000, 0}, {2000, 2000, 3000, 3000, 0}});
    expect(
        "overlapped", &overlapped, script, 3,
        (const struct expected[]){{0, 0, 1000, 2000, 0}, {0, 0, 1000, 4000, 0}, {2000, 3000, 4000, 4000, 0}});
}

/* A waiting sequence is admitted only if the whole of it fits, though only a chunk is computed; and nobody
 * overtakes it. 4 blocks; R0 holds 2 (5 to 8 tokens) until it ends in step 4. */
static void admission_reckons_with_the_whole_prompt(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config config = roomy(&synthetic, false);
    config.kv.capacity_blocks = 4;
    config.batching.max_num_batched_tokens = 6;
    const struct scripted script[] = {{0, 5, 4}, {500, 10, 1}, {600, 1, 1}};
    expect("whole prompt", &config, script, 3,
           (const struct expected[]){
               {0, 0, 1000, 4000, 0}, {4000, 4000, 6000, 6000, 0}, {5000, 5000, 6000, 6000, 0}});
}

/* Two sequences of 4 tokens fill 2 blocks; the first one's next token needs a third. Overlapped, the victim's
 * last token is in flight: it keeps it, and is done. */
static void victim_with_its_last_token_in_flight(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config config = roomy(&synthetic, true);
    config.kv.capacity_blocks = 2;
    const struct scripted script[] = {{0, 4, 4}, {0, 4, 1}};
    expect("last token in flight", &config, script, 2,
           (const struct expected[]){{0, 0, 1000, 4000, 0}, {0, 0, 1000, 1000, 1}});

    /* Not its last: it keeps the token, and its recomputation (4 + 1 tokens) yields the second, when R0 has
     * gone: R0 ends in step 4, its blocks are free at 4000. */
    const struct scripted longer[] = {{0, 4, 4}, {0, 4, 2}};
    expect("token in flight", &config, longer, 2,
           (const struct expected[]){{0, 0, 1000, 4000, 0}, {0, 0, 1000, 5000, 1}});
}

/* Form 10, launch 20, process 30, a step 1000; steps inside the graphs. */
static void host_times(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000, .form_ps = 10, .launch_ps = 20, .process_ps = 30};
    struct km_replica_config serial = roomy(&synthetic, false), overlapped = roomy(&synthetic, true);
    const struct scripted one[] = {{0, 1, 3}};
    /* Formed at 0, 1060 and 2120; each runs 30 later, returns after 1000, and is processed 30 later. */
    expect("serial", &serial, one, 1, (const struct expected[]){{0, 30, 1060, 3180, 0}});
    /* Runs 30-1030, 1030-2030, 2030-3030. */
    expect("overlapped", &overlapped, one, 1, (const struct expected[]){{0, 30, 1060, 3060, 0}});

    /* R1 arrives while the host forms step 2 (30-60): the batch formed at 1060 holds it, and runs 2030-3030.
     * One that arrives while step 1's results are processed (1030-1060) is no later. */
    const struct expected joined[] = {{0, 30, 1060, 9060, 0}, {1060, 2030, 3060, 3060, 0}};
    expect("while forming", &overlapped, (const struct scripted[]){{0, 1, 9}, {40, 1, 1}}, 2, joined);
    expect("while processing", &overlapped, (const struct scripted[]){{0, 1, 9}, {1050, 1, 1}}, 2, joined);
    expect("too late", &overlapped, (const struct scripted[]){{0, 1, 9}, {1061, 1, 1}}, 2,
           (const struct expected[]){{0, 30, 1060, 9060, 0}, {2060, 3030, 4060, 4060, 0}});
    expect("serial, while running", &serial, (const struct scripted[]){{0, 1, 3}, {500, 1, 1}}, 2,
           (const struct expected[]){{0, 30, 1060, 3180, 0}, {1060, 1090, 2120, 2120, 0}});
}

/* Host time of each sequence: 5 to form, 7 to process each token it yields. Two prompts, the second in two
 * chunks (8 tokens a step), so that step 1 forms 2 sequences and takes 1 token. */
static void host_times_of_sequences(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000, .form_sequence_ps = 5, .process_sequence_ps = 7};
    struct km_replica_config config = roomy(&synthetic, false);
    config.batching.max_num_batched_tokens = 8;
    /* Step 1: formed 0-10, runs 10-1010, processed by 1017. Step 2: R0 decodes, R1's rest: formed 1017-1027,
     * runs to 2027, two tokens processed by 2041. */
    expect("of sequences", &config, (const struct scripted[]){{0, 6, 2}, {0, 4, 1}}, 2,
           (const struct expected[]){{0, 10, 1017, 2041, 0}, {0, 10, 2041, 2041, 0}});
}

/* The host is the bottleneck: form 100, launch 200, process 300, a step 10. */
static void host_bound(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 10, .form_ps = 100, .launch_ps = 200, .process_ps = 300};
    struct km_replica_config serial = roomy(&synthetic, false), overlapped = roomy(&synthetic, true);
    /* 1 runs 300-310, but the host forms and launches 2 until 600: 1 is processed by 900. 3 formed 900, runs
     * 1200-1210; 2 processed by 1500; 4 formed 1500, runs 1800-1810; 3 processed by 2100; nothing to form; 4
     * by 2400. */
    expect("overlapped", &overlapped, (const struct scripted[]){{0, 1, 4}}, 1,
           (const struct expected[]){{0, 300, 900, 2400, 0}});
    /* A step every 100 + 200 + 10 + 300. */
    expect("serial", &serial, (const struct scripted[]){{0, 1, 4}}, 1,
           (const struct expected[]){{0, 300, 610, 2440, 0}});
}

/* Outside the graphs a step runs while it is launched, and cannot end before: form 10, launch 500, process
 * 30. */
static void launched_kernel_by_kernel(void **state)
{
    (void)state;
    struct synthetic fast = {
        .step_ps = 100, .form_ps = 10, .launch_ps = 500, .process_ps = 30, .uncaptured = true};
    struct synthetic slow = fast;
    slow.step_ps = 2000;
    struct km_replica_config config = roomy(&fast, false);
    const struct scripted three[] = {{0, 1, 3}};
    /* Starts at 10, launched by 510, processed by 540; the next 540 later. */
    expect("serial", &config, three, 1, (const struct expected[]){{0, 10, 540, 1620, 0}});
    config.executor_state = &slow; /* 10-2010, processed by 2040 */
    expect("serial, slow", &config, three, 1, (const struct expected[]){{0, 10, 2040, 6120, 0}});

    /* 1: 10-510. 2 formed at 510: starts at 520, launched by 1020; only then is 1 processed, by 1050. 3
     * formed at 1050: 1060-1560; 2 processed by 1590; 3 by 1620. */
    config = roomy(&fast, true);
    expect("overlapped", &config, three, 1, (const struct expected[]){{0, 10, 1050, 1620, 0}});
    /* 1: 10-2010. 2: launched by 1020, runs 2010-4010; 1 processed by 2040; 3 launched by 2550, runs
     * 4010-6010, processed by 6040. */
    config.executor_state = &slow;
    expect("overlapped, slow", &config, three, 1, (const struct expected[]){{0, 10, 2040, 6040, 0}});

    /* A large prompt outside the graphs behind decodes inside them: the results of the step before it wait
     * for its launch. Steps of more than 8 tokens are outside; step 1000, launch 3000, process 30.
     * R0: step 1 launched by 3000, runs 3000-4000; step 2 launched by 6000, runs 6000-7000; 1 processed by
     * 6030, R1 (at 6010, 20 tokens) joins step 3: formed 6030, runs 7000-8000 but cannot end before 9030; so
     * step 2 is processed at 9060, and 4 formed there runs 12060-13060; 3 processed by 12090, 4 by 13090. */
    struct synthetic mixed = {.step_ps = 1000, .launch_ps = 3000, .process_ps = 30, .captured_tokens = 8};
    config.executor_state = &mixed;
    expect("mixed", &config, (const struct scripted[]){{0, 1, 4}, {6010, 20, 1}}, 2,
           (const struct expected[]){{0, 3000, 6030, 13090, 0}, {6030, 7000, 12090, 12090, 0}});
}

static void patience(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    for (int async = 0; async < 2; async++) {
        struct km_replica_config config = roomy(&synthetic, async);
        config.batching.max_num_seqs = 1;
        config.patience_ps = 1500;
        /* R0 holds the only slot until 5000. R1 gives up at 1600, R3 (4600 + 1500) is served after R2, which
         * waits from 3500 until exactly 5000; R4 gives up in between. */
        const struct scripted script[] = {{0, 1, 5}, {100, 1, 1}, {3500, 1, 1}, {3600, 1, 1}, {4600, 1, 1}};
        struct played p[5];
        struct ending ending;
        for (int fast = 0; fast < 2; fast++) {
            config.executor = &synthetic_lines;
            config.fast_forward = fast;
            play(&config, script, 5, p, &ending, NULL);
            assert_int_equal(p[0].record.last_token_ps, 5000);
            assert_int_equal(p[1].outcome, KM_ABANDONED);
            assert_int_equal(p[1].ended_ps, 1600);
            assert_int_equal(p[2].outcome, KM_COMPLETED);
            assert_int_equal(p[2].record.scheduled_ps, 5000);
            assert_int_equal(p[3].outcome, KM_ABANDONED);
            assert_int_equal(p[3].ended_ps, 5100);
            assert_int_equal(p[4].outcome, KM_COMPLETED);
            assert_int_equal(p[4].record.scheduled_ps, 6000);
            assert_int_equal(p[4].record.last_token_ps, 7000);
            assert_int_equal(ending.used_blocks, 0);
        }
    }
}

/* Patience ends with the first batch: who is preempted later waits as long as it takes. The victim of
 * victim_with_its_last_token_in_flight waits from 1000 to 4000. */
static void the_scheduled_do_not_leave(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config config = roomy(&synthetic, true);
    config.kv.capacity_blocks = 2;
    config.patience_ps = 100;
    expect("preempted", &config, (const struct scripted[]){{0, 4, 4}, {0, 4, 2}}, 2,
           (const struct expected[]){{0, 0, 1000, 4000, 0}, {0, 0, 1000, 5000, 1}});
}

static void rejections(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config config = roomy(&synthetic, false);
    struct km_metrics *metrics = km_metrics_create(&(const struct km_metrics_settings){0});
    config.metrics = metrics;
    config.kv = (struct km_kv_config){.capacity_blocks = 5, .block_size = 4, .max_model_len = 18};
    struct km_replica *replica = km_replica_create(&config);
    struct km_request request = {.prompt_tokens = 10, .output_tokens = 8};
    assert_null(km_replica_refuses(replica, &request)); /* exactly max_model_len */
    request.output_tokens = 9;
    assert_non_null(strstr(km_replica_refuses(replica, &request), "max_model_len"));
    km_replica_destroy(replica);

    config.kv.max_model_len = 100;
    replica = km_replica_create(&config);
    request = (struct km_request){.prompt_tokens = 10, .output_tokens = 10};
    assert_null(km_replica_refuses(replica, &request)); /* exactly the pool */
    request.prompt_tokens = 11;
    assert_non_null(strstr(km_replica_refuses(replica, &request), "KV"));
    km_replica_destroy(replica);
    km_metrics_destroy(metrics);

    /* The largest that is taken is served, whole pool and all; the others do not disturb it. */
    struct played p[3];
    struct ending ending;
    play(&config, (const struct scripted[]){{0, 10, 10}, {100, 30, 1}, {200, 1, 200}}, 3, p, &ending, NULL);
    assert_int_equal(p[0].outcome, KM_COMPLETED);
    assert_int_equal(p[0].record.last_token_ps, 10000);
    assert_int_equal(p[1].outcome, KM_REJECTED);
    assert_int_equal(p[1].ended_ps, 100);
    assert_int_equal(p[2].outcome, KM_REJECTED);
}

static void chunks(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config config = roomy(&synthetic, false);
    config.batching.max_num_batched_tokens = 10;
    config.batching.long_prefill_token_threshold = 4;
    /* Chunks of at most 4 of a budget of 10: 4+4+2, then 4+2+4, then A's rest, B's decode, C's rest. */
    const struct scripted script[] = {{0, 10, 1}, {0, 6, 2}, {0, 9, 1}};
    const struct synthetic_step steps[] = {{3, 10, 0}, {3, 10, 0}, {2, 5, 1}};
    expect_steps("threshold", &config, &synthetic, script, 3, steps, COUNT(steps));
    expect("threshold", &config, script, 3,
           (const struct expected[]){{0, 0, 3000, 3000, 0}, {0, 0, 2000, 3000, 0}, {0, 0, 3000, 3000, 0}});

    /* Running sequences in admission order: the prompt admitted first takes its chunk before the decode that
     * overtook it. Budget 5: A 4 + B 1; A 4 + B's token; A's last 2 + B's token. */
    config.batching.max_num_batched_tokens = 5;
    const struct synthetic_step overtaken[] = {{2, 5, 0}, {1, 4, 1}, {1, 2, 1}};
    expect_steps("overtaken", &config, &synthetic, (const struct scripted[]){{0, 10, 1}, {0, 1, 3}}, 2,
                 overtaken, COUNT(overtaken));

    /* vLLM 0.33 (scheduler.py:755-763): no threshold for a request that is the only one. A alone takes the budget,
     * 10 of 18; then B is there: 4 + 4; A's last 4 beside B's last 2. */
    config.batching.max_num_batched_tokens = 10;
    config.batching.long_prefill_unlimited_alone = true;
    const struct synthetic_step alone[] = {{1, 10, 0}, {2, 8, 0}, {2, 6, 0}};
    expect_steps("alone", &config, &synthetic, (const struct scripted[]){{0, 18, 1}, {500, 6, 1}}, 2, alone,
                 COUNT(alone));
    config.batching.long_prefill_unlimited_alone = false;

    /* Without chunks a prompt waits until the whole of it is within the budget, and nobody overtakes it; the
     * threshold has no say. */
    config.batching.max_num_batched_tokens = 12;
    config.batching.enable_chunked_prefill = false;
    const struct scripted whole[] = {{0, 8, 1}, {0, 9, 1}, {0, 2, 1}, {0, 2, 1}};
    const struct synthetic_step unchunked[] = {{1, 8, 0}, {2, 11, 0}, {1, 2, 0}};
    expect_steps("unchunked", &config, &synthetic, whole, 4, unchunked, COUNT(unchunked));
}

static void most_sequences(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config config = roomy(&synthetic, false);
    config.batching.max_num_seqs = 2;
    const struct scripted script[] = {{0, 1, 1}, {0, 1, 3}, {0, 1, 2}, {0, 1, 1}};
    expect("two at a time", &config, script, 4,
           (const struct expected[]){{0, 0, 1000, 1000, 0},
                                     {0, 0, 1000, 3000, 0},
                                     {1000, 1000, 2000, 3000, 0},
                                     {3000, 3000, 4000, 4000, 0}});
}

/* A policy that waits for company in vain forms its batch when nobody can come any more: at the last arrival,
 * not before. Its requests leave together, with the longest. */
static void company_that_never_comes(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000};
    struct km_replica_config config = roomy(&synthetic, false);
    config.policy =
        (const struct km_batching_policy *)(const void *)km_registry_find(km_batching_registry, "fixed");
    config.batching.batch_size = 3;
    expect("two of three", &config, (const struct scripted[]){{0, 1, 1}, {5000, 1, 3}}, 2,
           (const struct expected[]){{5000, 5000, 6000, 8000, 0}, {5000, 5000, 6000, 8000, 0}});
    /* The third completes the batch; the fourth is left alone with the rest. */
    expect("three and one", &config,
           (const struct scripted[]){{0, 1, 1}, {100, 1, 2}, {700, 1, 1}, {800, 1, 1}}, 4,
           (const struct expected[]){{700, 700, 1700, 2700, 0},
                                     {700, 700, 1700, 2700, 0},
                                     {700, 700, 1700, 2700, 0},
                                     {2700, 2700, 3700, 3700, 0}});
}

/* Two stages of 500 each. */
static void two_stages(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 500, .stages = 2};
    for (int async = 0; async < 2; async++) {
        struct km_replica_config config = roomy(&synthetic, async);
        config.pace.stages = 2;
        /* Alone, a sequence decodes once its previous batch has returned: a token every 1000. */
        expect("alone", &config, (const struct scripted[]){{0, 1, 3}}, 1,
               (const struct expected[]){{0, 0, 1000, 3000, 0}});
        /* Two batches of one prompt each (one token a step) fill both stages, and go on in turns. */
        config.batching.max_num_batched_tokens = 1;
        config.batching.max_num_seqs = 2;
        expect("in turns", &config, (const struct scripted[]){{0, 1, 3}, {0, 1, 3}}, 2,
               (const struct expected[]){{0, 0, 1000, 3000, 0}, {0, 500, 1500, 3500, 0}});
    }
}

/* With placeholders three batches are in flight in two stages of 500, and a sequence decodes every other one
 * (vllm/v1/core/sched/async_scheduler.py: next_decode_eligible_step = current_step + pp_size). At most 2 tokens a batch.
 *
 *  batch  formed  stage 0    stage 1    of
 *    1        0      0- 500   500-1000  A's prompt
 *    2        0    500-1000  1000-1500  B's prompt
 *    3        0   1000-1500  1500-2000  A: its first token is a placeholder, and the first stage waits for it
 *    4     1000   1500-2000  2000-2500  B, and C, who came at 100, when batch 3 stood already
 *    5     1500   2000-2500  2500-3000  A, its last
 *    6     2000   2500-3000  3000-3500  B, its last
 *
 * Without, batch 3 is formed at 1000, when A's token is back, and C is in it. */
static void placeholders(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 500, .stages = 2};
    struct km_replica_config config = roomy(&synthetic, true);
    const struct scripted three[] = {{0, 2, 3}, {0, 2, 3}, {100, 1, 1}};
    config.pace.stages = 2;
    config.batching.max_num_batched_tokens = 2;
    expect("two groups", &config, three, 3,
           (const struct expected[]){
               {0, 0, 1000, 3000, 0}, {0, 500, 1500, 3500, 0}, {1000, 1000, 2000, 2000, 0}});
    config.pace.placeholders = true;
    expect("placeholders", &config, three, 3,
           (const struct expected[]){
               {0, 0, 1000, 3000, 0}, {0, 500, 1500, 3500, 0}, {1000, 1500, 2500, 2500, 0}});
    /* Alone: batches 2 and 4 stay empty, and the engine waits for the one before. */
    expect("placeholders, alone", &config, three, 1, (const struct expected[]){{0, 0, 1000, 3000, 0}});
}

/* The first stage of a batch waits for the tokens of the batch two before, prompts too
 * (vllm/v1/worker/gpu/pp_utils.py). A token takes 100 on a stage; C could start at 1000, and starts at 1600. */
static void prompts_wait_for_tokens(void **state)
{
    (void)state;
    struct synthetic synthetic = {.token_ps = 100, .stages = 2};
    struct km_replica_config config = roomy(&synthetic, true);
    const struct scripted three[] = {{0, 8, 1}, {0, 2, 1}, {0, 8, 1}};
    config.pace.stages = 2;
    config.batching.max_num_batched_tokens = 9;
    config.batching.enable_chunked_prefill = false;
    config.pace.placeholders = true;
    expect(
        "prompts wait", &config, three, 3,
        (const struct expected[]){{0, 0, 1600, 1600, 0}, {0, 800, 1800, 1800, 0}, {0, 1600, 3200, 3200, 0}});
}

/* A burst of m prompts, one batch each, through P equal stages takes m + P - 1 stage times, so every stage
 * idles a share (P - 1) / (m + P - 1) of it: the bubble of a pipeline (GPipe, Huang et al. 2019). */
static void pipeline_bubble(void **state)
{
    (void)state;
    for (uint32_t stages = 1; stages <= 6; stages++)
        for (uint32_t m = 1; m <= 12; m++)
            for (int mode = 0; mode < 3; mode++) {
                struct synthetic synthetic = {.step_ps = 1000000000, .stages = stages};
                struct km_replica_config config = roomy(&synthetic, mode > 0);
                config.pace.placeholders = mode > 1;
                config.pace.stages = stages;
                config.batching.max_num_batched_tokens = 8;
                struct scripted burst[12];
                struct played played[12];
                struct ending ending;
                struct km_summary summary;
                for (uint32_t i = 0; i < m; i++)
                    burst[i] = (struct scripted){0, 8, 1};
                play(&config, burst, m, played, &ending, &summary);
                for (uint32_t i = 0; i < m; i++)
                    assert_int_equal(played[i].record.last_token_ps, (i + stages) * 1000000000ULL);
                double bubble = 1.0 - ending.work.busy_s / summary.duration_s;
                assert_true(fabs(bubble - (double)(stages - 1) / (m + stages - 1)) < 1e-9);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_requests),
        cmocka_unit_test(five_requests_overlapped),
        cmocka_unit_test(arrivals),
        cmocka_unit_test(front_end),
        cmocka_unit_test(slots_of_the_ended),
        cmocka_unit_test(blocks_of_the_ended),
        cmocka_unit_test(admission_reckons_with_the_whole_prompt),
        cmocka_unit_test(victim_with_its_last_token_in_flight),
        cmocka_unit_test(host_times),
        cmocka_unit_test(host_times_of_sequences),
        cmocka_unit_test(host_bound),
        cmocka_unit_test(launched_kernel_by_kernel),
        cmocka_unit_test(patience),
        cmocka_unit_test(the_scheduled_do_not_leave),
        cmocka_unit_test(rejections),
        cmocka_unit_test(chunks),
        cmocka_unit_test(most_sequences),
        cmocka_unit_test(company_that_never_comes),
        cmocka_unit_test(two_stages),
        cmocka_unit_test(placeholders),
        cmocka_unit_test(prompts_wait_for_tokens),
        cmocka_unit_test(pipeline_bubble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
