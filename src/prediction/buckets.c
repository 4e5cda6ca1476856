/* A classifier of lengths: it tells the bucket of `bucket_tokens` in which the length lies, and so its upper end, for as
 * many tokens may come (S3, Jin et al., arXiv 2306.06000, section 3: buckets of equal width, the last one open, and memory
 * for the upper end). With probability 1 - accuracy it names a neighbour, either with the same chance; below the
 * first and above the last there is none, and the first or last is named instead. */
#include "prediction/prediction.h"

#include <math.h>

struct buckets {
    KM_PREDICTION_NAME;
    double bucket_tokens, accuracy;
    uint32_t count;
};

#define AT(member) offsetof(struct buckets, member)
static const struct km_setting settings[] = {
    KM_PREDICTION_NAME_SETTING,
    {"bucket_tokens", KM_SETTING_NUMBER, AT(bucket_tokens), KM_BETWEEN(1, 1e6), .doc = "buckets: width"},
    {"count", KM_SETTING_U32, AT(count), KM_BETWEEN(1, 1e6),
     .doc = "buckets: how many; the last holds all that is longer"},
    {"accuracy", KM_SETTING_NUMBER, AT(accuracy), KM_BETWEEN(0, 1), .optional = true,
     .doc = "buckets: share of requests whose bucket is the right one"},
    {0},
};
static const struct buckets defaults = {.kind = "buckets", .accuracy = 1};

static double predict(void *state, const void *chosen, const struct km_request *request, gsl_rng *rng)
{
    const struct buckets *b = chosen;
    double bucket = ceil(request->output_tokens / b->bucket_tokens), miss = gsl_rng_uniform(rng);
    (void)state;
    bucket = fmin(bucket, b->count);
    if (miss >= b->accuracy)
        bucket += miss - b->accuracy < (1 - b->accuracy) / 2 ? -1 : 1;
    return b->bucket_tokens * fmin(fmax(bucket, 1), b->count);
}

const struct km_prediction_kind km_prediction_buckets = {
    .entry = {"buckets", "upper end of the length's bucket, right with a given probability (S3)"},
    .settings = settings,
    .defaults = &defaults,
    .settings_bytes = sizeof defaults,
    .predict = predict,
};
