/* What a cost model knew and what it guessed: which answers are doubtful, and what is said of them. */
#include "cost/coverage.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct part {
    const char *op;
    enum km_origin origin;
    double time_s, formula_s;
};

static const struct doubt_case {
    struct part parts[4];
    const char *warning; /* NULL: none */
} cases[] = {
    {{{NULL, KM_ORIGIN_MEASURED, 0, 0}}, NULL},
    {{{"qkv_proj", KM_ORIGIN_MEASURED, 3, 1}, {"attention", KM_ORIGIN_INTERPOLATED, 3, 1}}, NULL},
    /* half is not more than half */
    {{{"qkv_proj", KM_ORIGIN_MEASURED, 5, 5}, {"attention", KM_ORIGIN_EXTRAPOLATED, 5, 5}}, NULL},
    {{{"qkv_proj", KM_ORIGIN_MEASURED, 4, 4}, {"attention", KM_ORIGIN_EXTRAPOLATED, 6, 6}},
     "60 % of the time on b200 is guessed, not measured, most of it attention (60 %)"},
    /* by formula is a guess, too; an operator's parts are added */
    {{{"experts_up", KM_ORIGIN_MODEL, 2, 2},
      {"attention", KM_ORIGIN_EXTRAPOLATED, 3, 3},
      {"experts_up", KM_ORIGIN_EXTRAPOLATED, 2, 2},
      {"o_proj", KM_ORIGIN_MEASURED, 3, 3}},
     "70 % of the time on b200 is guessed, not measured, most of it experts_up (40 %)"},
    /* beyond its table, and far from the formula: too long, too short, not far enough, too little of the time */
    {{{"qkv_proj", KM_ORIGIN_MEASURED, 8, 8}, {"attention", KM_ORIGIN_EXTRAPOLATED, 2, 0.5}},
     "attention on b200 is extrapolated to 4 times the roofline's time"},
    {{{"qkv_proj", KM_ORIGIN_MEASURED, 8, 8}, {"attention", KM_ORIGIN_EXTRAPOLATED, 2, 8}},
     "attention on b200 is extrapolated to 0.25 times the roofline's time"},
    {{{"qkv_proj", KM_ORIGIN_MEASURED, 8, 8}, {"attention", KM_ORIGIN_EXTRAPOLATED, 2, 0.8}}, NULL},
    {{{"qkv_proj", KM_ORIGIN_MEASURED, 97, 8}, {"attention", KM_ORIGIN_EXTRAPOLATED, 3, 0.5}}, NULL},
    /* a formula's time is never far from the formula */
    {{{"qkv_proj", KM_ORIGIN_MEASURED, 8, 8}, {"attention", KM_ORIGIN_MODEL, 2, 0.5}}, NULL},
    /* the farthest of two */
    {{{"qkv_proj", KM_ORIGIN_MEASURED, 4, 8},
      {"attention", KM_ORIGIN_EXTRAPOLATED, 4, 1},
      {"router", KM_ORIGIN_EXTRAPOLATED, 2, 10}},
     "60 % of the time on b200 is guessed, not measured, most of it attention (40 %); router is extrapolated "
     "to 0.2 times the roofline's time"},
};

static void test_doubts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_coverage coverage = {0};
        struct km_text words = {0};
        for (size_t k = 0; k < COUNT(cases[i].parts) && cases[i].parts[k].op; k++) {
            const struct part *part = &cases[i].parts[k];
            km_coverage_add(&coverage, part->op, part->origin, part->time_s, part->formula_s, false);
        }
        const struct km_doubt doubt = km_coverage_doubt(&coverage);
        const bool described = km_doubt_describe(&doubt, "b200", &words);
        assert_int_equal(described, cases[i].warning != NULL);
        assert_string_equal(km_text_c(&words), cases[i].warning ? cases[i].warning : "");
        km_text_release(&words);
    }
}

/* More operators than there is room for: the sums hold, the first are named. */
static void test_many_operators(void **state)
{
    (void)state;
    static char names[2 * KM_COVERAGE_GUESSES][8];
    struct km_coverage coverage = {0};
    for (uint32_t i = 0; i < 2 * KM_COVERAGE_GUESSES; i++) {
        names[i][0] = (char)('a' + i / 26);
        names[i][1] = (char)('a' + i % 26);
        km_coverage_add(&coverage, names[i], KM_ORIGIN_MODEL, 1.0, 1.0, i % 2);
    }
    assert_int_equal(coverage.guess_count, KM_COVERAGE_GUESSES);
    assert_true(fabs(coverage.time_s[KM_ORIGIN_MODEL] - 2.0 * KM_COVERAGE_GUESSES) < 1e-9);
    assert_true(fabs(coverage.supplement_s - (double)KM_COVERAGE_GUESSES) < 1e-9);
    const struct km_doubt doubt = km_coverage_doubt(&coverage);
    assert_true(fabs(doubt.guessed_share - 1.0) < 1e-9);
    assert_string_equal(doubt.guessed_op, "aa");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubts),
        cmocka_unit_test(test_many_operators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
