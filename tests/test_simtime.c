/* Conversions to whole picoseconds, and arithmetic at the clock's end. */
#include "base/simtime.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define END KM_PS_END

static void conversions(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        uint64_t ps;
    } rows[] = {
        {0, 0},
        {-0.0, 0},
        {-1, 0},
        {-INFINITY, 0},
        {0.4e-12, 0},
        {0.6e-12, 1},
        {1, 1000000000000},
        {4.6e6, 4600000000000000000},
        {1.8e7, 18000000000000000000u},
        {1.85e7, END},
        {4e300, END},
        {INFINITY, END},
        {NAN, END},
        {-NAN, END},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(km_ps_from_s(rows[i].seconds) == rows[i].ps);
}

static void sums(void **state)
{
    (void)state;
    static const struct {
        uint64_t from_ps, ps, sum_ps;
    } rows[] = {
        {1, 2, 3},         {0, END, END},   {END - 5, 5, END}, {END - 5, 4, END - 1},
        {END - 5, 6, END}, {END, END, END}, {END, 0, END},     {UINT64_MAX / 2 + 1, UINT64_MAX / 2 + 1, END},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(km_ps_after(rows[i].from_ps, rows[i].ps) == rows[i].sum_ps);
}

static void progressions(void **state)
{
    (void)state;
    static const struct {
        uint64_t first_ps;
        int64_t slope_ps;
        uint64_t i, value_ps;
    } rows[] = {
        {10, 3, 4, 22},
        {10, -3, 3, 1},
        {10, -3, 4, 0},
        {END, 0, 1000, END},
        {END, 1, 1, END},
        {END, -1, 1, END - 1},
        {END - 10, 3, 3, END - 1},
        {END - 10, 3, 4, END},
        {0, INT64_MAX, 2, END}, /* 2^64 - 2 */
        {0, INT64_MAX, 3, END},
        {5, INT64_MAX, UINT64_MAX, END},
        {END, INT64_MIN, UINT64_MAX, 0},
        {(uint64_t)1 << 63, -1, 1, INT64_MAX},
        {(uint64_t)1 << 62, (int64_t)1 << 42, (uint64_t)1 << 20, (uint64_t)1 << 63},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(km_ps_along(rows[i].first_ps, rows[i].slope_ps, rows[i].i) == rows[i].value_ps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversions),
        cmocka_unit_test(sums),
        cmocka_unit_test(progressions),
    };
    return cmocka_run_group_tests_name("simtime", tests, NULL, NULL);
}
