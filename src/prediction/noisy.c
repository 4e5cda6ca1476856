/* The true length times exp(sigma Z), Z standard normal: right in the median, and off by a factor of exp(sigma) or more in
 * a third of the cases. */
#include "prediction/prediction.h"

#include <gsl/gsl_randist.h>
#include <math.h>

struct noisy {
    KM_PREDICTION_NAME;
    double sigma;
};

static const struct km_setting settings[] = {
    KM_PREDICTION_NAME_SETTING,
    {"sigma", KM_SETTING_NUMBER, offsetof(struct noisy, sigma), KM_BETWEEN(0, 10),
     .doc = "noisy: standard deviation of the prediction's logarithm"},
    {0},
};
static const struct noisy defaults = {"noisy", 0};

static double predict(void *state, const void *chosen, const struct km_request *request, gsl_rng *rng)
{
    const struct noisy *noisy = chosen;
    (void)state;
    return request->output_tokens * exp(noisy->sigma * gsl_ran_ugaussian(rng));
}

const struct km_prediction_kind km_prediction_noisy = {
    .entry = {"noisy", "the true length times a lognormal error"},
    .settings = settings,
    .defaults = &defaults,
    .settings_bytes = sizeof defaults,
    .predict = predict,
};
