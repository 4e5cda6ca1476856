/* What most tests need besides CMocka. */
#ifndef KM_TESTS_CHECK_H
#define KM_TESTS_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* `got` differs from `want` by at most `relative` of it; NaN is near nothing. */
#define assert_near(got, want, relative) check_near(#got, got, want, relative, __FILE__, __LINE__)

/* By at most `tolerance`. */
#define assert_within(got, want, tolerance) check_within(#got, got, want, tolerance, __FILE__, __LINE__)

static inline void check_near(const char *what, double got, double want, double relative, const char *file,
                              int line)
{
    if (fabs(got - want) <= relative * fabs(want))
        return;
    print_error("%s is %.12g, expected %.12g within %g of it\n", what, got, want, relative);
    _fail(file, line);
}

static inline void check_within(const char *what, double got, double want, double tolerance, const char *file,
                                int line)
{
    if (fabs(got - want) <= tolerance)
        return;
    print_error("%s is %.12g, expected %.12g within %g\n", what, got, want, tolerance);
    _fail(file, line);
}

#endif
