/* Coverage: how much of the device's time a cost model knew, and how much it guessed.
 *
 * An operator's time is measured at this very shape, interpolated between measured shapes, or guessed:
 * extrapolated beyond them, or by formula where nothing was measured. Kept beside the sums are the operators
 * with guessed time, so that a doubt can name the one that carries it. */
#ifndef KM_COST_COVERAGE_H
#define KM_COST_COVERAGE_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* Where an operator's time comes from; each is less certain than the one before. */
enum km_origin {
    KM_ORIGIN_MEASURED,     /* this very shape */
    KM_ORIGIN_INTERPOLATED, /* between measured shapes */
    KM_ORIGIN_EXTRAPOLATED, /* beyond them: the roofline at the edge's efficiency */
    KM_ORIGIN_MODEL,        /* not measured: the cost model's formula */
    KM_ORIGIN_COUNT,
};
const char *km_origin_name(enum km_origin origin); /* "measured", ... */

/* Guessed time of the operators of one name. */
struct km_guess {
    const char *op;                      /* a literal: outlives everything */
    double time_s;                       /* extrapolated or by formula */
    double extrapolated_s, by_formula_s; /* of these, beyond the tables; the formula's time for the same */
};

/* A model has about 20 operators by name; the time of any beyond these is in the sums alone. */
#define KM_COVERAGE_GUESSES 32

/* Device time by origin, over the steps that a cost model was asked for. A run of decode-only steps that is
 * drawn as a line is asked for once, so these are shares, not totals. */
struct km_coverage {
    double time_s[KM_ORIGIN_COUNT];
    double supplement_s; /* of these: by rows of the profile's supplement (cost/profile/measured.h) */
    struct km_guess guesses[KM_COVERAGE_GUESSES];
    uint32_t guess_count;
};

/* `time_s` of an operator that takes `formula_s` by the cost model's formula. */
void km_coverage_add(struct km_coverage *coverage, const char *op, enum km_origin origin, double time_s,
                     double formula_s, bool supplement);

/* More than half of the time is guessed. */
#define KM_DOUBT_SHARE 0.5
/* Or an operator beyond its tables takes so many times as long as by formula, or as much less: then either
 * its edge is not like the rest of it, or the formula is wrong. Not for operators of less than a twentieth of the time. */
#define KM_DOUBT_RATIO       3.0
#define KM_DOUBT_LEAST_SHARE 0.05

/* What in a coverage makes the answer doubtful; all 0 and NULL when nothing does, or nothing was timed. */
struct km_doubt {
    double guessed_share;        /* of the time, when more than KM_DOUBT_SHARE */
    const char *guessed_op;      /* with most of the guessed time, ... */
    double guessed_op_share;     /* ... so much of the whole */
    const char *extrapolated_op; /* farthest from its formula, when beyond KM_DOUBT_RATIO, ... */
    double extrapolated_ratio;   /* ... its time over the formula's */
};
struct km_doubt km_coverage_doubt(const struct km_coverage *coverage);

/* "61 % of the time on h100-sxm is not measured, most of it experts_up (40 %); attention is extrapolated to
 * 4.2 times the roofline's time"; false, with nothing appended, when there is no doubt. */
bool km_doubt_describe(const struct km_doubt *doubt, const char *device, struct km_text *out);

#endif
