#include "queueing/length_mix.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Classes of equal mass of the masses weight[i] at value[i], ascending, summing to `total`. */
static void classes(const double *value, const double *weight, size_t count, double total, double *out)
{
    double share = total / KM_LENGTH_CLASSES, left = count ? weight[0] : 0.0;
    size_t i = 0;
    for (size_t c = 0; c < KM_LENGTH_CLASSES; c++) {
        double need = share, sum = 0.0;
        while (need > 0.0) {
            bool last = i + 1 >= count;
            double take = last || left > need ? need : left;
            sum += take * value[i];
            need -= take;
            left -= take;
            if (!last && left <= 0.0)
                left = weight[++i];
        }
        out[c] = sum / share;
    }
}

struct marginal {
    double mean, square;
    double point[KM_LENGTH_CLASSES];
};

static enum km_status marginal_of(const struct km_distribution *distribution, const char *what,
                                  struct marginal *out, struct km_error *error)
{
    const char *problem = km_distribution_problem(distribution, true);
    if (problem)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s tokens: %s", what, problem);
    uint32_t max;
    double *pmf = km_distribution_pmf(distribution, 0, &max);
    double *value = km_alloc(((size_t)max + 1) * sizeof *value);
    double total = 0.0;
    *out = (struct marginal){0};
    for (uint32_t n = 0; n <= max; n++) {
        value[n] = n;
        total += pmf[n];
        out->mean += pmf[n] * n;
        out->square += pmf[n] * n * n;
    }
    out->mean /= total;
    out->square /= total;
    classes(value, pmf, (size_t)max + 1, total, out->point);
    free(value);
    free(pmf);
    return KM_OK;
}

enum km_status km_length_mix_independent(struct km_length_mix *mix,
                                         const struct km_distribution *prompt_tokens,
                                         const struct km_distribution *output_tokens, struct km_error *error)
{
    struct marginal prompt, output;
    *mix = (struct km_length_mix){0};
    enum km_status status = marginal_of(prompt_tokens, "prompt", &prompt, error);
    if (status == KM_OK)
        status = marginal_of(output_tokens, "output", &output, error);
    if (status != KM_OK)
        return status;
    mix->prompt_mean = prompt.mean;
    mix->prompt_square = prompt.square;
    mix->output_mean = output.mean;
    mix->decode_mean = fmax(output.mean - 1.0, 0.0);
    mix->decode_square = fmax(output.square - 2.0 * output.mean + 1.0, 0.0);
    mix->prompt_decode_mean = mix->prompt_mean * mix->decode_mean;
    memcpy(mix->prompt_class, prompt.point, sizeof prompt.point);
    memcpy(mix->output_class, output.point, sizeof output.point);
    return KM_OK;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void recorded_classes(const uint32_t *tokens, size_t count, double *out)
{
    double *value = km_alloc(count * sizeof *value), *weight = km_alloc(count * sizeof *weight);
    for (size_t i = 0; i < count; i++) {
        value[i] = tokens[i];
        weight[i] = 1.0;
    }
    qsort(value, count, sizeof *value, ascending);
    classes(value, weight, count, (double)count, out);
    free(value);
    free(weight);
}

enum km_status km_length_mix_recorded(struct km_length_mix *mix, const uint32_t *prompt_tokens,
                                      const uint32_t *output_tokens, size_t count, struct km_error *error)
{
    *mix = (struct km_length_mix){0};
    if (count == 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "the workload has no requests");
    for (size_t i = 0; i < count; i++) {
        double p = prompt_tokens[i], n = output_tokens[i], d = n - 1.0;
        if (p < 1.0 || n < 1.0)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "request %zu has no tokens", i + 1);
        mix->prompt_mean += p;
        mix->prompt_square += p * p;
        mix->output_mean += n;
        mix->decode_mean += d;
        mix->decode_square += d * d;
        mix->prompt_decode_mean += p * d;
    }
    double *const sums[] = {&mix->prompt_mean, &mix->prompt_square, &mix->output_mean,
                            &mix->decode_mean, &mix->decode_square, &mix->prompt_decode_mean};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        *sums[i] /= (double)count;
    recorded_classes(prompt_tokens, count, mix->prompt_class);
    recorded_classes(output_tokens, count, mix->output_class);
    return KM_OK;
}

double km_length_mix_context(const struct km_length_mix *mix)
{
    if (mix->decode_mean <= 0.0)
        return 0.0;
    return (mix->prompt_decode_mean + 0.5 * (mix->decode_square + mix->decode_mean)) / mix->decode_mean;
}

/* Sum over i = 1 .. d of min(p + i, window). */
static double windowed_sum(double p, double d, double window)
{
    double inside = fmin(d, fmax(0.0, window - p));
    return inside * p + 0.5 * inside * (inside + 1.0) + (d - inside) * window;
}

double km_length_mix_windowed(const struct km_length_mix *mix, uint32_t window)
{
    if (window == 0)
        return km_length_mix_context(mix);
    double sum = 0.0, steps = 0.0;
    for (size_t n = 0; n < KM_LENGTH_CLASSES; n++) {
        double d = fmax(mix->output_class[n] - 1.0, 0.0);
        for (size_t p = 0; p < KM_LENGTH_CLASSES; p++)
            sum += windowed_sum(mix->prompt_class[p], d, window);
        steps += d * KM_LENGTH_CLASSES;
    }
    return steps > 0.0 ? sum / steps : 0.0;
}

double km_length_mix_longest(const struct km_length_mix *mix)
{
    return mix->prompt_class[KM_LENGTH_CLASSES - 1] + mix->output_class[KM_LENGTH_CLASSES - 1];
}
