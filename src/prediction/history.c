/* The mean output of the requests of its class that have ended so far; before the first of a class, of all; before the
 * first of all, `initial_tokens`. Nothing but what an operator can see. */
#include "base/memory.h"
#include "prediction/prediction.h"

#include <stdlib.h>

struct history {
    KM_PREDICTION_NAME;
    double initial_tokens; /* 0 = no prediction until somebody has ended */
};

struct mean {
    uint64_t count, tokens;
};

struct past {
    struct mean all;
    struct mean *classes; /* [capacity] */
    size_t capacity;
};

static const struct km_setting settings[] = {
    KM_PREDICTION_NAME_SETTING,
    {"initial_tokens", KM_SETTING_NUMBER, offsetof(struct history, initial_tokens), KM_BETWEEN(0, 1e9),
     .optional = true, .doc = "history: before the first request has ended; 0 = no prediction"},
    {0},
};
static const struct history defaults = {"history", 0};

static double predict(void *state, const void *chosen, const struct km_request *request, gsl_rng *rng)
{
    const struct past *past = state;
    const struct history *history = chosen;
    const struct mean *mean = &past->all;
    (void)rng;
    if (request->class_index < past->capacity && past->classes[request->class_index].count)
        mean = &past->classes[request->class_index];
    return mean->count ? (double)mean->tokens / (double)mean->count : history->initial_tokens;
}

static void learn(void *state, uint32_t class_index, uint32_t output_tokens)
{
    struct past *past = state;
    size_t old = past->capacity;
    past->classes = km_grow(past->classes, &past->capacity, (size_t)class_index + 1, sizeof *past->classes);
    for (size_t i = old; i < past->capacity; i++)
        past->classes[i] = (struct mean){0};
    struct mean *means[] = {&past->all, &past->classes[class_index]};
    for (size_t i = 0; i < sizeof means / sizeof *means; i++) {
        means[i]->count++;
        means[i]->tokens += output_tokens;
    }
}

static void release(void *state)
{
    free(((struct past *)state)->classes);
}

const struct km_prediction_kind km_prediction_history = {
    .entry = {"history", "mean output of the class's requests that have ended"},
    .settings = settings,
    .defaults = &defaults,
    .settings_bytes = sizeof defaults,
    .state_bytes = sizeof(struct past),
    .predict = predict,
    .learn = learn,
    .release = release,
};
