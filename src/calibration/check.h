/* How far a profile is from measurements that it does not contain.
 *
 * A check is a plain CSV of rows (configs/profiles/README.md), as kingman-calibrate --check writes them:
 * shapes drawn at random and measured on the device. Each is looked up in the profile as the cost model
 * would; its error is predicted / measured - 1. Shapes that stand in the profile tell how well the device
 * repeats a measurement, which no interpolation can be better than; they are counted apart. */
#ifndef KM_CALIBRATION_CHECK_H
#define KM_CALIBRATION_CHECK_H

#include "base/error.h"
#include "cost/profile/profile.h"
#include "hardware/device.h"

#include <stdbool.h>
#include <stddef.h>

#define KM_CHECK_LINES 64

/* Errors of one class, and, where its first dims are number formats, one format of it. */
struct km_check_line {
    enum km_profile_class class;
    enum km_dtype format; /* KM_DTYPE_COUNT: the class has none */
    bool again;           /* shapes of the profile, measured again */
    size_t shapes;
    size_t beyond;                        /* of these outside the measured range */
    double bias, median, p90, p95, worst; /* bias: median of the errors; the others: of their sizes */
};

struct km_check {
    struct km_check_line lines[KM_CHECK_LINES];
    size_t count;
    size_t unanswered; /* rows for which the profile has no table */
};

/* `profile` is bound to `device` (km_profile_bind). KM_BAD_INPUT: the file cannot be read, has no times, or
 * has more classes and formats than KM_CHECK_LINES / 2. */
enum km_status km_check_profile(const struct km_profile *profile, const struct km_device *device,
                                const char *csv, struct km_check *out, struct km_error *error);

#endif
