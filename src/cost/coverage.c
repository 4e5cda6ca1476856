#include "cost/coverage.h"

#include <math.h>
#include <string.h>

const char *km_origin_name(enum km_origin origin)
{
    static const char *const names[KM_ORIGIN_COUNT] = {"measured", "interpolated", "extrapolated",
                                                       "not measured"};
    return names[origin];
}

static struct km_guess *guess_of(struct km_coverage *coverage, const char *op)
{
    for (uint32_t i = 0; i < coverage->guess_count; i++)
        if (coverage->guesses[i].op == op)
            return &coverage->guesses[i];
    for (uint32_t i = 0; i < coverage->guess_count; i++) /* rare: names are literals, which are mostly one */
        if (strcmp(coverage->guesses[i].op, op) == 0)
            return &coverage->guesses[i];
    if (coverage->guess_count == KM_COVERAGE_GUESSES)
        return NULL;
    struct km_guess *fresh = &coverage->guesses[coverage->guess_count++];
    *fresh = (struct km_guess){.op = op};
    return fresh;
}

void km_coverage_add(struct km_coverage *coverage, const char *op, enum km_origin origin, double time_s,
                     double formula_s, bool supplement)
{
    coverage->time_s[origin] += time_s;
    if (supplement)
        coverage->supplement_s += time_s;
    struct km_guess *guess = origin >= KM_ORIGIN_EXTRAPOLATED ? guess_of(coverage, op) : NULL;
    if (!guess)
        return;
    guess->time_s += time_s;
    if (origin == KM_ORIGIN_EXTRAPOLATED) {
        guess->extrapolated_s += time_s;
        guess->by_formula_s += formula_s;
    }
}

/* How many times as long, or as much less. */
static double apart(double ratio)
{
    return fmax(ratio, 1.0 / ratio);
}

struct km_doubt km_coverage_doubt(const struct km_coverage *coverage)
{
    struct km_doubt doubt = {0};
    double whole_s = 0.0, most_s = 0.0;
    const char *most_op = NULL;
    for (int origin = 0; origin < KM_ORIGIN_COUNT; origin++)
        whole_s += coverage->time_s[origin];
    if (whole_s <= 0.0)
        return doubt;
    for (uint32_t i = 0; i < coverage->guess_count; i++) {
        const struct km_guess *guess = &coverage->guesses[i];
        if (guess->time_s > most_s) {
            most_s = guess->time_s;
            most_op = guess->op;
        }
        if (guess->by_formula_s <= 0.0 || guess->extrapolated_s < KM_DOUBT_LEAST_SHARE * whole_s)
            continue;
        const double ratio = guess->extrapolated_s / guess->by_formula_s;
        if (apart(ratio) > KM_DOUBT_RATIO &&
            (!doubt.extrapolated_op || apart(ratio) > apart(doubt.extrapolated_ratio))) {
            doubt.extrapolated_op = guess->op;
            doubt.extrapolated_ratio = ratio;
        }
    }
    const double share =
        (coverage->time_s[KM_ORIGIN_EXTRAPOLATED] + coverage->time_s[KM_ORIGIN_MODEL]) / whole_s;
    if (share > KM_DOUBT_SHARE) {
        doubt.guessed_share = share;
        doubt.guessed_op = most_op;
        doubt.guessed_op_share = most_s / whole_s;
    }
    return doubt;
}

bool km_doubt_describe(const struct km_doubt *doubt, const char *device, struct km_text *out)
{
    if (doubt->guessed_op)
        km_text_printf(out, "%.0f %% of the time on %s is guessed, not measured, most of it %s (%.0f %%)",
                       100.0 * doubt->guessed_share, device, doubt->guessed_op,
                       100.0 * doubt->guessed_op_share);
    if (doubt->extrapolated_op && doubt->guessed_op)
        km_text_printf(out, "; %s", doubt->extrapolated_op);
    else if (doubt->extrapolated_op)
        km_text_printf(out, "%s on %s", doubt->extrapolated_op, device);
    if (doubt->extrapolated_op)
        km_text_printf(out, " is extrapolated to %.2g times the roofline's time", doubt->extrapolated_ratio);
    return doubt->guessed_op || doubt->extrapolated_op;
}
