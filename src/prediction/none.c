/* Nothing is known before a request has ended. */
#include "prediction/prediction.h"

struct none {
    KM_PREDICTION_NAME;
};

static const struct km_setting settings[] = {KM_PREDICTION_NAME_SETTING, {0}};
static const struct none defaults = {"none"};

const struct km_prediction_kind km_prediction_none = {
    .entry = {"none", "no predictions (default)"},
    .settings = settings,
    .defaults = &defaults,
    .settings_bytes = sizeof defaults,
};
