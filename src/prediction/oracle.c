/* The true length: what the best predictor could gain. */
#include "prediction/prediction.h"

struct oracle {
    KM_PREDICTION_NAME;
};

static const struct km_setting settings[] = {KM_PREDICTION_NAME_SETTING, {0}};
static const struct oracle defaults = {"oracle"};

static double predict(void *state, const void *chosen, const struct km_request *request, gsl_rng *rng)
{
    (void)state, (void)chosen, (void)rng;
    return request->output_tokens;
}

const struct km_prediction_kind km_prediction_oracle = {
    .entry = {"oracle", "the true length"},
    .settings = settings,
    .defaults = &defaults,
    .settings_bytes = sizeof defaults,
    .predict = predict,
};
