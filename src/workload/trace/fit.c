#include "workload/trace/fit.h"

#include "workload/arrival.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sf_psi.h>
#include <math.h>

static double length_distance(const struct km_token_counts *counts,
                              const struct km_distribution *distribution)
{
    double worst = 0, seen = 0;
    for (uint32_t n = counts->min; n <= counts->max && n < KM_TOKEN_COUNTS_LIMIT; n++) {
        double model = km_distribution_cdf(distribution, n);
        if (n == counts->min) /* below the smallest value */
            worst = km_distribution_cdf(distribution, n - 1);
        seen += (double)counts->count[n];
        worst = fmax(worst, fabs(seen / (double)counts->total - model));
    }
    return worst;
}

/* Shape with ln a - psi(a) = s, s > 0. */
static double gamma_shape(double s)
{
    double a = (3 - s + sqrt((s - 3) * (s - 3) + 24 * s)) / (12 * s);
    for (int i = 0; i < 20 && a < 1e8; i++)
        a = 1 / (1 / a + (log(a) - gsl_sf_psi(a) - s) / (a * a * (1 / a - gsl_sf_psi_1(a))));
    return a;
}

size_t km_length_fit_find(const struct km_token_counts *counts, struct km_length_fit fits[2])
{
    double n = (double)counts->total, logs = 0, log_squares = 0, mean = km_token_counts_mean(counts) - 0.5;
    if (counts->min == counts->max) {
        fits[0] = (struct km_length_fit){.distribution = {.kind = KM_DIST_CONSTANT, .value = counts->min}};
        return 1;
    }
    for (size_t i = counts->min; i < counts->capacity; i++) {
        double x = log((i < KM_TOKEN_COUNTS_LIMIT ? (double)i : counts->max) - 0.5);
        logs += (double)counts->count[i] * x;
        log_squares += (double)counts->count[i] * x * x;
    }
    double mu = logs / n;
    fits[0].distribution = (struct km_distribution){
        .kind = KM_DIST_LOGNORMAL, .mu = mu, .sigma = sqrt(fmax(log_squares / n - mu * mu, 0))};
    fits[1].distribution = (struct km_distribution){
        .kind = KM_DIST_GAMMA, .mean = mean, .cv = 1 / sqrt(gamma_shape(fmax(log(mean) - mu, 1e-15)))};
    for (int i = 0; i < 2; i++)
        fits[i].distance = length_distance(counts, &fits[i].distribution);
    if (fits[1].distance < fits[0].distance) {
        struct km_length_fit nearer = fits[1];
        fits[1] = fits[0];
        fits[0] = nearer;
    }
    return 2;
}

static double gap_cdf(const struct km_arrival_fit *fit, double shape, double gap_s)
{
    struct km_distribution gamma = {.kind = KM_DIST_GAMMA, .mean = 1 / fit->rate_per_s, .cv = fit->cv};
    switch (fit->process) {
    case KM_ARRIVAL_GAMMA:
        return km_distribution_cdf(&gamma, gap_s);
    case KM_ARRIVAL_WEIBULL:
        return gsl_cdf_weibull_P(gap_s, exp(-lgamma(1 + 1 / shape)) / fit->rate_per_s, shape);
    default:
        return gsl_cdf_exponential_P(gap_s, 1 / fit->rate_per_s);
    }
}

static double gap_distance(const struct km_trace_stats *stats, double gaps, const struct km_arrival_fit *fit)
{
    double worst = 0, seen = 0, shape = fit->process == KM_ARRIVAL_WEIBULL ? km_weibull_shape(fit->cv) : 0;
    for (size_t i = 0; i < KM_GAP_BINS && seen < gaps; i++) {
        uint64_t here = km_trace_stats_gaps(stats, i);
        if (here == 0)
            continue;
        /* The model at both ends of the bin: before it the trace has `seen`, after it `seen + here`. */
        double before = i ? gap_cdf(fit, shape, km_trace_stats_gap_edge_ps(i - 1) * 1e-12) : 0;
        worst = fmax(worst, fabs(seen / gaps - before));
        seen += (double)here;
        worst = fmax(worst, fabs(seen / gaps - gap_cdf(fit, shape, km_trace_stats_gap_edge_ps(i) * 1e-12)));
    }
    return worst;
}

size_t km_fit_arrivals(const struct km_trace_stats *stats, struct km_arrival_fit fits[3])
{
    static const enum km_arrival_process processes[3] = {KM_ARRIVAL_POISSON, KM_ARRIVAL_GAMMA,
                                                         KM_ARRIVAL_WEIBULL};
    struct km_trace_summary summary;
    km_trace_stats_summarize(stats, &summary);
    if (summary.span_s <= 0)
        return 0;
    if (summary.gap_cv < 1e-6) { /* rounding of equal gaps */
        fits[0] = (struct km_arrival_fit){.process = KM_ARRIVAL_CONSTANT, .rate_per_s = summary.rate_per_s};
        return 1;
    }
    for (size_t i = 0; i < 3; i++) {
        struct km_arrival_fit fit = {processes[i], summary.rate_per_s, summary.gap_cv, 0};
        fit.distance = gap_distance(stats, (double)(summary.requests - 1), &fit);
        size_t place = i;
        for (; place > 0 && fits[place - 1].distance > fit.distance; place--)
            fits[place] = fits[place - 1];
        fits[place] = fit;
    }
    return 3;
}
