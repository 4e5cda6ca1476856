#include "support/check.h"
#include "support/reading.h"
#include "workload/trace/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define AZURE    KM_SOURCE_DIR "/../shared/data/traces/azure-conv-2023.csv"
#define MOONCAKE KM_SOURCE_DIR "/../shared/data/traces/mooncake-conversation.jsonl"

/* --- recorded traces ----------------------------------------------------------------------------------- */

static struct km_trace_stats *stats_of(const char *path)
{
    struct km_trace_reader *reader;
    struct km_request r;
    if (km_trace_open(path, NULL, &reader, NULL) != KM_OK)
        skip();
    struct km_trace_stats *stats = km_trace_stats_create();
    while (next(reader, &r)) {
        km_trace_stats_add(stats, &r);
        km_request_release(&r);
    }
    assert_true(km_trace_progress(reader) == 1);
    km_trace_close(reader);
    return stats;
}

static void test_recorded_azure(void **state)
{
    (void)state;
    struct km_trace_stats *stats = stats_of(AZURE);
    struct km_trace_summary s;
    km_trace_stats_summarize(stats, &s);
    assert_int_equal(s.requests, 19366);
    assert_within(km_token_counts_mean(s.prompt), 1154.6974, 1e-4);
    assert_within(km_token_counts_mean(s.output), 211.1259, 1e-4);
    assert_int_equal(s.prompt->max, 14050);
    assert_int_equal(s.output->max, 1000);
    assert_int_equal(s.output->tokens, 4088665);
    assert_int_equal(km_token_counts_quantile(s.prompt, 0.5), 1020); /* the paper's medians */
    assert_int_equal(km_token_counts_quantile(s.output, 0.5), 129);
    assert_within(s.span_s, 3501.721937, 1e-9); /* 18:15:46.68059 to 19:14:08.402527 */
    assert_int_equal(s.blocks, 0);
    km_trace_stats_destroy(stats);
}

static void test_recorded_mooncake(void **state)
{
    (void)state;
    struct km_trace_stats *stats = stats_of(MOONCAKE);
    struct km_trace_summary s;
    km_trace_stats_summarize(stats, &s);
    assert_int_equal(s.requests, 12031);
    assert_int_equal(s.hashed_requests, 12031);
    assert_int_equal(s.distinct_blocks, 182790); /* hashes are numbered from 0 to 182789 */
    assert_int_equal(s.blocks, 288500);
    assert_within(s.span_s, 3536.999, 1e-9);
    km_trace_stats_destroy(stats);
}

static void test_recorded_rewritten(void **state)
{
    (void)state;
    struct km_trace_reader *reader;
    if (km_trace_open(MOONCAKE, NULL, &reader, NULL) != KM_OK)
        skip();
    char *text = rewrite(reader, format_named("mooncake"));
    FILE *file = fopen(MOONCAKE, "rb");
    char *original = malloc(4 << 20);
    size_t bytes = fread(original, 1, (4 << 20) - 1, file);
    original[bytes] = '\0';
    fclose(file);
    assert_string_equal(text, original);
    free(text);
    free(original);
}

/* --- statistics ---------------------------------------------------------------------------------------- */

static void test_statistics(void **state)
{
    (void)state;
    /* Sessions of known sharing: request 2 finds both blocks of request 1, request 3 only the first, as its
     * second differs and the third, though seen, comes after a miss. */
    struct km_trace_reader *reader =
        open_text("arrival_s,prompt_tokens,output_tokens,session,class,prefix_hashes\n"
                  "0,1000,10,1,,0 1\n"
                  "1,1500,20,1,gold,0 1 2\n"
                  "3,1500,30,2,gold,0 9 2\n"
                  "3,1,40,,,\n");
    struct km_trace_stats *stats = km_trace_stats_create();
    struct km_request r;
    struct km_trace_summary s;
    while (next(reader, &r)) {
        km_trace_stats_add(stats, &r);
        km_request_release(&r);
    }
    km_trace_stats_summarize(stats, &s);
    assert_int_equal(s.blocks, 8);
    assert_int_equal(s.hit_blocks, 3);
    assert_int_equal(s.distinct_blocks, 4);
    assert_int_equal(s.hashed_requests, 3);
    assert_int_equal(s.sessions, 2);
    assert_int_equal(s.session_requests, 3);
    assert_int_equal(km_trace_stats_class(stats, 1), 2);
    assert_within(s.rate_per_s, 1, 1e-12);
    assert_within(s.gap_cv, 0.816496580927726, 1e-12); /* gaps 1, 2, 0: variance 2/3 */
    assert_int_equal(s.dispersion[0].windows, 3);      /* counts 1, 1, 0: variance 1/3, mean 2/3 */
    assert_within(s.dispersion[0].index, 0.5, 1e-12);
    assert_int_equal(km_token_counts_quantile(s.output, 0.5), 20);
    assert_int_equal(km_token_counts_quantile(s.output, 0.51), 30);
    assert_int_equal(km_token_counts_quantile(s.output, 1), 40);
    assert_within(km_token_counts_sd(s.output), 12.9099444873581, 1e-9);
    double requests = 0;
    for (size_t i = 0; i < s.rate_count; i++)
        requests += s.rates_per_s[i] *
                    (i + 1 < s.rate_count ? s.rate_window_s : s.span_s - s.rate_window_s * (double)i);
    assert_within(requests, 4, 1e-9);
    km_trace_stats_destroy(stats);
    km_trace_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_azure),
        cmocka_unit_test(test_recorded_mooncake),
        cmocka_unit_test(test_recorded_rewritten),
        cmocka_unit_test(test_statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
