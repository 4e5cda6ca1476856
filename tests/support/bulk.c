#include "support/bulk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const double lattice_values[] = {8, 16, 32, 64, 128, 256, 512, 1024};
static const double lattice_weights[] = {5, 8, 14, 20, 22, 17, 10, 4};
const struct km_distribution lattice = {
    .kind = KM_DIST_EMPIRICAL, .values = lattice_values, .weights = lattice_weights, .count = 8};
const struct km_distribution uniform = {.kind = KM_DIST_UNIFORM, .min = 1, .max = 300};
const struct km_distribution skewed = {.kind = KM_DIST_LOGNORMAL, .mu = 4, .sigma = 0.9, .max = 400};

void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance * fmax(fabs(want), 1e-12)))
        fail_msg("%.12g is not %.12g within %g", got, want, tolerance);
}

struct km_token_law law_of(const struct km_distribution *distribution)
{
    struct km_token_law law;
    assert_int_equal(km_token_law_init(&law, distribution, NULL), KM_OK);
    return law;
}
