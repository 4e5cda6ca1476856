/* Traces in memory: recordings, captured streams, block bootstraps, scaled lengths. */
#include "base/memory.h"
#include "base/simtime.h"
#include "workload/hash_set.h"
#include "workload/resample.h"
#include "workload/workload.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CONVERSATION KM_SOURCE_DIR "/traces/conversation-synthetic.csv"
#define SESSIONS     KM_SOURCE_DIR "/traces/sessions-synthetic.csv"

struct stream {
    struct km_request *items;
    size_t count, capacity;
};

static struct stream collect(const struct km_workload_settings *settings, uint64_t seed)
{
    struct stream stream = {0};
    struct km_workload *workload;
    struct km_error error = {0};
    if (km_workload_create(settings, seed, &workload, &error) != KM_OK)
        fail_msg("%s", error.message);
    for (;;) {
        uint64_t arrival_ps;
        assert_int_equal(km_workload_peek(workload, &arrival_ps, &error), KM_OK);
        if (arrival_ps == KM_PS_NEVER)
            break;
        stream.items = km_grow(stream.items, &stream.capacity, stream.count + 1, sizeof *stream.items);
        km_workload_take(workload, &stream.items[stream.count]);
        assert_int_equal(stream.items[stream.count].id, stream.count);
        assert_true(stream.count == 0 || arrival_ps >= stream.items[stream.count - 1].arrival_ps);
        stream.count++;
    }
    km_workload_destroy(workload);
    return stream;
}

static void release(struct stream *stream)
{
    for (size_t i = 0; i < stream->count; i++)
        km_request_release(&stream->items[i]);
    free(stream->items);
}

static void assert_same(const struct stream *a, const struct stream *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct km_request *x = &a->items[i], *y = &b->items[i];
        assert_true(x->arrival_ps == y->arrival_ps && x->prompt_tokens == y->prompt_tokens &&
                    x->output_tokens == y->output_tokens && x->session == y->session &&
                    x->class_index == y->class_index && x->prefix_hash_count == y->prefix_hash_count);
        if (x->prefix_hash_count)
            assert_memory_equal(x->prefix_hashes, y->prefix_hashes, x->prefix_hash_count * sizeof(uint64_t));
    }
}

static struct km_workload_settings trace(const char *path)
{
    return (struct km_workload_settings){.process = KM_ARRIVAL_TRACE, .trace = path, .rate_scale = 1};
}

/* A recording gives what its file gives, window and scale included. */
static void test_recording(void **state)
{
    (void)state;
    static const char *const paths[] = {CONVERSATION, SESSIONS};
    for (size_t i = 0; i < 2; i++) {
        struct km_workload_settings file = trace(paths[i]);
        file.start_s = 30;
        file.end_s = 200;
        file.rate_scale = 1.7;
        struct km_workload_settings held = file;
        struct km_recording *recording;
        struct km_error error = {0};
        assert_int_equal(km_recording_load(paths[i], NULL, &recording, &error), KM_OK);
        held.recording = recording;
        held.trace = NULL;
        struct stream from_file = collect(&file, 1), from_memory = collect(&held, 1);
        assert_true(from_file.count > 100);
        assert_same(&from_file, &from_memory);
        release(&from_file);
        release(&from_memory);
        km_recording_destroy(recording);
    }
}

static void test_recording_of_a_broken_trace(void **state)
{
    (void)state;
    struct km_recording *recording;
    struct km_error error = {0};
    assert_int_equal(km_recording_load("no such file", NULL, &recording, &error), KM_BAD_INPUT);
    assert_null(recording);
    assert_int_equal(km_recording_load(KM_SOURCE_DIR "/README.md", NULL, &recording, &error), KM_BAD_INPUT);
    assert_null(recording);
}

/* A captured stream, run at a rate, is the stream at that rate, whatever drew it. */
static void test_capture(void **state)
{
    (void)state;
    struct km_workload_settings cases[4] = {
        {.process = KM_ARRIVAL_POISSON,
         .rate_per_s = 4,
         .has_prompt_tokens = true,
         .has_output_tokens = true,
         .prompt_tokens = {.kind = KM_DIST_LOGNORMAL, .mu = 6, .sigma = 1},
         .output_tokens = {.kind = KM_DIST_GEOMETRIC, .mean = 100},
         .output_tokens_scale = 1.5,
         .requests = 500},
        trace(SESSIONS),
        trace(CONVERSATION),
        trace(CONVERSATION),
    };
    cases[2].bootstrap_block_s = 20;
    cases[3].process = KM_ARRIVAL_GAMMA; /* the trace's lengths, other times */
    cases[3].rate_per_s = 3;
    cases[3].cv = 2;
    for (size_t i = 0; i < 4; i++) {
        struct km_recording *recording;
        struct km_error error = {0};
        cases[i].rate_scale = 2.3;
        assert_int_equal(km_workload_capture(&cases[i], 7, &recording, &error), KM_OK);
        const struct km_workload_settings played = {
            .process = KM_ARRIVAL_TRACE, .recording = recording, .rate_scale = 2.3};
        struct stream direct = collect(&cases[i], 7), captured = collect(&played, 99);
        assert_same(&direct, &captured);
        release(&direct);
        release(&captured);
        km_recording_destroy(recording);
    }
}

static uint64_t pair_of(const struct km_request *a, const struct km_request *b)
{
    return (((uint64_t)a->prompt_tokens * 1000003 + a->output_tokens) * 1000003 + b->prompt_tokens) *
               1000003 +
           b->output_tokens;
}

/* Same length, other requests for another seed, and within blocks the trace's own neighbours and gaps. */
static void test_bootstrap(void **state)
{
    (void)state;
    struct km_workload_settings plain = trace(CONVERSATION), drawn = plain;
    drawn.bootstrap_block_s = 20;
    struct stream whole = collect(&plain, 1), a = collect(&drawn, 1), again = collect(&drawn, 1),
                  b = collect(&drawn, 2);
    assert_same(&a, &again);
    assert_true(a.count != b.count || a.items[5].prompt_tokens != b.items[5].prompt_tokens ||
                a.items[5].arrival_ps != b.items[5].arrival_ps);
    const double span_s = km_s_from_ps(whole.items[whole.count - 1].arrival_ps);
    assert_true(km_s_from_ps(a.items[a.count - 1].arrival_ps) < span_s + 1);
    assert_true(km_s_from_ps(a.items[a.count - 1].arrival_ps) > span_s - 20);
    assert_true(fabs((double)a.count / (double)whole.count - 1) < 0.2);

    struct km_hash_set pairs = {0};
    for (size_t i = 0; i + 1 < whole.count; i++)
        km_hash_set_add(&pairs, pair_of(&whole.items[i], &whole.items[i + 1]));
    size_t neighbours = 0;
    for (size_t i = 0; i + 1 < a.count; i++)
        neighbours += km_hash_set_has(&pairs, pair_of(&a.items[i], &a.items[i + 1]));
    const size_t blocks = (size_t)ceil(span_s / 20) + 1;
    assert_true(neighbours + 1 + blocks >= a.count && neighbours + 1 < a.count);
    km_hash_set_release(&pairs);
    release(&whole);
    release(&a);
    release(&again);
    release(&b);
}

/* Longer ones, and a block longer than the window: the trace from another moment on. */
static void test_bootstrap_length(void **state)
{
    (void)state;
    struct km_workload_settings plain = trace(CONVERSATION), round = plain, longer = plain;
    round.bootstrap_block_s = 1e6;
    longer.bootstrap_block_s = 20;
    longer.bootstrap_length = 3;
    struct stream whole = collect(&plain, 1), turned = collect(&round, 3), three = collect(&longer, 3);
    uint64_t tokens = 0, turned_tokens = 0;
    assert_int_equal(whole.count, turned.count);
    for (size_t i = 0; i < whole.count; i++) {
        tokens += whole.items[i].prompt_tokens;
        turned_tokens += turned.items[i].prompt_tokens;
    }
    assert_int_equal(tokens, turned_tokens);
    assert_true(fabs((double)three.count / (double)whole.count / 3 - 1) < 0.15);
    release(&whole);
    release(&turned);
    release(&three);
}

/* What is drawn twice has new content the second time, so that no prefix cache profits from the copy. */
static void test_copies_are_new_content(void **state)
{
    (void)state;
    struct km_workload_settings drawn = trace(SESSIONS);
    drawn.bootstrap_block_s = 30;
    drawn.bootstrap_length = 2;
    struct stream stream = collect(&drawn, 4);
    size_t copies = 0;
    for (size_t i = 0; i < stream.count; i++) {
        const struct km_request *r = &stream.items[i];
        for (size_t j = 0; j < i; j++) {
            const struct km_request *s = &stream.items[j];
            if (s->session != r->session || s->prompt_tokens != r->prompt_tokens ||
                s->output_tokens != r->output_tokens || r->prefix_hash_count == 0)
                continue;
            copies++;
            assert_int_equal(r->prefix_hash_count, s->prefix_hash_count);
            assert_memory_not_equal(r->prefix_hashes, s->prefix_hashes,
                                    r->prefix_hash_count * sizeof(uint64_t));
        }
    }
    assert_true(copies > 10);
    release(&stream);
}

static void test_scaled_lengths(void **state)
{
    (void)state;
    struct km_workload_settings plain = trace(SESSIONS), scaled = plain;
    scaled.output_tokens_scale = 1.2;
    scaled.prompt_tokens_scale = 0.0001;
    struct stream before = collect(&plain, 1), after = collect(&scaled, 1);
    assert_int_equal(before.count, after.count);
    for (size_t i = 0; i < before.count; i++) {
        assert_int_equal(after.items[i].output_tokens, (uint32_t)ceil(before.items[i].output_tokens * 1.2));
        assert_int_equal(after.items[i].prompt_tokens, fmax(1, ceil(before.items[i].prompt_tokens * 0.0001)));
        assert_int_equal(after.items[i].prefix_hash_count, 0);
        assert_true(after.items[i].arrival_ps == before.items[i].arrival_ps);
    }
    release(&before);
    release(&after);
}

/* A request a second for 100 s lasts 100 s: its last request at 99 s and one gap. */
static void test_what_can_be_resampled(void **state)
{
    (void)state;
    static const struct {
        double start_s, end_s, block_s;
        bool possible;
    } table[] = {
        {0, 0, 20, true},   {0, 0, 20.1, false}, {0, 100, 20, true},     {0, 99, 20, false},
        {50, 0, 10, true},  {50, 0, 11, false},  {20, 30, 2, true},      {20, 30, 3, false},
        {1e6, 0, 1, false}, {0, 1e6, 20, true},  {10.5, 10.9, 1, false},
    };
    struct km_recording *recording = km_recording_create();
    for (uint64_t i = 0; i < 100; i++)
        km_recording_append(
            recording, &(struct km_request){
                           .id = i, .arrival_ps = i * KM_PS_PER_S, .prompt_tokens = 1, .output_tokens = 1});
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (km_resample_is_possible(recording, table[i].start_s, table[i].end_s, table[i].block_s) !=
            table[i].possible)
            fail_msg("[%g, %g) in blocks of %g s", table[i].start_s, table[i].end_s, table[i].block_s);
    km_recording_destroy(recording);
}

static void test_bad_settings(void **state)
{
    (void)state;
    static const struct {
        double block_s, length, scale;
        bool has_trace;
        const char *message;
    } cases[] = {
        {-1, 1, 1, true, "workload.bootstrap_block_s: must be >= 0"},
        {20, 1, 1, false, "workload.bootstrap_block_s: there is no trace"},
        {20, -1, 1, true, "workload.bootstrap_length: must be > 0 and at most 1e6"},
        {20, 1, -1, true, "workload.output_tokens_scale: must be > 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct km_workload *workload;
        struct km_error error = {0};
        struct km_workload_settings s = trace(cases[i].has_trace ? CONVERSATION : NULL);
        if (!cases[i].has_trace) {
            s.process = KM_ARRIVAL_POISSON;
            s.rate_per_s = 1;
            s.has_prompt_tokens = s.has_output_tokens = true;
            s.prompt_tokens = s.output_tokens =
                (struct km_distribution){.kind = KM_DIST_CONSTANT, .value = 5};
            s.requests = 10;
        }
        s.bootstrap_block_s = cases[i].block_s;
        s.bootstrap_length = cases[i].length;
        s.output_tokens_scale = cases[i].scale;
        assert_int_equal(km_workload_create(&s, 1, &workload, &error), KM_BAD_INPUT);
        assert_string_equal(error.message, cases[i].message);
    }
    /* An empty window, with a bootstrap too. */
    struct km_workload_settings s = trace(CONVERSATION);
    struct km_workload *workload;
    struct km_error error = {0};
    s.bootstrap_block_s = 20;
    s.start_s = 1e6;
    assert_int_equal(km_workload_create(&s, 1, &workload, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "no request lies between start_s and end_s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recording),
        cmocka_unit_test(test_recording_of_a_broken_trace),
        cmocka_unit_test(test_capture),
        cmocka_unit_test(test_bootstrap),
        cmocka_unit_test(test_bootstrap_length),
        cmocka_unit_test(test_copies_are_new_content),
        cmocka_unit_test(test_what_can_be_resampled),
        cmocka_unit_test(test_scaled_lengths),
        cmocka_unit_test(test_bad_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
