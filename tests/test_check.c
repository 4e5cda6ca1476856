#include "calibration/check.h"
#include "calibration/compare.h"
#include "cost/profile/ideal.h"
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
#include <unistd.h>

#include <cmocka.h>

#define PROFILES  KM_SOURCE_DIR "/configs/profiles/"
#define RESULTS   KM_SOURCE_DIR "/calibrate/results/"
#define NO_FORMAT KM_DTYPE_COUNT

struct fixture {
    struct shipped shipped;
    struct km_profile profile;
};

static int open_fixture(void **state)
{
    struct fixture *f = km_alloc(sizeof *f);
    struct km_error error;
    open_shipped("h200-sxm", "llama-3.1-8b", "ideal", &f->shipped);
    must(km_profile_read(PROFILES "h200-sxm.json", &f->profile, &error), &error);
    km_profile_bind(&f->profile, &f->shipped.device);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    km_profile_release(&f->profile);
    km_arena_release(&f->shipped.arena);
    free(f);
    return 0;
}

static const struct km_check_line *line_of(const struct km_check *check, enum km_profile_class class,
                                           enum km_dtype format, bool again)
{
    for (size_t i = 0; i < check->count; i++)
        if (check->lines[i].class == class && check->lines[i].format == format &&
            check->lines[i].again == again)
            return &check->lines[i];
    fail_msg("no line of class %d", (int)class);
    return NULL;
}

static void assert_percent(double error, double percent)
{
    if (fabs(100.0 * error - percent) > 0.051)
        fail_msg("%.3f %% is not %.1f %%", 100.0 * error, percent);
}

/* The figures that calibrate/README.md states of the H200's profile, from the rows measured for it. */
static void shipped_profile_is_as_good_as_stated(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *file;
        enum km_profile_class class;
        enum km_dtype format;
        size_t shapes;
        double bias, median, p95;
        double most_p95; /* the target, or where it is missed what is stated */
    } cases[] = {
        {"h200-check", KM_PROFILE_GEMM, KM_BF16, 560, -1.7, 2.5, 11.1, 15.0},
        {"h200-check", KM_PROFILE_GEMM, KM_FP8, 560, -1.8, 3.1, 13.4, 15.0},
        {"h200-check", KM_PROFILE_PREFILL, KM_BF16, 556, 0.9, 1.6, 7.0, 15.0},
        {"h200-check", KM_PROFILE_DECODE, KM_BF16, 560, -1.3, 2.0, 13.2, 15.0},
        {"h200-check", KM_PROFILE_DECODE, KM_FP8, 560, -2.3, 3.5, 18.7, 19.0},
        {"h200-check", KM_PROFILE_STREAM, NO_FORMAT, 552, -0.2, 1.4, 7.1, 15.0},
        {"h200-check-llama", KM_PROFILE_GEMM, KM_BF16, 525, -1.2, 2.1, 9.8, 15.0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[512];
        struct km_check check;
        struct km_error error;
        snprintf(path, sizeof path, RESULTS "%s.csv", cases[i].file);
        must(km_check_profile(&f->profile, &f->shipped.device, path, &check, &error), &error);
        assert_int_equal(check.unanswered, 0);
        const struct km_check_line *line = line_of(&check, cases[i].class, cases[i].format, false);
        assert_int_equal(line->shapes, cases[i].shapes);
        assert_percent(line->bias, cases[i].bias);
        assert_percent(line->median, cases[i].median);
        assert_percent(line->p95, cases[i].p95);
        assert_true(line->shapes >= 200 && line->median <= 0.04 && 100.0 * line->p95 <= cases[i].most_p95);
        assert_true(line->median <= line->p90 && line->p90 <= line->p95 && line->p95 <= line->worst);
        assert_true(line->beyond < line->shapes / 10);
        /* measured again: the table's own rows, on other devices of the kind */
        assert_true(line_of(&check, cases[i].class, cases[i].format, true)->median < 0.02);
    }
}

/* The same of vLLM's own kernels. Mixed launches, latent attention and fp8 products of odd sizes miss the targets, by as much as
 * is stated. */
static void profile_of_vllm_is_as_good_as_stated(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *file;
        enum km_profile_class class;
        enum km_dtype format;
        size_t shapes;
        double bias, median, p95;
        double most_median, most_p95; /* the target, or where it is missed what is stated */
    } cases[] = {
        {"h200-vllm-attention-check", KM_PROFILE_PREFILL, KM_BF16, 413, 0.0, 1.8, 14.8, 4.0, 15.0},
        {"h200-vllm-attention-check", KM_PROFILE_PREFILL, KM_FP8, 219, -1.1, 1.7, 14.4, 4.0, 15.0},
        {"h200-vllm-attention-check", KM_PROFILE_DECODE, KM_BF16, 365, -0.9, 1.7, 12.4, 4.0, 15.0},
        {"h200-vllm-attention-check", KM_PROFILE_DECODE, KM_FP8, 220, 0.1, 1.2, 6.0, 4.0, 15.0},
        {"h200-vllm-attention-check", KM_PROFILE_MIXED, KM_BF16, 623, -1.0, 4.5, 24.8, 4.6, 25.0},
        {"h200-vllm-attention-check", KM_PROFILE_MIXED, KM_FP8, 299, -2.2, 4.4, 33.5, 4.6, 34.0},
        {"h200-vllm-experts-check", KM_PROFILE_MOE, KM_BF16, 386, -0.2, 1.3, 13.0, 4.0, 15.0},
        {"h200-vllm-experts-check", KM_PROFILE_MOE, KM_FP8, 191, -0.5, 1.3, 11.6, 4.0, 15.0},
        {"h200-vllm-latent-check", KM_PROFILE_LATENT_DECODE, KM_BF16, 119, -0.6, 2.6, 27.9, 4.0, 28.0},
        {"h200-vllm-latent-check", KM_PROFILE_LATENT_CHUNK, KM_BF16, 107, -5.0, 5.5, 33.9, 5.6, 34.0},
        {"h200-vllm-products-check", KM_PROFILE_GEMM, KM_FP8, 400, -11.6, 11.7, 34.6, 12.0, 35.0},
    };
    struct km_profile profile;
    struct km_error error;
    must(km_profile_read(PROFILES "h200-sxm-vllm.json", &profile, &error), &error);
    km_profile_bind(&profile, &f->shipped.device);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[512];
        struct km_check check;
        snprintf(path, sizeof path, RESULTS "%s.csv", cases[i].file);
        must(km_check_profile(&profile, &f->shipped.device, path, &check, &error), &error);
        assert_int_equal(check.unanswered, 0);
        const struct km_check_line *line = line_of(&check, cases[i].class, cases[i].format, false);
        assert_int_equal(line->shapes, cases[i].shapes);
        assert_percent(line->bias, cases[i].bias);
        assert_percent(line->median, cases[i].median);
        assert_percent(line->p95, cases[i].p95);
        assert_true(100.0 * line->median <= cases[i].most_median && 100.0 * line->p95 <= cases[i].most_p95);
    }
    km_profile_release(&profile);
}

/* Decode attention of 64 sequences of 1,024 tokens reads keys and values at 85 % of the measured bandwidth.
 */
static void decode_is_near_the_bandwidth(void **state)
{
    const struct fixture *f = *state;
    const double at[KM_PROFILE_DIMS] = {[KM_ATTENTION_HEAD_DIM] = 128, [KM_ATTENTION_KV_DTYPE] = KM_BF16,
                                        [KM_ATTENTION_HEADS] = 32,     [KM_ATTENTION_KV_HEADS] = 8,
                                        [KM_DECODE_BATCH] = 64,        [KM_DECODE_CONTEXT] = 1024};
    struct km_profile_answer answer;
    double bandwidth;
    assert_true(km_profile_lookup(&f->profile, KM_PROFILE_DECODE, at, &answer) && answer.exact);
    assert_true(km_profile_scalar(&f->profile, "read_bytes_per_s", &bandwidth));
    double seconds = km_profile_ideal_s(&f->shipped.device, KM_PROFILE_DECODE, at) / answer.value;
    double bytes = 64.0 * 1024.0 * 2.0 * 8.0 * 128.0 * 2.0;
    assert_true(bytes / seconds > 0.85 * bandwidth && bytes / seconds < bandwidth);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* Errors have the sign of predicted minus measured; shapes of the profile count apart; what it has no table
 * of is counted. */
static void tells_errors_and_repeats(void **state)
{
    const struct fixture *f = *state;
    const struct km_profile_row *row = &f->profile.tables[KM_PROFILE_GEMM].rows[0];
    char path[] = "/tmp/kingman-check-XXXXXX", text[1024];
    struct km_check check;
    struct km_error error;
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    assert_true(row->dims[KM_GEMM_WEIGHTS] == (double)KM_BF16);
    snprintf(text, sizeof text,
             "op,weights,activations,n,k,m,us\n"
             "gemm,bf16,bf16,%.0f,%.0f,%.0f,%.17g\n" /* twice as long as the profile says */
             "gemm,bf16,bf16,%.0f,%.0f,30000,1e9\n"  /* beyond all rows */
             "op,weights,activations,experts,top_k,n,k,m,us\n"
             "grouped_gemm,int8,int8,8,2,512,512,8,5\n"
             "op,name,us\nscalar,anything,7\n",
             row->dims[KM_GEMM_N], row->dims[KM_GEMM_K], row->dims[KM_GEMM_M], 2.0 * row->us,
             row->dims[KM_GEMM_N], row->dims[KM_GEMM_K]);
    write_file(path, text);
    must(km_check_profile(&f->profile, &f->shipped.device, path, &check, &error), &error);
    assert_int_equal(check.count, 2);
    assert_int_equal(check.unanswered, 1);
    const struct km_check_line *again = line_of(&check, KM_PROFILE_GEMM, KM_BF16, true);
    assert_int_equal(again->shapes, 1);
    assert_near(again->bias, -0.5, 1e-12);
    assert_near(again->worst, 0.5, 1e-12);
    const struct km_check_line *far = line_of(&check, KM_PROFILE_GEMM, KM_BF16, false);
    assert_int_equal(far->beyond, 1);
    assert_near(far->bias, -1.0, 1e-3);
    unlink(path);
}

static void refuses(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "there are no times of operators in it"},
        {"op,name,us\nscalar,x,1\n", "there are no times of operators in it"},
        {"op,n,us\ngemm,1,1\n", ":2: gemm needs a column \"weights\""},
        {"op,weights,activations,n,k,m,us\ngemm,bf16,bf16,1,1,1,0\n",
         ":2:22: us: a time must be above 0, got 0"},
        {"op,weights,activations,n,k,m,us\ngemm,bf16,bf16,8,8,8,1\ngemm,bf16,bf16,8,8,8,2\n",
         ":3: gemm: the same dims as line 2"},
    };
    char path[] = "/tmp/kingman-check-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_check check;
        struct km_error error = {0};
        char line[1200];
        write_file(path, cases[i].text);
        assert_int_equal(km_check_profile(&f->profile, &f->shipped.device, path, &check, &error),
                         KM_BAD_INPUT);
        km_error_format(&error, line, sizeof line);
        if (strncmp(line, path, strlen(path)) != 0 || !strstr(line, cases[i].message))
            fail_msg("case %zu: %s", i, line);
    }
    unlink(path);
    struct km_check check;
    struct km_error error;
    assert_int_not_equal(km_check_profile(&f->profile, &f->shipped.device, path, &check, &error), KM_OK);
}

/* A profile beside itself differs nowhere; beside another, each answers for itself. */
static void compares(void **state)
{
    const struct fixture *f = *state;
    const struct km_cost_config config = shipped_config(&f->shipped, PROFILES "h200-sxm.json");
    struct km_compare same, other;
    struct km_arena arena = {0};
    struct km_error error;
    must(km_compare_profiles(&config, PROFILES "h200-sxm.json", &arena, &same, &error), &error);
    must(km_compare_profiles(&config, PROFILES "h200-sxm-aiconfigurator.json", &arena, &other, &error),
         &error);
    assert_int_equal(same.count, other.count);
    size_t differ = 0;
    for (size_t i = 0; i < same.count; i++) {
        assert_true(same.rows[i].time_s[0] > 0.0 && same.rows[i].time_s[0] == same.rows[i].time_s[1]);
        assert_true(other.rows[i].time_s[0] == same.rows[i].time_s[0] && other.rows[i].time_s[1] > 0.0);
        differ += other.rows[i].time_s[1] != same.rows[i].time_s[1];
        double ratio = other.rows[i].time_s[1] / same.rows[i].time_s[0];
        if (ratio < 0.5 || ratio > 3.0)
            fail_msg("%s, %g rows: %g", other.rows[i].op, other.rows[i].rows, ratio);
    }
    assert_true(differ > same.count / 2);
    assert_int_equal(km_compare_profiles(&config, PROFILES "l40s.json", &arena, &other, &error),
                     KM_BAD_INPUT);
    km_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shipped_profile_is_as_good_as_stated),
        cmocka_unit_test(profile_of_vllm_is_as_good_as_stated),
        cmocka_unit_test(decode_is_near_the_bandwidth),
        cmocka_unit_test(tells_errors_and_repeats),
        cmocka_unit_test(refuses),
        cmocka_unit_test(compares),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
