#include "queueing/single/renewal.h"

#include "base/memory.h"
#include "queueing/single/exponent.h"

#include <math.h>
#include <stdlib.h>

#define FIRST_STEPS    64 /* per longest service, or per horizon when that is shorter */
#define MOST_STEPS     8192
#define TOLERANCE      1e-8
#define FAR_SERVICES   20.0 /* longest services after which only two zeros matter */
#define FAR_EXPONENT   60.0
#define LARGEST_GROWTH 600.0 /* e^this still fits */
#define SMALLEST_TAIL  1e-8

/* E[min(S, x)] and E[min(S, x)^2] / 2: the integrals of P(S > u) and u P(S > u) over 0..x. */
static void kernel_integrals(const struct km_mg1 *queue, double x, double *zeroth, double *first)
{
    double a = queue->a_s, c = queue->c_s;
    if (x <= c || a <= 0) {
        double y = fmin(x, c);
        *zeroth = y;
        *first = y * y / 2;
        return;
    }
    double n = (x - c) / a, m1 = km_token_law_limited_mean(queue->tokens, n);
    *zeroth = c + a * m1;
    *first = (c * c + 2 * c * a * m1 + a * a * km_token_law_limited_square(queue->tokens, n)) / 2;
}

/* Weights of the two ends of [low, high] for a function linear in between: the integral of P(S > u) times the
 * share of the end. */
static void cell(const struct km_mg1 *queue, double low, double high, double *at_low, double *at_high)
{
    double low0, low1, high0, high1;
    kernel_integrals(queue, low, &low0, &low1);
    kernel_integrals(queue, high, &high0, &high1);
    double width = high - low;
    *at_high = width > 0 ? ((high1 - low1) - low * (high0 - low0)) / width : 0;
    *at_low = (high0 - low0) - *at_high;
}

struct grid {
    const struct km_mg1 *queue;
    double step_s;
    size_t steps;
    double *h;                 /* [steps + 1] */
    double *integral, *moment; /* [steps + 1], of the piecewise linear H */
};

static double reversed_dot(const double *a, const double *b, size_t n)
{
    double sum[4] = {0}; /* independent chains keep the adders busy */
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        sum[0] += a[i] * b[n - 1 - i];
        sum[1] += a[i + 1] * b[n - 2 - i];
        sum[2] += a[i + 2] * b[n - 3 - i];
        sum[3] += a[i + 3] * b[n - 4 - i];
    }
    for (; i < n; i++)
        sum[0] += a[i] * b[n - 1 - i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void grid_solve(struct grid *grid)
{
    const struct km_mg1 *queue = grid->queue;
    double h = grid->step_s, lambda = queue->rate_per_s;
    double longest = queue->a_s * queue->tokens->max + queue->c_s;
    size_t count = grid->steps + 1, reach = (size_t)fmin(ceil(longest / h) + 1, (double)grid->steps);
    double *near = km_alloc(count * sizeof *near), *far = km_alloc(count * sizeof *far);
    double *weight = km_alloc(count * sizeof *weight); /* of H at distance m */
    grid->h = km_alloc(count * sizeof *grid->h);
    grid->integral = km_alloc(count * sizeof *grid->integral);
    grid->moment = km_alloc(count * sizeof *grid->moment);
    for (size_t j = 0; j < reach; j++)
        cell(queue, (double)j * h, (double)(j + 1) * h, &near[j], &far[j]);
    for (size_t m = 1; m <= reach; m++)
        weight[m] = near[m] + far[m - 1];
    grid->h[0] = 1;
    for (size_t n = 1; n < count; n++) {
        size_t terms = n - 1 < reach ? n - 1 : reach;
        double sum = reversed_dot(weight + 1, grid->h + n - terms, terms);
        double first = n <= reach ? far[n - 1] * grid->h[0] : 0;
        grid->h[n] = (1 + lambda * (sum + first)) / (1 - lambda * near[0]);
        double left = grid->h[n - 1], right = grid->h[n], x = (double)(n - 1) * h;
        grid->integral[n] = grid->integral[n - 1] + h * (left + right) / 2;
        grid->moment[n] = grid->moment[n - 1] + h * (x * (left + right) / 2 + h * (left / 6 + right / 3));
    }
    free(near);
    free(far);
    free(weight);
}

static void grid_release(struct grid *grid)
{
    free(grid->h);
    free(grid->integral);
    free(grid->moment);
}

/* At x within the grid: the equation itself, once more, so that the error stays of the grid's order and kind.
 */
static struct km_renewal_value grid_value(const struct grid *grid, double x)
{
    double h = grid->step_s, position = x / h, sum = 0;
    size_t whole = (size_t)position;
    if (whole >= grid->steps)
        whole = grid->steps;
    double rest = x - (double)whole * h, left, right;
    for (size_t j = 0; j < whole; j++) { /* v = x - u in [jh, (j+1)h] */
        cell(grid->queue, x - (double)(j + 1) * h, x - (double)j * h, &right, &left);
        sum += left * grid->h[j] + right * grid->h[j + 1];
    }
    /* In the last, partial cell the value itself stands on one side: solve for it. */
    double value = grid->h[whole];
    if (rest > 1e-12 * h && whole < grid->steps) {
        cell(grid->queue, 0, rest, &right, &left);
        value = (1 + grid->queue->rate_per_s * (sum + left * grid->h[whole])) /
                (1 - grid->queue->rate_per_s * right);
    }
    double low = grid->h[whole], at = (double)whole * h;
    rest = rest > 0 ? rest : 0;
    return (struct km_renewal_value){value, grid->integral[whole] + rest * (low + value) / 2,
                                     grid->moment[whole] +
                                         rest * (at * (low + value) / 2 + rest * (low / 6 + value / 3))};
}

static double extrapolate(double coarse, double fine)
{
    return fine + (fine - coarse) / 3;
}

/* Halve the step until the extrapolated values at x[0 .. count) stand still. */
static void solve_near(const struct km_mg1 *queue, const double *x, size_t count, double horizon,
                       struct km_renewal_value *out)
{
    double longest = queue->a_s * queue->tokens->max + queue->c_s, lambda = queue->rate_per_s;
    double unit = fmin(longest, horizon);
    struct km_renewal_value *plain = km_alloc(count * sizeof *plain);
    double per_unit = FIRST_STEPS;
    while (per_unit < 4 * lambda * unit)
        per_unit *= 2;
    for (int level = 0;; level++, per_unit *= 2) {
        struct grid grid = {.queue = queue, .step_s = unit / per_unit};
        grid.steps = (size_t)ceil(horizon / grid.step_s * (1 - 1e-12));
        grid.steps = grid.steps ? grid.steps : 1;
        grid_solve(&grid);
        double change = 0;
        for (size_t i = 0; i < count; i++) {
            struct km_renewal_value now = grid_value(&grid, x[i]), before = out[i];
            out[i] = (struct km_renewal_value){extrapolate(plain[i].h, now.h),
                                               extrapolate(plain[i].integral, now.integral),
                                               extrapolate(plain[i].moment, now.moment)};
            plain[i] = now;
            if (out[i].h != before.h)
                change = fmax(change, before.h != 0 ? fabs(out[i].h / before.h - 1) : HUGE_VAL);
        }
        size_t steps = grid.steps;
        grid_release(&grid);
        if (level >= 2 && (change < TOLERANCE || steps * 2 > MOST_STEPS))
            break;
    }
    free(plain);
}

/* Integrals over 0..x of (e^{theta u} - 1) / theta and of u times it. */
static void growth_integrals(double theta, double x, double *zeroth, double *first)
{
    double y = theta * x;
    if (fabs(y) < 1) {
        double term = x * x; /* theta^{k-1} x^{k+1} / k! */
        *zeroth = *first = 0;
        for (int k = 1; k < 20; k++) {
            *zeroth += term / (k + 1);
            *first += term * x / (k + 2);
            term *= y / (k + 1);
        }
        return;
    }
    *zeroth = (expm1(y) - y) / (theta * theta);
    *first = (exp(y) * (y - 1) + 1) / (theta * theta * theta) - x * x / (2 * theta);
}

static double growth(double theta, double x)
{
    return fabs(theta * x) < 1e-12 ? x : expm1(theta * x) / theta;
}

/* From the value at `from`, where only two zeros matter any more, on to x. */
static struct km_renewal_value continue_far(const struct km_exponent *exponent, double from,
                                            struct km_renewal_value at, double x)
{
    double theta = exponent->theta_per_s, slope = exponent->slope_s, from0, from1, x0, x1;
    if (theta * x > LARGEST_GROWTH)
        return (struct km_renewal_value){HUGE_VAL, HUGE_VAL, HUGE_VAL};
    double constant = at.h - growth(theta, from) / slope;
    growth_integrals(theta, from, &from0, &from1);
    growth_integrals(theta, x, &x0, &x1);
    return (struct km_renewal_value){
        constant + growth(theta, x) / slope, at.integral + constant * (x - from) + (x0 - from0) / slope,
        at.moment + constant * (x - from) * (x + from) / 2 + (x1 - from1) / slope};
}

void km_renewal_evaluate(const struct km_mg1 *queue, const double *x, size_t count,
                         struct km_renewal_value *out)
{
    double longest = queue->a_s * queue->tokens->max + queue->c_s;
    struct km_exponent exponent = km_exponent_find(queue);
    double far = FAR_SERVICES * longest, horizon = 0;
    if (exponent.theta_per_s > 0)
        far = fmin(far, FAR_EXPONENT / exponent.theta_per_s);
    double *near = km_alloc((count + 1) * sizeof *near);
    struct km_renewal_value *values = km_alloc((count + 1) * sizeof *values);
    for (size_t i = 0; i < count; i++) {
        near[i] = fmin(x[i], far);
        horizon = fmax(horizon, near[i]);
    }
    if (horizon > 0)
        solve_near(queue, near, count, horizon, values);
    for (size_t i = 0; i < count; i++) {
        out[i] = values[i];
        if (near[i] <= 0)
            out[i] = (struct km_renewal_value){1, 0, 0};
        else if (x[i] > far)
            out[i] = continue_far(&exponent, far, values[i], x[i]);
    }
    free(near);
    free(values);
}

void km_renewal_wait_tail(const struct km_mg1 *queue, const struct km_wait_tail *tail)
{
    struct km_renewal_value *values = km_alloc((tail->count + 1) * sizeof *values);
    km_renewal_evaluate(queue, tail->t_s, tail->count, values);
    double idle = 1 - queue->rate_per_s * km_mg1_moments(queue).m1;
    struct km_exponent exponent = km_exponent_find(queue);
    for (size_t i = 0; i < tail->count; i++) {
        double p = 1 - idle * values[i].h;
        if (p < SMALLEST_TAIL) {
            double far = exponent.found ? exp(exponent.theta_per_s * tail->t_s[i]) * idle /
                                              (-exponent.theta_per_s * exponent.slope_s)
                                        : 0;
            p = fmin(far, SMALLEST_TAIL);
        }
        tail->probability[i] = p;
    }
    free(values);
}
