/* Sessions whose turns wait for their answers, worked out by hand: when turns arrive, what they are, what the
 * prefix cache finds of their history, and what follows a turn that is not answered. */
#include "base/memory.h"
#include "base/random.h"
#include "base/simtime.h"
#include "sim/simulation.h"
#include "support/play.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A trace of these lines, read into memory. */
static struct km_recording *record(const char *lines)
{
    char path[] = "/tmp/km-turns-XXXXXX";
    struct km_recording *recording;
    struct km_error error = {0};
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, lines, strlen(lines)), strlen(lines));
    close(file);
    enum km_status status = km_recording_load(path, NULL, &recording, &error);
    unlink(path);
    if (status != KM_OK)
        fail_msg("%s", error.message);
    return recording;
}

static struct km_workload_settings after_answer(const struct km_recording *recording)
{
    return (struct km_workload_settings){
        .process = KM_ARRIVAL_TRACE, .recording = recording, .rate_scale = 1, .turns = KM_TURNS_AFTER_ANSWER};
}

static struct km_workload *open_workload(const struct km_workload_settings *settings)
{
    struct km_workload *workload;
    struct km_error error = {0};
    if (km_workload_create(settings, 1, &workload, &error) != KM_OK)
        fail_msg("%s", error.message);
    return workload;
}

/* The next request arrives then, with that prompt; what it owns is given to the caller. */
static struct km_request take(struct km_workload *workload, uint64_t arrival_s, uint32_t prompt_tokens)
{
    uint64_t arrival_ps;
    struct km_request request;
    assert_int_equal(km_workload_peek(workload, &arrival_ps, NULL), KM_OK);
    assert_int_equal(arrival_ps, arrival_s * KM_PS_PER_S);
    km_workload_take(workload, &request);
    assert_int_equal(request.arrival_ps, arrival_ps);
    assert_int_equal(request.prompt_tokens, prompt_tokens);
    return request;
}

static void nobody_arrives(struct km_workload *workload)
{
    uint64_t arrival_ps;
    assert_int_equal(km_workload_peek(workload, &arrival_ps, NULL), KM_OK);
    assert_true(arrival_ps == KM_PS_NEVER);
}

static void drop(struct km_request request)
{
    km_request_release(&request);
}

/* Sessions 5 and 6 of a trace, and a request without. The second turns stand at 1 and 2 s of the recording, but
 * arrive 10 and 4 s after their answers, at 20 and 21 s; rate_scale 2 halves the first turns' times alone. */
static void when_turns_arrive(void **state)
{
    (void)state;
    struct km_recording *recording = record("arrival_s,prompt_tokens,output_tokens,session,delay_s\n"
                                            "0,10,5,5,\n1,20,5,5,10\n1,11,5,6,\n2,22,5,6,4\n"
                                            "40,30,5,5,0.5\n60,7,7,,\n");
    for (int scaled = 0; scaled < 2; scaled++) {
        struct km_workload_settings settings = after_answer(recording);
        settings.rate_scale = scaled ? 0.5 : 1;
        struct km_workload *w = open_workload(&settings);
        drop(take(w, 0, 10));
        drop(take(w, scaled ? 2 : 1, 11));
        km_workload_ended(w, 6, true, 17 * KM_PS_PER_S); /* ready at 21 */
        km_workload_ended(w, 5, true, 10 * KM_PS_PER_S); /* ready at 20 */
        drop(take(w, 20, 20));
        drop(take(w, 21, 22));
        assert_int_equal(km_workload_unsent(w), 0);
        km_workload_ended(w, 5, false, 22 * KM_PS_PER_S); /* its third turn is never sent */
        assert_int_equal(km_workload_unsent(w), 1);
        km_workload_ended(w, 6, true, 23 * KM_PS_PER_S);
        drop(take(w, scaled ? 120 : 60, 7));
        nobody_arrives(w);
        assert_true(km_workload_progress(w) == 1);
        km_workload_destroy(w);
    }
    km_recording_destroy(recording);
}

/* Mooncake lines as benchmarks of conversations write them: a turn with a delay has no time, and its prompt is
 * the new message alone. Said before it: 300 + 40, then 340 + 150 + 20. */
#define CONVERSATION                                                                                         \
    "{\"session_id\": \"a\", \"timestamp\": 500, \"input_length\": 300, \"output_length\": 40}\n"            \
    "{\"session_id\": \"a\", \"delay\": 2000.5, \"input_length\": 150, \"output_length\": 20}\n"             \
    "{\"session_id\": \"a\", \"delay\": 0, \"input_length\": 90, \"output_length\": 20}\n"                   \
    "{\"session_id\": 3, \"timestamp\": 1500, \"input_length\": 8, \"output_length\": 1}\n"

static void mooncake_conversation(void **state)
{
    (void)state;
    struct km_recording *recording = record(CONVERSATION);
    struct km_workload_settings settings = after_answer(recording);
    settings.turn_prompts = KM_PROMPTS_ADDED;
    struct km_workload *w = open_workload(&settings);
    uint64_t arrival_ps;
    struct km_request first = take(w, 0, 300), other = take(w, 1, 8);
    assert_int_equal(other.session, 3);
    assert_true(first.session > 3);
    km_workload_ended(w, first.session, true, 5 * KM_PS_PER_S);
    assert_int_equal(km_workload_peek(w, &arrival_ps, NULL), KM_OK);
    assert_int_equal(arrival_ps, 7000500000000); /* 5 s and 2000.5 ms */
    struct km_request second;
    km_workload_take(w, &second);
    assert_int_equal(second.prompt_tokens, 490);
    /* One block of 512 tokens holds all of it, 490 + 20; the third turn, 510 + 90 + 20, has two. */
    assert_int_equal(first.prefix_hash_count, 1);
    assert_int_equal(second.prefix_hash_count, 1);
    assert_true(first.prefix_hashes[0] == second.prefix_hashes[0]);
    km_workload_ended(w, first.session, true, 8 * KM_PS_PER_S);
    struct km_request third = take(w, 8, 600);
    assert_int_equal(third.prefix_hash_count, 2);
    assert_true(third.prefix_hashes[0] == first.prefix_hashes[0]);
    drop(first);
    drop(second);
    drop(third);
    drop(other);
    nobody_arrives(w);
    km_workload_destroy(w);
    km_recording_destroy(recording);
}

/* A turn's answer has the hashes that the next turn has for it: of 1000 + 400 tokens, blocks 1 and 2. The first
 * of them was begun by the prompt, under another hash. */
static void hashes_of_answers(void **state)
{
    (void)state;
    struct km_recording *recording =
        record("arrival_s,prompt_tokens,output_tokens,session,prefix_hashes,delay_s\n"
               "0,1000,400,1,70 71,\n0,1500,100,1,70 72 73,1\n"
               "0,1000,400,2,70 71,\n0,1600,100,2,74 75 76 77,1\n");
    struct km_workload_settings settings = after_answer(recording);
    struct km_workload *w = open_workload(&settings);
    struct km_request a = take(w, 0, 1000), b = take(w, 0, 1000);
    assert_int_equal(a.prefix_hash_count, 3);
    assert_int_equal(a.prefix_hashes[0], 70);
    assert_int_equal(a.prefix_hashes[1], 72);
    assert_int_equal(a.prefix_hashes[2], 73);
    assert_int_equal(b.prefix_hash_count, 2); /* what follows does not begin with it: nothing is known */
    assert_int_equal(b.prefix_hashes[1], 71);
    drop(a);
    drop(b);
    km_workload_destroy(w);
    km_recording_destroy(recording);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        struct km_workload_settings settings;
        const char *message;
    } cases[] = {
        {CONVERSATION, {.turns = KM_TURNS_UNSTATED}, "a delay after the answer before: say after_answer"},
        {CONVERSATION, {.turns = KM_TURNS_RECORDED}, "turns without a time"},
        {CONVERSATION, {.turns = KM_TURNS_AFTER_ANSWER}, "has 150 prompt tokens, but 340 were said before"},
        {CONVERSATION, {.turns = KM_TURNS_AFTER_ANSWER, .bootstrap_block_s = 1}, "blocks would cut sessions"},
        {CONVERSATION,
         {.turns = KM_TURNS_AFTER_ANSWER, .output_tokens_scale = 2},
         "the turns' lengths are the trace's"},
        {CONVERSATION,
         {.turns = KM_TURNS_AFTER_ANSWER, .process = KM_ARRIVAL_CLOSED_LOOP, .clients = 1},
         "not in a closed loop"},
        {"arrival_s,prompt_tokens,output_tokens,session\n0,1,1,4\n1,5,1,4\n",
         {.turns = KM_TURNS_AFTER_ANSWER},
         "session 4 has a turn without a delay; give think_s"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct km_recording *recording = record(cases[i].lines);
        struct km_workload_settings settings = cases[i].settings;
        struct km_workload *workload;
        struct km_error error = {0};
        settings.recording = recording;
        settings.rate_scale = 1;
        enum km_status status = km_workload_create(&settings, 1, &workload, &error);
        if (status == KM_OK) { /* turns come when they are read */
            struct km_request request;
            uint64_t arrival_ps;
            km_workload_peek(workload, &arrival_ps, &error);
            km_workload_take(workload, &request);
            status = km_workload_peek(workload, &arrival_ps, &error);
            drop(request);
            km_workload_destroy(workload);
        }
        assert_int_equal(status, KM_BAD_INPUT);
        if (!strstr(error.message, cases[i].message))
            fail_msg("expected \"%s\", got \"%s\"", cases[i].message, error.message);
        km_recording_destroy(recording);
    }
}

/* --- in an engine ---------------------------------------------------------------------------------------- */

struct ended {
    struct km_record records[16];
    enum km_outcome outcomes[16];
    size_t count;
};

static void collect(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct ended *all = context;
    assert_true(all->count < 16);
    all->records[all->count] = *record;
    all->outcomes[all->count++] = outcome;
}

/* One engine with a prefix cache of blocks of 4 tokens, one batch at a time; a step takes 1000 ps. */
static void simulate(const struct km_workload_settings *workload, bool fast, struct synthetic *synthetic,
                     struct ended *all, struct km_simulation_result *result)
{
    struct km_metrics *metrics = km_metrics_create(&(const struct km_metrics_settings){0});
    const struct km_simulation_group group = {
        .replica = {.policy = (const struct km_batching_policy *)(const void *)km_registry_find(
                        km_batching_registry, "continuous"),
                    .batching = {.max_num_seqs = 8,
                                 .max_num_batched_tokens = 64,
                                 .enable_chunked_prefill = true},
                    .kv_manager = (const struct km_kv_manager *)(const void *)km_registry_find(km_kv_registry,
                                                                                               "prefix"),
                    .kv = {.capacity_blocks = 100, .block_size = 4, .max_model_len = 60},
                    .executor = fast ? &synthetic_lines : &synthetic_single,
                    .executor_state = synthetic,
                    .pace = {.stages = 1},
                    .fast_forward = fast,
                    .patience_ps = KM_PS_NEVER},
        .replicas = 1};
    const struct km_simulation_config config = {
        .workload = workload,
        .seed = 1,
        .groups = &group,
        .group_count = 1,
        .router = (const struct km_router *)(const void *)km_routing_registry[0],
        .metrics = metrics,
        .ended = collect,
        .context = all};
    struct km_error error;
    if (km_simulation_run(&config, result, &error) != KM_OK)
        fail_msg("%s", error.message);
    km_metrics_destroy(metrics);
}

/* Session 1: 8 prompt tokens, 6 answers in steps 1 to 6, so the last at 6000 ps. Its second turn (8 + 6 + 2
 * tokens) arrives 5 ns later, at 11000 ps, though it was recorded at 1 ns. The cache holds what was computed,
 * 8 + 5 tokens, hence 3 whole blocks, the answer's third among them: 4 tokens are computed in one step, and
 * its two answers come at 12000 and 13000 ps. The third turn is longer than the engine takes, and the fourth is never
 * sent.
 *
 * Session 2 decodes all the while, from 500 ps on: in the batches from 1000 to 14000 ps, 13 answers. */
static void in_an_engine(void **state)
{
    (void)state;
    struct km_recording *recording = record("arrival_s,prompt_tokens,output_tokens,session,delay_s\n"
                                            "0,8,6,1,\n0.0000000005,4,13,2,\n0.000000001,16,2,1,0.000000005\n"
                                            "0.000000002,59,2,1,0.000000005\n0.000000003,70,1,1,0\n");
    const struct km_workload_settings workload = after_answer(recording);
    for (int fast = 0; fast < 2; fast++) {
        struct synthetic_step log[32];
        struct synthetic synthetic = {.step_ps = 1000, .log = log, .log_capacity = fast ? 0 : 32};
        struct ended all = {0};
        struct km_simulation_result result;
        simulate(&workload, fast, &synthetic, &all, &result);
        assert_int_equal(all.count, 4);
        const struct {
            uint64_t arrival_ps, first_token_ps, last_token_ps;
            enum km_outcome outcome;
        } expected[] = {{0, 1000, 6000, KM_COMPLETED},
                        {11000, 12000, 13000, KM_COMPLETED},
                        {500, 2000, 14000, KM_COMPLETED},
                        {18000, 0, 0, KM_REJECTED}};
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(all.outcomes[i], expected[i].outcome);
            assert_int_equal(all.records[i].arrival_ps, expected[i].arrival_ps);
            assert_int_equal(all.records[i].first_token_ps, expected[i].first_token_ps);
            assert_int_equal(all.records[i].last_token_ps, expected[i].last_token_ps);
        }
        assert_int_equal(result.unsent_turns, 1);
        assert_int_equal(result.work.steps, 14);
        if (!fast) {
            assert_int_equal(log[0].prefill_tokens, 8);
            assert_int_equal(log[1].prefill_tokens, 4);
            assert_int_equal(log[11].chunks, 1);
            assert_int_equal(log[11].prefill_tokens, 4);
            assert_int_equal(log[11].decodes, 1);
        }
    }
    km_recording_destroy(recording);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_turns_arrive), cmocka_unit_test(mooncake_conversation),
        cmocka_unit_test(hashes_of_answers), cmocka_unit_test(refusals),
        cmocka_unit_test(in_an_engine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
