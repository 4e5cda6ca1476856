/* Batches of two data-parallel ranks, as vLLM 0.26 formed them: Qwen3-30B-A3B on two H200, DP 2 with expert
 * parallelism (../shared/data/vllm-h200-more/qwen3-30b-a3b-dp2ep). Skipped without the recording.
 *
 * The recording gives the times: when requests were queued, when batches were formed, how long steps took. Which
 * rank gets which request, and what each puts into each of its batches, must follow. */
#include "base/simtime.h"
#include "support/play.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER KM_SOURCE_DIR "/../shared/data/vllm-h200-more/qwen3-30b-a3b-dp2ep/"
#define MOST   128
#define STEPS  200
#define RANKS  2
#define BUDGET 8192

struct row {
    unsigned prompts, prompt_tokens, decodes;
    double time_s;
};

struct log {
    struct row rows[RANKS][STEPS];
    size_t count[RANKS];
};

struct request {
    double queued_s, scheduled_s;
    unsigned prompt, output;
};

static int by_queue(const void *a, const void *b)
{
    const struct request *x = a, *y = b;
    return (x->queued_s > y->queued_s) - (x->queued_s < y->queued_s);
}

static FILE *open_csv(const char *name, const char *columns)
{
    char path[512], line[512];
    snprintf(path, sizeof path, FOLDER "%s.csv", name);
    FILE *file = fopen(path, "r");
    if (file) {
        assert_non_null(fgets(line, sizeof line, file));
        assert_non_null(strstr(line, columns));
    }
    return file;
}

static bool read_requests(const char *name, struct request *out, size_t count)
{
    char line[512];
    FILE *file = open_csv(name, "sent_s,queued_s,scheduled_s,first_token_s");
    for (size_t i = 0; file && i < count; i++) {
        assert_non_null(fgets(line, sizeof line, file));
        assert_int_equal(sscanf(line, "%*f,%u,%u,%*u,%*u,%*f,%lf,%lf", &out[i].prompt, &out[i].output,
                                &out[i].queued_s, &out[i].scheduled_s),
                         4);
    }
    if (!file)
        return false;
    fclose(file);
    qsort(out, count, sizeof *out, by_queue);
    return true;
}

static void read_steps(const char *name, struct log *out)
{
    char line[512];
    FILE *file = open_csv(name, "prefill_requests,prefill_tokens,decode_requests,decode_tokens,elapsed_ms,"
                                "preempted,engine");
    assert_non_null(file);
    *out = (struct log){0};
    while (fgets(line, sizeof line, file)) {
        struct row row;
        unsigned engine;
        if (strstr(line, ",-1,-1,-1,-1,-1,")) /* a dummy batch of both */
            continue;
        assert_int_equal(sscanf(line, "%lf,%*u,%*u,%*f,%u,%u,%u,%*u,%*f,%*u,%u", &row.time_s, &row.prompts,
                                &row.prompt_tokens, &row.decodes, &engine),
                         5);
        assert_true(engine < RANKS && out->count[engine] < STEPS);
        out->rows[engine][out->count[engine]++] = row;
    }
    fclose(file);
}

/* --- two ranks that are told how long each of their steps takes ------------------------------------------ */

struct told {
    uint64_t step_ps[STEPS];
    size_t calls; /* both ranks are in every step */
};

static enum km_status run(void *state, const struct km_step *step, struct km_step_time *out,
                          struct km_error *error)
{
    struct told *told = state;
    (void)step, (void)error;
    const size_t number = told->calls++ / RANKS;
    assert_true(number < STEPS);
    *out = (struct km_step_time){.host.captured = true, .host.workers = true};
    out->host.form_ps =
        number == 0 ? told->step_ps[STEPS - 1] : 0; /* of the first, which meets a cold engine */
    out->stage_ps[0] = told->step_ps[number];
    return KM_OK;
}

static const struct km_executor told_times = {.entry = {"told", "steps as long as they are told"},
                                              .run = run};

static void stepped(void *context, const struct km_step_record *record)
{
    struct log *log = context;
    assert_true(record->rank < RANKS && log->count[record->rank] < STEPS);
    log->rows[record->rank][log->count[record->rank]++] =
        (struct row){.prompts = record->prefill_requests,
                     .prompt_tokens = record->prefill_tokens,
                     .decodes = record->decode_requests,
                     .time_s = (double)record->now_ps * 1e-12};
}

static void play_ranks(const struct request *requests, size_t count, struct told *told, uint64_t wake_ps,
                       struct log *out)
{
    struct scripted script[MOST];
    struct played played[MOST];
    struct ending ending;
    for (size_t i = 0; i < count; i++)
        script[i] =
            (struct scripted){km_ps_from_s(requests[i].queued_s), requests[i].prompt, requests[i].output};
    const struct km_replica_config config = {
        .ranks = RANKS,
        .rank_wake_ps = wake_ps,
        .policy = km_batching_find("continuous"),
        .batching = {.max_num_seqs = 256, .max_num_batched_tokens = BUDGET, .enable_chunked_prefill = true},
        .kv_manager = km_kv_find("paged"),
        .kv = {.capacity_blocks = 126124 / RANKS, .block_size = 16, .max_model_len = 40960},
        .executor = &told_times,
        .executor_state = told,
        .pace = {.stages = 1, .overlapped = true},
        .patience_ps = KM_PS_NEVER,
        .stepped = stepped,
        .step_context = out,
    };
    *out = (struct log){0};
    play(&config, script, count, played, &ending, NULL);
    assert_null(ending.complaint);
}

/* --- 16 requests: every row of both ranks ------------------------------------------------------------------ */

static void burst_of_16(void **state)
{
    (void)state;
    enum { COUNT = 16 };
    struct request requests[COUNT];
    struct log recorded, played;
    if (!read_requests("burst_16_256_64", requests, COUNT))
        skip();
    read_steps("burst_16_256_64-steps", &recorded);
    /* Batches are formed when the later of both ranks formed its own: 4, then 9, then 3 requests. */
    const double formed_s[] = {requests[3].scheduled_s, requests[12].scheduled_s, requests[15].scheduled_s};
    struct told told = {0};
    told.step_ps[STEPS - 1] = km_ps_from_s(formed_s[1] - formed_s[0]); /* forming the first */
    told.step_ps[0] = km_ps_from_s(formed_s[2] - formed_s[1]); /* its results let the third be formed */
    for (size_t i = 1; i < recorded.count[0]; i++)
        told.step_ps[i] = km_ps_from_s(fmax(recorded.rows[0][i].time_s, recorded.rows[1][i].time_s) -
                                       fmax(recorded.rows[0][i - 1].time_s, recorded.rows[1][i - 1].time_s));
    play_ranks(requests, COUNT, &told, km_ps_from_s(formed_s[0] - requests[0].queued_s), &played);
    for (int r = 0; r < RANKS; r++) {
        assert_int_equal(played.count[r], recorded.count[r]);
        for (size_t i = 0; i < played.count[r]; i++) {
            const struct row *p = &played.rows[r][i], *q = &recorded.rows[r][i];
            if (p->prompts != q->prompts || p->prompt_tokens != q->prompt_tokens || p->decodes != q->decodes)
                fail_msg(
                    "rank %d, step %zu: %u prompts of %u tokens and %u decodes, recorded %u of %u and %u", r,
                    i + 1, p->prompts, p->prompt_tokens, p->decodes, q->prompts, q->prompt_tokens,
                    q->decodes);
        }
    }
}

/* --- 128 requests: each rank fills a budget of its own ------------------------------------------------------ */

/* With more to read, a rank's step computes its whole budget, but for what does not end at a prompt's first
 * tokens; and in the end each decodes half of all. */
static void expect_own_budgets(const struct log *log, const char *whose)
{
    for (int r = 0; r < RANKS; r++) {
        unsigned full = 0, prompt_tokens = 0;
        bool halves = false;
        for (size_t i = 0; i < log->count[r]; i++) {
            const struct row *row = &log->rows[r][i];
            const unsigned tokens = row->prompt_tokens + row->decodes;
            prompt_tokens += row->prompt_tokens;
            full += tokens == BUDGET;
            halves = halves || (row->decodes == 64 && row->prompts == 0);
            if (tokens > BUDGET || row->decodes > 64)
                fail_msg("%s: rank %d, step %zu: %u tokens, %u decodes", whose, r, i + 1, tokens,
                         row->decodes);
        }
        assert_int_equal(prompt_tokens, 64 * 512);
        assert_true(full >= 3);
        assert_true(halves);
    }
}

static void burst_of_128(void **state)
{
    (void)state;
    enum { COUNT = 128 };
    struct request requests[COUNT];
    struct log recorded, played;
    if (!read_requests("burst_128_512_64", requests, COUNT))
        skip();
    read_steps("burst_128_512_64-steps", &recorded);
    struct told told = {0};
    for (size_t i = 0; i < STEPS; i++)
        told.step_ps[i] = km_ps_from_s(i < 6 ? 0.145 : 0.0127);
    play_ranks(requests, COUNT, &told, km_ps_from_s(0.001), &played);
    expect_own_budgets(&recorded, "recorded");
    expect_own_budgets(&played, "played");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(burst_of_16),
        cmocka_unit_test(burst_of_128),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
