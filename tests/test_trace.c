#include "support/reading.h"

#include "base/simtime.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- broken traces ------------------------------------------------------------------------------------- */

static const struct {
    const char *file, *message;
} broken[] = {
    {"empty.csv", ": the trace is empty"},
    {"unknown.csv",
     ":1: not a known trace: expected a kingman or Azure CSV header or a Mooncake JSON object"},
    {"missing-column.csv", ":1: column output_tokens is missing"},
    {"misspelt-column.csv", ":1:11: unknown column \"prompt_token\"; did you mean prompt_tokens?"},
    {"repeated-column.csv", ":1:39: column arrival_s is there twice"},
    {"zero-output.csv", ":3:5: output_tokens: expected an integer from 1 to 1073741823, got \"0\""},
    {"negative-prompt.csv", ":2:3: prompt_tokens: expected an integer from 1 to 1073741823, got \"-5\""},
    {"absurd-tokens.csv",
     ":2:5: output_tokens: expected an integer from 1 to 1073741823, got \"99999999999\""},
    {"bad-time.csv", ":3:1: arrival_s: expected seconds >= 0, got \"1.5s\""},
    {"negative-time.csv", ":2:1: arrival_s: expected seconds >= 0, got \"-1\""},
    {"nan-time.csv", ":2:1: arrival_s: expected seconds >= 0, got \"nan\""},
    {"short-line.csv", ":3:4: expected 3 fields, got 2"},
    {"long-line.csv", ":2:7: more fields than the header's 3 columns"},
    {"quoted.csv", ":2:7: quoted fields are not supported"},
    {"far-away.csv", ":3: more than 52 days after the first line's time"},
    {"bad-hash.csv", ":2:12: prefix_hashes: expected integers from 0 to 2^64-1, got \"x\""},
    {"many-hashes.csv", ":2:9: prefix_hashes: 2 hashes, but 512 prompt tokens have only 1 blocks of 512"},
    {"bad-priority.csv", ":2:9: priority: expected an integer from -2^31 to 2^31-1, got \"2147483648\""},
    {"bad-max-tokens.csv", ":3:9: max_tokens: 2 is less than output_tokens, 3"},
    {"bad-session.csv", ":2:9: session: expected an integer >= 0, got \"-2\""},
    {"nul.csv", ":2:4: a NUL byte: not a text file"},
    {"azure-day.csv",
     ":2:1: TIMESTAMP: expected YYYY-MM-DD HH:MM:SS[.fraction][+HH:MM], got \"2023-02-29 00:00:00.0\""},
    {"azure-stamp.csv",
     ":2:1: TIMESTAMP: expected YYYY-MM-DD HH:MM:SS[.fraction][+HH:MM], got \"2023-11-16 18:15\""},
    {"azure-column.csv", ":1:25: unknown column \"Generated\"; did you mean GeneratedTokens?"},
    {"truncated.jsonl", ":2:28: the text ends here, in the middle of a value"},
    {"json-missing.jsonl", ":1:1: output_length: missing"},
    {"json-type.jsonl", ":1:34: input_length: expected an integer from 1 to 1073741823, got \"5\""},
    {"json-zero.jsonl", ":2:54: output_length: expected an integer from 1 to 1073741823, got 0"},
    {"json-hashes.jsonl", ":1:69: hash_ids: 2 hashes, but 5 tokens have only 1 blocks of 512"},
    {"json-hash.jsonl", ":1:70: hash_ids[0]: expected an integer from 0 to 9007199254740992, got 1.5"},
    {"json-array.jsonl", ":2:1: expected an object"},
};

static void test_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        char path[512], text[1200], expected[1200];
        struct km_trace_reader *reader;
        struct km_error error = {0};
        struct km_request request;
        bool found = true;
        snprintf(path, sizeof path, KM_SOURCE_DIR "/tests/data/traces/%s", broken[i].file);
        enum km_status status = km_trace_open(path, NULL, &reader, &error);
        while (status == KM_OK && found) {
            status = km_trace_next(reader, &request, &found, &error);
            if (status == KM_OK && found)
                km_request_release(&request);
        }
        assert_int_equal(status, KM_BAD_INPUT);
        km_error_format(&error, text, sizeof text);
        snprintf(expected, sizeof expected, "%s%s", path, broken[i].message);
        assert_string_equal(text, expected);
        km_trace_close(reader);
    }
}

static void test_no_file(void **state)
{
    (void)state;
    struct km_trace_reader *reader;
    struct km_error error = {0};
    assert_int_equal(km_trace_open("no/such/trace.csv", NULL, &reader, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "cannot open: No such file or directory");
    assert_int_equal(km_trace_open(KM_SOURCE_DIR "/tests", NULL, &reader, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "cannot read: Is a directory");
    assert_int_equal(
        km_trace_open(KM_SOURCE_DIR "/tests/data/traces/azure-2024.csv", "azzure", &reader, &error),
        KM_BAD_INPUT);
    assert_string_equal(error.message, "unknown trace format \"azzure\"; did you mean azure?");
}

/* --- scanning ------------------------------------------------------------------------------------------ */

static void test_seconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t s;
        uint64_t ps;
    } good[] = {
        {"0", 0, 0},
        {"12", 12, 0},
        {"12.", 12, 0},
        {".5", 0, 500000000000},
        {"1.000000000001", 1, 1},
        {"1.0000000000014999", 1, 1},
        {"1.0000000000015", 1, 2},
        {"0.9999999999995", 1, 0},
        {"1700000000.123456789", 1700000000, 123456789000},
        {"1e-05", 0, 10000000},
        {"1.5E+3", 1500, 0},
        {"123456e-3", 123, 456000000000},
        {"1e-300", 0, 0},
        {"0e300", 0, 0},
        {"000000000000000000001.5", 1, 500000000000},
    };
    static const char *const bad[] = {"",      ".",  "1e",  "e5",   "1e+",  "-1",    "+1",
                                      "1.2.3", "1 ", "inf", "0x10", "1e12", "1e300", "99999999999999999999"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct km_trace_time time;
        assert_true(km_scan_seconds((struct km_span){good[i].text, strlen(good[i].text)}, &time));
        assert_int_equal(time.s, good[i].s);
        assert_int_equal(time.ps, good[i].ps);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct km_trace_time time;
        assert_false(km_scan_seconds((struct km_span){bad[i], strlen(bad[i])}, &time));
    }
}

static void test_timestamps(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t s;
        uint64_t ps;
    } good[] = {
        {"1970-01-01 00:00:00", 0, 0},
        {"1969-12-31 23:59:59", -1, 0},
        {"2000-02-29 00:00:00", 951782400, 0},
        {"2000-03-01 00:00:00", 951868800, 0},
        {"2023-11-16 18:15:46.6805900", 1700158546, 680590000000},
        {"2024-05-10 00:00:00.009930+00:00", 1715299200, 9930000000},
        {"2024-05-10T02:00:00+02:00", 1715299200, 0},
        {"2024-05-09T23:00:00Z", 1715295600, 0},
        {"1900-03-01 00:00:00", -2203891200, 0},
    };
    static const char *const bad[] = {
        "2023-13-01 00:00:00",  "2023-00-01 00:00:00",      "2023-02-29 00:00:00", "1900-02-29 00:00:00",
        "2023-01-01 24:00:00",  "2023-01-01 00:60:00",      "2023-01-01 00:00:60", "2023-01-01 00:00:00.",
        "2023-01-01 00:00:00 ", "2023-01-01 00:00:00+0000", "0000-01-01 00:00:00", "2023/01/01 00:00:00"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct km_trace_time time;
        assert_true(km_scan_timestamp((struct km_span){good[i].text, strlen(good[i].text)}, &time));
        assert_int_equal(time.s, good[i].s);
        assert_int_equal(time.ps, good[i].ps);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct km_trace_time time;
        assert_false(km_scan_timestamp((struct km_span){bad[i], strlen(bad[i])}, &time));
    }
}

/* --- reading ------------------------------------------------------------------------------------------- */

static void test_azure_2024(void **state)
{
    (void)state;
    struct km_trace_reader *reader;
    struct km_request r;
    assert_int_equal(km_trace_open(KM_SOURCE_DIR "/tests/data/traces/azure-2024.csv", NULL, &reader, NULL),
                     KM_OK);
    assert_string_equal(km_trace_format_of(reader)->entry.name, "azure");
    static const struct {
        uint64_t arrival_ps;
        uint32_t prompt, output;
    } expected[] = {{0, 2162, 5}, {990070000000, 2399, 6}, {2490070000000, 76, 15}};
    for (size_t i = 0; i < 3; i++) {
        assert_true(next(reader, &r));
        assert_int_equal(r.id, i);
        assert_int_equal(r.arrival_ps, expected[i].arrival_ps);
        assert_int_equal(r.prompt_tokens, expected[i].prompt);
        assert_int_equal(r.output_tokens, expected[i].output);
        assert_int_equal(r.session, -1);
        assert_null(r.prefix_hashes);
    }
    assert_false(next(reader, &r));
    km_trace_close(reader);
}

static void test_priority_and_limit(void **state)
{
    (void)state;
    struct km_trace_reader *reader =
        open_text("arrival_s,prompt_tokens,output_tokens,max_tokens,priority\n0,1,2,2,-2147483648\n1,1,2,,\n"
                  "2,1,2,1000,7\n");
    static const struct {
        int32_t priority;
        uint32_t max_tokens;
    } expected[] = {{INT32_MIN, 2}, {0, 0}, {7, 1000}};
    struct km_request r;
    assert_int_equal(km_trace_fields_of(reader), KM_TRACE_PRIORITY | KM_TRACE_MAX_TOKENS);
    char text[200];
    FILE *out = fmemopen(text, sizeof text, "w");
    assert_non_null(out);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct km_error error;
        assert_true(next(reader, &r));
        assert_int_equal(r.priority, expected[i].priority);
        assert_int_equal(r.max_tokens, expected[i].max_tokens);
        assert_int_equal(
            format_named("kingman")->write(out, KM_TRACE_PRIORITY | KM_TRACE_MAX_TOKENS, &r, "", &error),
            KM_OK);
    }
    fclose(out);
    assert_string_equal(text, "0,1,2,-2147483648,2\n1,1,2,0,\n2,1,2,7,1000\n");
    km_trace_close(reader);
}

static void test_optional_columns(void **state)
{
    (void)state;
    struct km_trace_reader *reader =
        open_text("\xef\xbb\xbfprefix_hashes, class,output_tokens,id,prompt_tokens,session,arrival_s\r\n"
                  "\r\n"
                  "18446744073709551615  7,gold,3,a b,600,12,5\r\n"
                  " , ,4,,1,,5.25\r\n"
                  "0,silver,5,c,2,0,6\r\n"
                  "0,gold,5,c,2,0,6");
    struct km_request r;
    assert_int_equal(km_trace_fields_of(reader),
                     KM_TRACE_ID | KM_TRACE_SESSION | KM_TRACE_CLASS | KM_TRACE_HASHES);
    assert_true(next(reader, &r));
    assert_int_equal(r.arrival_ps, 0);
    assert_string_equal(r.label, "a b");
    assert_int_equal(r.session, 12);
    assert_int_equal(r.class_index, 1);
    assert_int_equal(r.prefix_hash_count, 2);
    assert_true(r.prefix_hashes[0] == UINT64_MAX);
    assert_int_equal(r.prefix_hashes[1], 7);
    km_request_release(&r);
    assert_true(next(reader, &r));
    assert_int_equal(r.arrival_ps, 250000000000);
    assert_null(r.label);
    assert_int_equal(r.session, -1);
    assert_int_equal(r.class_index, 0);
    assert_null(r.prefix_hashes);
    assert_true(next(reader, &r));
    assert_int_equal(r.class_index, 2);
    km_request_release(&r);
    assert_true(next(reader, &r));
    assert_int_equal(r.class_index, 1);
    km_request_release(&r);
    assert_false(next(reader, &r));
    assert_int_equal(km_trace_class_count(reader), 3);
    assert_string_equal(km_trace_class_name(reader, 0), "");
    assert_string_equal(km_trace_class_name(reader, 2), "silver");
    km_trace_close(reader);
}

static void test_unsorted(void **state)
{
    (void)state;
    /* Equal times keep the order of the lines; the earliest time is 0 wherever it stands. */
    struct km_trace_reader *reader = open_text("arrival_s,prompt_tokens,output_tokens\n"
                                               "10,1,1\n12,2,1\n9,3,1\n12,4,1\n10,5,1\n");
    static const uint32_t order[] = {3, 1, 5, 2, 4};
    static const uint64_t seconds[] = {0, 1, 1, 3, 3};
    struct km_request r;
    for (size_t i = 0; i < 5; i++) {
        assert_true(next(reader, &r));
        assert_int_equal(r.prompt_tokens, order[i]);
        assert_int_equal(r.arrival_ps, seconds[i] * KM_PS_PER_S);
        assert_int_equal(r.id, i);
    }
    assert_false(next(reader, &r));
    km_trace_close(reader);
}

/* Random displacements within the window are mended, in the same order as a stable sort. */
static void test_shuffled(void **state)
{
    (void)state;
    enum { N = 20000 };
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    fputs("arrival_s,prompt_tokens,output_tokens\n", out);
    srand(7);
    for (int i = 0; i < N; i++)
        fprintf(out, "%d,%d,1\n", i + rand() % 3000, i + 1);
    fclose(out);
    struct km_trace_reader *reader = open_text(text);
    struct km_request r;
    uint64_t last_ps = 0, sum = 0, count = 0;
    uint32_t last_prompt = 0;
    for (; next(reader, &r); count++) {
        assert_true(r.arrival_ps > last_ps || (r.arrival_ps == last_ps && r.prompt_tokens > last_prompt));
        last_ps = r.arrival_ps;
        last_prompt = r.prompt_tokens;
        sum += r.prompt_tokens;
    }
    assert_int_equal(count, N);
    assert_int_equal(sum, (uint64_t)N * (N + 1) / 2);
    km_trace_close(reader);
    free(text);
}

static void test_hopelessly_unsorted(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    fputs("arrival_s,prompt_tokens,output_tokens\n", out);
    for (int i = 0; i < 5000; i++)
        fprintf(out, "%d,1,1\n", i + 10);
    fputs("10.5,1,1\n", out);
    fclose(out);
    struct km_trace_reader *reader = open_text(text);
    struct km_request r;
    struct km_error error = {0};
    bool found = true;
    enum km_status status = KM_OK;
    while (status == KM_OK && found)
        status = km_trace_next(reader, &r, &found, &error);
    assert_int_equal(status, KM_BAD_INPUT);
    assert_int_equal(error.line, 5002);
    assert_string_equal(error.message,
                        "arrives 903.500000 s before a request more than 4096 requests ahead: the "
                        "trace is not sorted by time");
    km_trace_close(reader);
    free(text);
}

static void test_long_line(void **state)
{
    (void)state;
    /* Longer than the first buffer is fine, longer than the limit is not. */
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    fputs("arrival_s,prompt_tokens,output_tokens,prefix_hashes\n0,51200000,1,", out);
    for (int i = 0; i < 100000; i++)
        fprintf(out, "%d ", i + 1000000);
    fputs("\n1,1,1,\n", out);
    fclose(out);
    struct km_trace_reader *reader = open_text(text);
    struct km_request r;
    assert_true(next(reader, &r));
    assert_int_equal(r.prefix_hash_count, 100000);
    assert_int_equal(r.prefix_hashes[99999], 1099999);
    km_request_release(&r);
    assert_true(next(reader, &r));
    assert_false(next(reader, &r));
    km_trace_close(reader);
    free(text);

    text = NULL;
    out = open_memstream(&text, &bytes);
    fputs("arrival_s,prompt_tokens,output_tokens\n0,1,1\n", out);
    for (size_t i = 0; i < KM_TRACE_LINE_BYTES + 2; i++)
        fputc('1', out);
    fclose(out);
    reader = open_text(text);
    struct km_error error = {0};
    bool found;
    assert_int_equal(km_trace_next(reader, &r, &found, &error), KM_BAD_INPUT);
    assert_int_equal(error.line, 3);
    assert_string_equal(error.message, "the line is longer than 16777216 bytes");
    km_trace_close(reader);
    free(text);
}

static void test_many_classes(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    fputs("arrival_s,prompt_tokens,output_tokens,class\n", out);
    for (unsigned i = 0; i < KM_TRACE_CLASS_LIMIT; i++)
        fprintf(out, "0,1,1,tenant-%u\n", i);
    fclose(out);
    struct km_trace_reader *reader = open_text(text);
    struct km_request r;
    struct km_error error = {0};
    bool found = true;
    enum km_status status = KM_OK;
    while (status == KM_OK && found)
        status = km_trace_next(reader, &r, &found, &error);
    assert_int_equal(status, KM_BAD_INPUT);
    assert_int_equal(error.line, 1025); /* 1023 names and the default */
    assert_int_equal(error.column, 7);
    assert_string_equal(error.message, "class: more than 1024 different classes");
    km_trace_close(reader);
    free(text);
}

/* --- round trips --------------------------------------------------------------------------------------- */

/* For every format: what it writes it recognises as its own and writes again as the same bytes. */
static void test_round_trip(void **state)
{
    (void)state;
    static const char source[] = "arrival_s,prompt_tokens,output_tokens,id,session,class,prefix_hashes\n"
                                 "0,600,1,x,3,gold,1 2\n"
                                 "0.0000001,1,1,y,,,\n"
                                 "86400.1234567,1073741823,1073741823,z,9,silver,9007199254740992\n"
                                 "3000000.5,5,6,,,gold,\n";
    for (size_t i = 0; km_trace_registry[i]; i++) {
        const struct km_trace_format *format = (const struct km_trace_format *)km_trace_registry[i];
        char *once = rewrite(open_text(source), format);
        struct km_trace_reader *again = open_text(once);
        assert_string_equal(km_trace_format_of(again)->entry.name, format->entry.name);
        char *twice = rewrite(again, format);
        assert_string_equal(once, twice);
        struct km_trace_reader *left = open_text(source), *right = open_text(once);
        struct km_request a, b;
        while (next(left, &a)) {
            assert_true(next(right, &b));
            assert_int_equal(a.arrival_ps, b.arrival_ps);
            assert_int_equal(a.prompt_tokens, b.prompt_tokens);
            assert_int_equal(a.output_tokens, b.output_tokens);
            km_request_release(&a);
            km_request_release(&b);
        }
        assert_false(next(right, &b));
        km_trace_close(left);
        km_trace_close(right);
        free(once);
        free(twice);
    }
    char *same = rewrite(open_text(source), format_named("kingman"));
    assert_string_equal(same, source);
    free(same);
}

static void test_hash_beyond_json(void **state)
{
    (void)state;
    uint64_t hash = ((uint64_t)1 << 53) + 1;
    struct km_request r = {
        .prompt_tokens = 1, .output_tokens = 1, .prefix_hashes = &hash, .prefix_hash_count = 1};
    struct km_error error = {0};
    FILE *out = fopen("/dev/null", "wb");
    assert_int_equal(format_named("mooncake")->write(out, KM_TRACE_HASHES, &r, "", &error), KM_BAD_INPUT);
    assert_string_equal(
        error.message, "request 0: prefix hash 9007199254740993 is above 2^53, more than JSON holds exactly");
    fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken),           cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_seconds),          cmocka_unit_test(test_timestamps),
        cmocka_unit_test(test_azure_2024),       cmocka_unit_test(test_priority_and_limit),
        cmocka_unit_test(test_optional_columns), cmocka_unit_test(test_unsorted),
        cmocka_unit_test(test_shuffled),         cmocka_unit_test(test_hopelessly_unsorted),
        cmocka_unit_test(test_long_line),        cmocka_unit_test(test_many_classes),
        cmocka_unit_test(test_round_trip),       cmocka_unit_test(test_hash_beyond_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
