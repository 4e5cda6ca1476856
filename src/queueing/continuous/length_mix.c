#include "queueing/continuous/length_mix.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double km_length_top_share(unsigned part)
{
    return part + 1 < KM_LENGTH_TOP ? ldexp(1.0, -(int)part - 1) : ldexp(1.0, 1 - KM_LENGTH_TOP);
}

/* Masses weight[i] at value[i], ascending, taken from below. */
struct masses {
    const double *value, *weight;
    size_t count, at;
    double left; /* of weight[at] */
};

static double take_mean(struct masses *masses, double share)
{
    double need = share, sum = 0.0;
    while (need > 0.0) {
        bool last = masses->at + 1 >= masses->count;
        double take = last || masses->left > need ? need : masses->left;
        sum += take * masses->value[masses->at];
        need -= take;
        masses->left -= take;
        if (!last && masses->left <= 0.0)
            masses->left = masses->weight[++masses->at];
    }
    return sum / share;
}

/* Means of the classes, and of the parts of the top one. */
static void classes(const double *value, const double *weight, size_t count, double total, double *out,
                    double *top)
{
    struct masses masses = {value, weight, count, 0, weight[0]};
    double share = total / KM_LENGTH_CLASSES, mean = 0.0;
    for (size_t c = 0; c + 1 < KM_LENGTH_CLASSES; c++)
        out[c] = take_mean(&masses, share);
    for (unsigned part = 0; part < KM_LENGTH_TOP; part++) {
        top[part] = take_mean(&masses, share * km_length_top_share(part));
        mean += top[part] * km_length_top_share(part);
    }
    out[KM_LENGTH_CLASSES - 1] = mean;
}

struct marginal {
    double mean, square;
    double point[KM_LENGTH_CLASSES], top[KM_LENGTH_TOP];
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
    classes(value, pmf, (size_t)max + 1, total, out->point, out->top);
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
    memcpy(mix->prompt_top, prompt.top, sizeof prompt.top);
    memcpy(mix->output_class, output.point, sizeof output.point);
    return KM_OK;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void recorded_classes(const uint32_t *tokens, size_t count, double *out, double *top)
{
    double *value = km_alloc(count * sizeof *value), *weight = km_alloc(count * sizeof *weight);
    for (size_t i = 0; i < count; i++) {
        value[i] = tokens[i];
        weight[i] = 1.0;
    }
    qsort(value, count, sizeof *value, ascending);
    classes(value, weight, count, (double)count, out, top);
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
    double output_top[KM_LENGTH_TOP];
    recorded_classes(prompt_tokens, count, mix->prompt_class, mix->prompt_top);
    recorded_classes(output_tokens, count, mix->output_class, output_top);
    return KM_OK;
}

double km_length_mix_pieces(const struct km_length_mix *mix, uint32_t most_tokens, struct km_length_mix *out)
{
    struct {
        double tokens[KM_LENGTH_CLASSES + 1], weight[KM_LENGTH_CLASSES + 1];
    } pieces;
    double whole = 0.0, mean = 0.0, square = 0.0;
    for (size_t c = 0; c < KM_LENGTH_CLASSES; c++) {
        double before = fmax(ceil(mix->prompt_class[c] / most_tokens) - 1.0, 0.0);
        whole += before;
        pieces.tokens[c] = mix->prompt_class[c] - before * most_tokens;
    }
    qsort(pieces.tokens, KM_LENGTH_CLASSES, sizeof *pieces.tokens, ascending);
    pieces.tokens[KM_LENGTH_CLASSES] = most_tokens;
    for (size_t c = 0; c <= KM_LENGTH_CLASSES; c++) {
        pieces.weight[c] = c < KM_LENGTH_CLASSES ? 1.0 : whole;
        mean += pieces.weight[c] * pieces.tokens[c];
        square += pieces.weight[c] * pieces.tokens[c] * pieces.tokens[c];
    }
    double total = KM_LENGTH_CLASSES + whole;
    *out = *mix;
    out->prompt_mean = mean / total;
    out->prompt_square = square / total;
    classes(pieces.tokens, pieces.weight, KM_LENGTH_CLASSES + (whole > 0.0), total, out->prompt_class,
            out->prompt_top);
    return total / KM_LENGTH_CLASSES;
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

double km_length_mix_context_variance(const struct km_length_mix *mix)
{
    double sum = 0.0, squares = 0.0, steps = 0.0;
    for (size_t n = 0; n < KM_LENGTH_CLASSES; n++) {
        double d = fmax(mix->output_class[n] - 1.0, 0.0);
        for (size_t i = 0; i < KM_LENGTH_CLASSES; i++) {
            double p = mix->prompt_class[i];
            sum += d * p + d * (d + 1.0) / 2.0;
            squares += d * p * p + p * d * (d + 1.0) + d * (d + 1.0) * (2.0 * d + 1.0) / 6.0;
        }
        steps += d * KM_LENGTH_CLASSES;
    }
    return steps > 0.0 ? fmax(squares / steps - sum / steps * (sum / steps), 0.0) : 0.0;
}

double km_length_mix_longest(const struct km_length_mix *mix)
{
    return mix->prompt_class[KM_LENGTH_CLASSES - 1] + mix->output_class[KM_LENGTH_CLASSES - 1];
}
