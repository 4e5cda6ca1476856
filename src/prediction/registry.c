#include "prediction/prediction.h"

extern const struct km_prediction_kind km_prediction_none, km_prediction_oracle, km_prediction_history,
    km_prediction_buckets, km_prediction_noisy, km_prediction_rank;

const struct km_entry *const km_prediction_registry[] = {
    /* clang-format off */
    &km_prediction_none.entry,
    &km_prediction_oracle.entry,
    &km_prediction_history.entry,
    &km_prediction_buckets.entry,
    &km_prediction_noisy.entry,
    &km_prediction_rank.entry,
    NULL,
    /* clang-format on */
};
