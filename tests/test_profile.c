#include "cost/profile/ideal.h"
#include "cost/profile/profile.h"
#include "support/check.h"
#include "support/shipped.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA KM_SOURCE_DIR "/tests/data/profiles/"

static struct km_profile read_small(const struct km_device *device)
{
    struct km_profile profile;
    struct km_error error;
    must(km_profile_read(DATA "good/small.json", &profile, &error), &error);
    if (device)
        km_profile_bind(&profile, device);
    return profile;
}

/* One message a fault, with its place. */
static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *file, *message;
    } cases[] = {
        {"truncated", "13:84: the text ends here, in the middle of a value"},
        {"empty", "1:1: empty: expected a JSON value"},
        {"array", "1:1: a profile is an object"},
        {"nan", "3:46: expected a value"},
        {"infinite", "3:46: tables.scalar.rows[0][1]: number out of range"},
        {"negative-time", "5:17: tables.gemm.rows[1][3]: expected a number from 0 to 1e+09, got -12"},
        {"zero-time", "4:25: tables.gemm.rows[0][3]: a time must be above 0"},
        {"negative-spread", "4:28: tables.gemm.rows[0][4]: expected a number from 0 to 1e+09, got -1"},
        {"negative-size",
         "4:18: tables.gemm.rows[0][1]: expected an integer from 0 to 9007199254740992, got -4096"},
        {"fraction", "4:23: tables.gemm.rows[0][2]: expected an integer from 0 to 9007199254740992, got 1.5"},
        {"text-for-size",
         "4:13: tables.gemm.rows[0][0]: expected an integer from 0 to 9007199254740992, got \"4096\""},
        {"short-row", "4:12: tables.gemm.rows[0]: expected a row of 3 dims, a time and perhaps a spread"},
        {"long-row", "4:12: tables.gemm.rows[0]: expected a row of 3 dims, a time and perhaps a spread"},
        {"row-is-number", "4:12: tables.gemm.rows[0]: expected a row of 3 dims, a time and perhaps a spread"},
        {"duplicate-rows", "6:4: tables.gemm.rows[2]: the same dims as the row in line 4, column 12"},
        {"version", "1:12: schema: profile version 2 is unknown; this program reads version 1"},
        {"no-version", "1:1: schema: missing"},
        {"no-device", "1:1: device: missing"},
        {"no-source", "1:51: provenance.source: missing"},
        {"kernels-of-number", "1:81: provenance.kernels_of: expected a string, got 7"},
        {"kernels-of-nobody", "1:81: provenance.kernels_of: expected a program's name"},
        {"no-tables", "1:1: tables: missing"},
        {"unknown-key", "1:78: tabels: unknown key"},
        {"unknown-class", "3:9: tables.gem: unknown class of operators"},
        {"unknown-dim", "3:30: tables.scalar.dims[1]: scalar has no dim \"m\""},
        {"missing-dim", "3:19: tables.gemm.dims: gemm needs the dim weights"},
        {"dim-twice", "3:81: tables.gemm.dims[0]: dim n is given twice"},
        {"unknown-word", "3:66: tables.stream.rows[0][0]: unknown kind \"nrom\""},
        {"unknown-format", "3:32: tables.gemm.fixed.weights: unknown weights \"bf17\""},
        {"no-rows", "3:12: tables.scalar.rows: missing"},
        {"table-key", "3:38: tables.scalar.row: unknown key"},
        {"table-is-number", "3:12: tables.scalar: expected a table: an object with dims and rows"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[512], line[1200], expected[1200];
        struct km_profile profile;
        struct km_error error = {0};
        snprintf(path, sizeof path, DATA "bad/%s.json", cases[i].file);
        assert_int_equal(km_profile_read(path, &profile, &error), KM_BAD_INPUT);
        km_error_format(&error, line, sizeof line);
        snprintf(expected, sizeof expected, "%s:%s", path, cases[i].message);
        assert_string_equal(line, expected);
    }
}

static void reads(void **state)
{
    (void)state;
    struct km_profile profile = read_small(NULL);
    const struct km_profile_row *rows = profile.tables[KM_PROFILE_GEMM].rows;
    double value;
    assert_string_equal(profile.device, "h200-sxm");
    assert_null(profile.kernels_of);
    assert_int_equal(profile.tables[KM_PROFILE_GEMM].count, 7);
    assert_int_equal(profile.tables[KM_PROFILE_PREFILL].count, 4);
    assert_int_equal(profile.tables[KM_PROFILE_MOE].count, 0);
    for (size_t i = 1; i < 7; i++) /* sorted, whatever the order of dims in the file */
        assert_true(memcmp(rows[i - 1].dims, rows[i].dims, sizeof rows[i].dims) != 0);
    assert_true(rows[6].dims[KM_GEMM_WEIGHTS] == (double)KM_FP8 && rows[6].dims[KM_GEMM_M] == 16.0 &&
                rows[6].dims[KM_GEMM_N] == 4096.0 && rows[6].us == 8.0);
    assert_true(rows[1].spread_us == 0.1);
    /* left-out dims take their defaults */
    assert_true(profile.tables[KM_PROFILE_PREFILL].rows[0].dims[KM_PREFILL_SEQUENCES] == 1.0);
    assert_true(profile.tables[KM_PROFILE_PREFILL].rows[0].dims[KM_ATTENTION_WINDOW] == 0.0);
    assert_true(km_profile_scalar(&profile, "kernel_graph_us", &value) && value == 1.1);
    assert_false(km_profile_scalar(&profile, "kernel_eager_us", &value));
    km_profile_release(&profile);
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    struct km_profile profile = read_small(NULL), again;
    struct km_text text = {0}, second = {0};
    struct km_error error;
    km_profile_write(&profile, &text);
    must(km_profile_parse(km_text_c(&text), text.length, NULL, &again, &error), &error);
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++) {
        assert_int_equal(profile.tables[class].count, again.tables[class].count);
        for (size_t i = 0; i < again.tables[class].count; i++) {
            assert_memory_equal(profile.tables[class].rows[i].dims, again.tables[class].rows[i].dims,
                                sizeof again.tables[class].rows[i].dims);
            assert_near(again.tables[class].rows[i].us, profile.tables[class].rows[i].us, 5e-4);
        }
    }
    km_profile_write(&again, &second);
    assert_string_equal(km_text_c(&text), km_text_c(&second));
    km_text_release(&text);
    km_text_release(&second);
    km_profile_release(&profile);
    km_profile_release(&again);
}

/* Every measured row answers with its own time, in every class that is a time. */
static void rows_answer_for_themselves(void **state)
{
    (void)state;
    struct shipped w;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    struct km_profile profile = read_small(&w.device);
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++)
        for (size_t i = 0; i < profile.tables[class].count; i++) {
            const struct km_profile_row *row = &profile.tables[class].rows[i];
            struct km_profile_answer answer;
            assert_true(km_profile_lookup(&profile, (enum km_profile_class) class, row->dims, &answer));
            assert_true(answer.exact && !answer.outside);
            if (!km_profile_schemas[class].value)
                assert_near(km_profile_ideal_s(&w.device, (enum km_profile_class) class, row->dims) /
                                answer.value,
                            row->us * 1e-6, 1e-12);
            else
                assert_true(answer.value == row->us);
        }
    km_profile_release(&profile);
    km_arena_release(&w.arena);
}

static struct km_profile_answer ask(const struct km_profile *profile, enum km_profile_class class,
                                    const double *at)
{
    struct km_profile_answer answer;
    assert_true(km_profile_lookup(profile, class, at, &answer));
    return answer;
}

static void inside_and_outside(void **state)
{
    (void)state;
    struct shipped w;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    struct km_profile profile = read_small(&w.device);
    double at[KM_PROFILE_DIMS] = {KM_BF16, KM_BF16, 4096, 4096, 64};
    double low = ask(&profile, KM_PROFILE_GEMM, at).value;
    at[KM_GEMM_M] = 4096;
    double high = ask(&profile, KM_PROFILE_GEMM, at).value;
    at[KM_GEMM_M] = 512;
    struct km_profile_answer between = ask(&profile, KM_PROFILE_GEMM, at);
    assert_true(!between.exact && !between.outside);
    double weight = (log(513.0) - log(65.0)) / (log(4097.0) - log(65.0));
    assert_near(between.value, low * pow(high / low, weight), 1e-12);
    /* beyond the last row: its share, and so a time that grows with the work */
    at[KM_GEMM_M] = 65536;
    struct km_profile_answer beyond = ask(&profile, KM_PROFILE_GEMM, at);
    assert_true(beyond.outside && !beyond.exact);
    assert_near(beyond.value, high, 1e-12);
    /* no rows of this format */
    at[KM_GEMM_WEIGHTS] = KM_INT8;
    struct km_profile_answer none;
    assert_false(km_profile_lookup(&profile, KM_PROFILE_GEMM, at, &none));
    km_profile_release(&profile);
    km_arena_release(&w.arena);
}

/* Half the KV heads with twice the sequences keep as many streams busy: the rows of 8 heads at half the batch
 * stand in. */
static void a_neighbour_stands_in(void **state)
{
    (void)state;
    struct shipped w;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    struct km_profile profile = read_small(&w.device);
    const double measured[KM_PROFILE_DIMS] = {128, KM_BF16, 32, 8, 0, 64, 4096};
    const double asked[KM_PROFILE_DIMS] = {128, KM_BF16, 32, 4, 0, 128, 4096};
    struct km_profile_answer a = ask(&profile, KM_PROFILE_DECODE, measured),
                             b = ask(&profile, KM_PROFILE_DECODE, asked);
    assert_true(b.outside);
    assert_near(b.value, a.value, 1e-12);
    km_profile_release(&profile);
    km_arena_release(&w.arena);
}

/* A refinement at one shape must not send neighbours to its lonely row. */
static void lonely_rows_do_not_mislead(void **state)
{
    (void)state;
    struct shipped w;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    struct km_profile profile = {.device = "h200-sxm", .provenance = "{}", .path = ""};
    const double rows[][3] = {
        {4096, 1, 12}, {4096, 4096, 190}, {8192, 1, 20}, {8192, 4096, 380}, {5000, 64, 17}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct km_profile_row row = {.dims = {KM_BF16, KM_BF16, rows[i][0], 4096, rows[i][1]},
                                     .us = rows[i][2]};
        km_profile_add(&profile, KM_PROFILE_GEMM, &row);
    }
    struct km_profile_twins twins;
    assert_true(km_profile_finish(&profile, &twins));
    km_profile_bind(&profile, &w.device);
    double at[KM_PROFILE_DIMS] = {KM_BF16, KM_BF16, 5000, 4096, 4000};
    assert_false(ask(&profile, KM_PROFILE_GEMM, at).outside);
    at[KM_GEMM_M] = 64;
    assert_true(ask(&profile, KM_PROFILE_GEMM, at).exact);
    km_profile_release(&profile);
    km_arena_release(&w.arena);
}

/* Random tables, gridded and scattered: rows answer exactly, everything else lies between the extremes. */
static void random_tables(void **state)
{
    (void)state;
    struct shipped w;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    srand(7);
    for (int round = 0; round < 200; round++) {
        struct km_profile profile = {.device = "h200-sxm", .provenance = "{}", .path = ""};
        int count = 1 + rand() % 40, grid = rand() % 2;
        for (int i = 0; i < count; i++) {
            struct km_profile_row row = {.us = 1.0 + rand() % 1000};
            row.dims[0] = row.dims[1] = KM_BF16;
            for (int d = 2; d < 5; d++)
                row.dims[d] = grid ? (double)(1 << rand() % 14) : (double)(1 + rand() % 16384);
            km_profile_add(&profile, KM_PROFILE_GEMM, &row);
        }
        km_profile_merge(&profile);
        km_profile_bind(&profile, &w.device);
        const struct km_profile_table *table = &profile.tables[KM_PROFILE_GEMM];
        double least = HUGE_VAL, most = -HUGE_VAL;
        for (size_t i = 0; i < table->count; i++) {
            struct km_profile_answer answer = ask(&profile, KM_PROFILE_GEMM, table->rows[i].dims);
            assert_near(log(answer.value) + 100.0, table->answers[i] + 100.0, 1e-12);
            least = fmin(least, table->answers[i]);
            most = fmax(most, table->answers[i]);
        }
        for (int i = 0; i < 200; i++) {
            double at[KM_PROFILE_DIMS] = {KM_BF16, KM_BF16};
            for (int d = 2; d < 5; d++)
                at[d] = (double)(1 + rand() % 40000) * (rand() % 3 ? 1.0 : 0.001);
            double value = log(ask(&profile, KM_PROFILE_GEMM, at).value);
            assert_true(value >= least - 1e-9 && value <= most + 1e-9);
        }
        km_profile_release(&profile);
    }
    km_arena_release(&w.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults),
        cmocka_unit_test(reads),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(rows_answer_for_themselves),
        cmocka_unit_test(inside_and_outside),
        cmocka_unit_test(a_neighbour_stands_in),
        cmocka_unit_test(lonely_rows_do_not_mislead),
        cmocka_unit_test(random_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
