#include "calibration/steplog/solve.h"

#include "base/memory.h"

#include <assert.h>
#include <gsl/gsl_blas.h>
#include <gsl/gsl_eigen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HUBER 1.345 /* 95 % efficient with normal errors */
#define NORMAL_MAD                                                                                           \
    0.6745 /* median absolute deviation of a normal distribution, over its standard deviation */
#define ROUNDS_MOST 30
#define LEAST_EIGEN 1e-10

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double km_step_median(double *values, size_t count)
{
    if (count == 0)
        return 0.0;
    qsort(values, count, sizeof *values, ascending);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

double km_step_loss(double residual, double noise)
{
    double u = fabs(residual) / noise;
    return u <= HUBER ? 0.5 * u * u : HUBER * (u - 0.5 * HUBER);
}

struct solver {
    const double *columns, *rest;
    const struct km_step_range *without;
    size_t rows, count;
    double *weight, *residual, *scratch; /* [rows]; weight 0: takes no part */
    gsl_matrix *normal, *vectors, *inverse;
    gsl_vector *values;
    gsl_eigen_symmv_workspace *work;
    double size[KM_STEP_COLUMNS_MOST]; /* of the weighted columns */
};

/* (X' W X) with columns scaled to length 1, inverted by its eigenvalues; false when it has no inverse. */
static bool invert(struct solver *s)
{
    gsl_matrix_set_zero(s->normal);
    for (size_t i = 0; i < s->rows; i++) {
        const double *x = s->columns + i * s->count;
        if (s->weight[i] <= 0.0)
            continue;
        for (size_t a = 0; a < s->count; a++)
            for (size_t b = 0; b <= a; b++)
                *gsl_matrix_ptr(s->normal, a, b) += s->weight[i] * x[a] * x[b];
    }
    for (size_t a = 0; a < s->count; a++) {
        double square = gsl_matrix_get(s->normal, a, a);
        s->size[a] = square > 0.0 ? sqrt(square) : 1.0;
    }
    for (size_t a = 0; a < s->count; a++)
        for (size_t b = 0; b <= a; b++) {
            double value = gsl_matrix_get(s->normal, a, b) / (s->size[a] * s->size[b]);
            gsl_matrix_set(s->normal, a, b, value);
            gsl_matrix_set(s->normal, b, a, value);
        }
    gsl_eigen_symmv(s->normal, s->values, s->vectors, s->work);
    bool regular = true;
    gsl_matrix_set_zero(s->inverse);
    for (size_t k = 0; k < s->count; k++) {
        double value = gsl_vector_get(s->values, k);
        regular = regular && value > LEAST_EIGEN;
        gsl_vector_view v = gsl_matrix_column(s->vectors, k);
        gsl_blas_dger(1.0 / fmax(value, LEAST_EIGEN), &v.vector, &v.vector, s->inverse);
    }
    return regular;
}

static void step(const struct solver *s, double *by)
{
    double right[KM_STEP_COLUMNS_MOST] = {0};
    for (size_t i = 0; i < s->rows; i++)
        for (size_t a = 0; a < s->count && s->weight[i] > 0.0; a++)
            right[a] += s->weight[i] * s->columns[i * s->count + a] * s->rest[i];
    for (size_t a = 0; a < s->count; a++) {
        by[a] = 0.0;
        for (size_t b = 0; b < s->count; b++)
            by[a] += gsl_matrix_get(s->inverse, a, b) * right[b] / s->size[b];
        by[a] /= s->size[a];
    }
}

static bool takes_part(const struct solver *s, size_t i)
{
    return !s->without || i < s->without->from || i >= s->without->to;
}

/* Residuals, and the noise they show. */
static double noise(struct solver *s, const double *by)
{
    size_t count = 0;
    for (size_t i = 0; i < s->rows; i++) {
        s->residual[i] = s->rest[i];
        for (size_t a = 0; a < s->count; a++)
            s->residual[i] -= s->columns[i * s->count + a] * by[a];
        if (takes_part(s, i))
            s->scratch[count++] = fabs(s->residual[i]);
    }
    return fmax(km_step_median(s->scratch, count) / NORMAL_MAD, 1e-12);
}

/* Huber: beyond HUBER sigma a row pulls no harder. */
static void weigh(struct solver *s, double sigma)
{
    for (size_t i = 0; i < s->rows; i++) {
        double u = fabs(s->residual[i]) / sigma;
        s->weight[i] = takes_part(s, i) ? (u <= HUBER ? 1.0 : HUBER / u) : 0.0;
    }
}

static void describe(const struct solver *s, struct km_step_solution *out)
{
    for (size_t a = 0; a < s->count; a++) {
        double most = 0.0;
        out->inflation[a] = gsl_matrix_get(s->inverse, a, a);
        out->se[a] = out->noise * sqrt(out->inflation[a]) / s->size[a];
        out->twin[a] = a;
        for (size_t b = 0; b < s->count; b++) {
            double together = fabs(gsl_matrix_get(s->inverse, a, b)) / sqrt(gsl_matrix_get(s->inverse, b, b));
            if (b == a || together <= most)
                continue;
            most = together;
            out->twin[a] = b;
        }
    }
}

static void solve(struct solver *s, struct km_step_solution *out)
{
    size_t rows = 0;
    for (size_t i = 0; i < s->rows; i++) {
        s->weight[i] = takes_part(s, i) ? 1.0 : 0.0;
        rows += takes_part(s, i);
    }
    out->singular = !invert(s) || rows <= s->count;
    for (uint32_t round = 0; round < ROUNDS_MOST && !out->singular; round++) {
        double before[KM_STEP_COLUMNS_MOST], moved = 0.0;
        memcpy(before, out->by, sizeof before);
        step(s, out->by);
        out->noise = noise(s, out->by);
        for (size_t a = 0; a < s->count; a++)
            moved = fmax(moved, fabs(out->by[a] - before[a]) * s->size[a]);
        if (round > 0 && moved < 1e-6 * out->noise)
            break;
        weigh(s, out->noise);
        out->singular = !invert(s);
    }
    describe(s, out);
    for (size_t i = 0; i < s->rows; i++)
        out->outliers += takes_part(s, i) && s->weight[i] < 0.5;
}

void km_step_solve(const double *columns, const double *rest, const struct km_step_range *without,
                   size_t rows, size_t count, struct km_step_solution *out)
{
    assert(count > 0 && count <= KM_STEP_COLUMNS_MOST);
    struct solver s = {.columns = columns,
                       .rest = rest,
                       .without = without,
                       .rows = rows,
                       .count = count,
                       .weight = km_alloc((rows + 1) * sizeof *s.weight),
                       .residual = km_alloc((rows + 1) * sizeof *s.residual),
                       .scratch = km_alloc((rows + 1) * sizeof *s.scratch),
                       .normal = gsl_matrix_alloc(count, count),
                       .vectors = gsl_matrix_alloc(count, count),
                       .inverse = gsl_matrix_alloc(count, count),
                       .values = gsl_vector_alloc(count),
                       .work = gsl_eigen_symmv_alloc(count)};
    *out = (struct km_step_solution){0};
    solve(&s, out);
    free(s.weight);
    free(s.residual);
    free(s.scratch);
    gsl_matrix_free(s.normal);
    gsl_matrix_free(s.vectors);
    gsl_matrix_free(s.inverse);
    gsl_vector_free(s.values);
    gsl_eigen_symmv_free(s.work);
}
