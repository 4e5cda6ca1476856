/* Reading step logs and requests, and what they say together. */
#include "calibration/engine_file.h"
#include "calibration/steplog/run.h"

#include "base/file.h"
#include "engine/engine.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *put(const char *name, const char *text)
{
    static char path[256];
    snprintf(path, sizeof path, "/tmp/km-steps-%d-%s", (int)getpid(), name);
    FILE *stream = fopen(path, "w");
    assert_non_null(stream);
    fputs(text, stream);
    fclose(stream);
    return path;
}

/* The message after the path. */
static void assert_message(const struct km_error *error, const char *path, const char *expected)
{
    char line[1200];
    size_t length = strlen(path);
    km_error_format(error, line, sizeof line);
    if (strncmp(line, path, length) != 0 || strcmp(line + length, expected) != 0)
        fail_msg("got \"%s\", expected FILE%s", line, expected);
}

static void log_faults(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", ":1: no header: the file is empty"},
        {"time_s,prefill_tokens,decode_requests\n", ":1: no column \"prefill_requests\""},
        {"time_s,prefill_requests,decode_requests\n", ":1: no column \"prefill_tokens\""},
        {"time_s,prefill_requests,prefill_tokens\n", ":1: no column \"decode_requests\""},
        {"prefill_requests,prefill_tokens,decode_requests\n",
         ":1: no column \"time_s\" (nor \"elapsed_ms\")"},
        {"time_s,prefill_requests,prefill_tokens,decode_requests\n", ": there is no step in it"},
        {"time_s,prefill_requests,prefill_tokens,decode_requests\n0.1,-1,-1,-1\n0.2,0,0,0\n",
         ": there is no step in it"},
        {"time_s,prefill_requests,prefill_tokens,decode_requests\n0.1,0,0\n",
         ":2: 3 cells under a header of 4"},
        {"time_s,prefill_requests,prefill_tokens,decode_requests\nnan,0,0,1\n",
         ":2:1: time_s: expected a number, got \"nan\""},
        {"time_s,prefill_requests,prefill_tokens,decode_requests\n0.1,0,0,1.5\n",
         ":2:9: decode_requests: expected a whole number, got 1.5"},
        {"time_s,prefill_requests,prefill_tokens,decode_requests\n0.1,-2,0,1\n",
         ":2:5: prefill_requests: expected a number from -1 to 65536, got -2"},
        {"time_s,prefill_requests,prefill_tokens,decode_requests\n0.1,2,1,1\n",
         ":2:7: prefill_tokens: 1 tokens of 2 prompts"},
        {"time_s,prefill_requests,prefill_tokens,decode_requests\n0.1,0,7,1\n",
         ":2:5: prefill_requests: 7 prompt tokens of no prompt"},
        {"time_s,prefill_requests,prefill_tokens,decode_requests\n0.2,0,0,1\n0.1,0,0,1\n",
         ":3:1: time_s: 0.100000 comes after 0.200000: steps stand in order"},
        {"time_s,prefill_requests,prefill_tokens,decode_requests,kv_usage\n0.1,0,0,1,1.5\n",
         ":2:11: kv_usage: expected a number from 0 to 1, got 1.5"},
        {"elapsed_ms,prefill_requests,prefill_tokens,decode_requests\n-1,0,0,1\n",
         ":2:1: elapsed_ms: expected a number from 0 to 1e+09, got -1"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_step_log log;
        struct km_error error = {0};
        const char *path = put("log.csv", cases[i].text);
        assert_int_equal(km_step_log_read(path, &log, &error), KM_BAD_INPUT);
        assert_message(&error, path, cases[i].message);
    }
}

static void request_faults(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"input_tokens,output_tokens,scheduled_s,first_token_s\n", ":1: no column \"last_token_s\""},
        {"input_tokens,output_tokens,scheduled_s,first_token_s,last_token_s\n",
         ": there is no request in it"},
        {"input_tokens,output_tokens,scheduled_s,first_token_s,last_token_s\n0,1,1,2,3\n",
         ":2:1: input_tokens: a request has at least one token"},
        {"input_tokens,output_tokens,scheduled_s,first_token_s,last_token_s\n5,1,3,2,3\n",
         ":2:7: first_token_s: 2.000000 is before scheduled_s, 3.000000"},
        {"input_tokens,output_tokens,scheduled_s,first_token_s,last_token_s\n5,2,1,3,2\n",
         ":2:9: last_token_s: 2.000000 is before first_token_s, 3.000000"},
        {"input_tokens,output_tokens,scheduled_s,first_token_s,last_token_s\n5,2,1,3,\n",
         ":2:9: last_token_s: expected a number, got \"\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_step_requests requests;
        struct km_error error = {0};
        const char *path = put("requests.csv", cases[i].text);
        assert_int_equal(km_step_requests_read(path, &requests, &error), KM_BAD_INPUT);
        assert_message(&error, path, cases[i].message);
    }
}

#define LOG_HEADER     "time_s,prefill_requests,prefill_tokens,decode_requests,kv_usage\n"
#define REQUEST_HEADER "input_tokens,output_tokens,scheduled_s,first_token_s,last_token_s\n"

static enum km_status make(const char *log_text, const char *request_text, struct km_recorded_run *run,
                           struct km_error *error)
{
    static char log_path[256], request_path[256];
    struct km_step_log log;
    struct km_step_requests requests = {0};
    snprintf(log_path, sizeof log_path, "%s", put("log.csv", log_text));
    assert_int_equal(km_step_log_read(log_path, &log, error), KM_OK);
    if (request_text) {
        snprintf(request_path, sizeof request_path, "%s", put("requests.csv", request_text));
        assert_int_equal(km_step_requests_read(request_path, &requests, error), KM_OK);
    }
    const struct km_recorded_limits limits = {.kv_tokens = 1000.0, .block_size = 10};
    enum km_status status = km_recorded_run_make(&log, request_text ? &requests : NULL, &limits, run, error);
    km_step_log_release(&log);
    km_step_requests_release(&requests);
    return status;
}

/* Two prompts, the second in two chunks; the lines of requests in the other order. */
static void follows_requests(void **state)
{
    struct km_recorded_run run;
    struct km_error error = {0};
    (void)state;
    assert_int_equal(make(LOG_HEADER "1.0,2,150,0,0\n1.1,1,50,1,0\n1.2,0,0,2,0\n",
                          REQUEST_HEADER "100,2,0.51,1.09,1.19\n100,3,0.5,0.99,1.19\n", &run, &error),
                     KM_OK);
    const struct km_recorded_step *s = run.steps;
    assert_int_equal(run.count, 3);
    assert_true(run.exact);
    assert_int_equal(s[0].shape.chunk_count, 2);
    assert_int_equal(s[0].shape.chunks[0].tokens, 100);
    assert_int_equal(s[0].shape.chunks[1].tokens, 50);
    assert_int_equal(s[0].shape.sampled, 1);
    assert_true(s[0].engine_s == 0.99);
    assert_int_equal(s[1].shape.chunks[0].past, 50);
    assert_int_equal(s[1].shape.sampled, 2);
    assert_int_equal(s[1].shape.decode.sum_context, 101);
    assert_true(s[1].engine_s == 1.09);
    assert_int_equal(s[2].shape.decode.count, 2);
    assert_int_equal(s[2].shape.decode.sum_context, 203);
    assert_int_equal(s[2].shape.decode.max_context, 102);
    km_recorded_run_release(&run);
}

static void requests_that_do_not_fit(void **state)
{
    static const struct {
        const char *log, *requests, *message;
    } cases[] = {
        {LOG_HEADER "1.0,1,100,0,0\n1.1,0,0,1,0\n1.2,0,0,1,0\n", REQUEST_HEADER "100,2,0,1,1.1\n",
         ":4: decode_requests: the requests do not make this step (a preemption, or a request that is "
         "missing or "
         "was aborted?); without --requests the log counts alone"},
        {LOG_HEADER "1.0,2,200,0,0\n", REQUEST_HEADER "100,2,0,1,1.1\n",
         ":2: prefill_requests: the requests do not make this step (a preemption, or a request that is "
         "missing or "
         "was aborted?); without --requests the log counts alone"},
        {LOG_HEADER "1.0,1,200,0,0\n", REQUEST_HEADER "100,2,0,1,1.1\n",
         ":2: prefill_tokens: the requests do not make this step (a preemption, or a request that is missing "
         "or "
         "was aborted?); without --requests the log counts alone"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_recorded_run run;
        struct km_error error = {0};
        char path[256];
        assert_int_equal(make(cases[i].log, cases[i].requests, &run, &error), KM_BAD_INPUT);
        snprintf(path, sizeof path, "/tmp/km-steps-%d-log.csv", (int)getpid());
        assert_message(&error, path, cases[i].message);
    }
}

/* Without requests contexts come from the share of the KV cache that the step before left in use. */
static void guesses_contexts(void **state)
{
    struct km_recorded_run run;
    struct km_error error = {0};
    (void)state;
    assert_int_equal(make(LOG_HEADER "1.0,2,101,0,0.12\n1.1,0,0,2,0.5\n", NULL, &run, &error), KM_OK);
    const struct km_recorded_step *s = run.steps;
    assert_int_equal(s[0].shape.chunks[0].tokens, 51);
    assert_int_equal(s[0].shape.chunks[1].tokens, 50);
    assert_int_equal(s[1].shape.decode.sum_context,
                     110); /* 120 of the 1,000 tokens, less half a block each */
    assert_int_equal(s[1].shape.decode.max_context, 55);
    assert_true(isnan(s[1].engine_s) && !run.exact);
    km_recorded_run_release(&run);
}

static void sums_elapsed(void **state)
{
    struct km_step_log log;
    struct km_error error = {0};
    (void)state;
    const char *path =
        put("log.csv", "elapsed_ms,prefill_requests,prefill_tokens,decode_requests\n5,0,0,1\n7,0,0,1\n");
    assert_int_equal(km_step_log_read(path, &log, &error), KM_OK);
    assert_true(log.summed);
    assert_true(fabs(log.rows[0].time_s - 5e-3) < 1e-12);
    assert_true(fabs(log.rows[1].time_s - 12e-3) < 1e-12);
    km_step_log_release(&log);
}

/* The recorded run: every request's first and last token falls on a step of the log, to the line. */
static void recorded(void **state)
{
    static const char data[] = KM_SOURCE_DIR "/../shared/data/vllm-h200-llama-3.1-8b/";
    static const struct {
        const char *name;
        size_t steps, requests;
    } cases[] = {
        {"conv_1000_400_8", 7339, 400}, {"conv_3000_800_16", 4153, 800}, {"burst_64_2048_64", 80, 64}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char log_path[512], request_path[512];
        struct km_step_log log;
        struct km_step_requests requests;
        struct km_recorded_run run;
        struct km_error error = {0};
        const struct km_recorded_limits limits = {0};
        snprintf(log_path, sizeof log_path, "%s%s-steps.csv", data, cases[i].name);
        snprintf(request_path, sizeof request_path, "%s%s.csv", data, cases[i].name);
        if (!km_file_exists(log_path))
            skip();
        assert_int_equal(km_step_log_read(log_path, &log, &error), KM_OK);
        assert_int_equal(km_step_requests_read(request_path, &requests, &error), KM_OK);
        assert_int_equal(log.count, cases[i].steps);
        assert_int_equal(requests.count, cases[i].requests);
        assert_int_equal(km_recorded_run_make(&log, &requests, &limits, &run, &error), KM_OK);
        double latest_s = 0.0;
        for (size_t k = 0; k < run.count; k++) {
            const struct km_recorded_step *step = &run.steps[k];
            if (isnan(step->engine_s))
                continue;
            assert_true(step->engine_s > latest_s);       /* one clock, in order */
            assert_true(step->engine_s < step->client_s); /* the client hears of it later */
            assert_true(step->client_s - step->engine_s < 10e-3);
            latest_s = step->engine_s;
        }
        km_recorded_run_release(&run);
        km_step_log_release(&log);
        km_step_requests_release(&requests);
    }
}

static const char description[] = "# about it\n"
                                  "name: old\n"
                                  "host:\n"
                                  "  form_step_s: 0.3e-3 # assumed\n"
                                  "kernels: {op_overhead_scale: 4.4, attention_sequence_s: 0}\n";

static void edits_engine(void **state)
{
    const struct km_engine_value values[] = {
        {"name", "new", NULL},
        {"host.form_step_s", "1e-3", "[fit] +- 1"},
        {"host.launch_layer_s", "2e-3", "[fit] +- 2"},
        {"kernels.op_overhead_scale", "5", "[fit] +- 3"},
        {"kernels.decode_tail_share", "0.3", "[fit] +- 4"},
    };
    struct km_text out = {0};
    struct km_error error = {0};
    (void)state;
    const char *path = put("engine.yaml", description);
    assert_int_equal(km_engine_file_edit(path, "first\n\nlast", values, COUNT(values), &out, &error), KM_OK);
    assert_string_equal(km_text_c(&out), "# first\n"
                                         "#\n"
                                         "# last\n"
                                         "# about it\n"
                                         "name: new\n"
                                         "host:\n"
                                         "  launch_layer_s: 2e-3 # [fit] +- 2\n"
                                         "  form_step_s: 1e-3 # [fit] +- 1\n"
                                         "kernels: {decode_tail_share: 0.3, op_overhead_scale: 5, "
                                         "attention_sequence_s: 0}\n");
    km_text_release(&out);
    const struct km_engine_value missing = {"memory.reserve_bytes", "1", NULL};
    assert_int_equal(km_engine_file_edit(path, "", &missing, 1, &out, &error), KM_BAD_INPUT);
    assert_message(&error, path, ":2:1: memory: missing");
    km_text_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_faults),       cmocka_unit_test(request_faults),
        cmocka_unit_test(follows_requests), cmocka_unit_test(requests_that_do_not_fit),
        cmocka_unit_test(guesses_contexts), cmocka_unit_test(sums_elapsed),
        cmocka_unit_test(recorded),         cmocka_unit_test(edits_engine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
