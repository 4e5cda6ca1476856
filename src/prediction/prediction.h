/* Predictions of output lengths: what an engine believes of a request before it has answered. One file and one registry
 * line a kind.
 *
 * A predictor is asked once for each request, when it arrives and before it is routed, so that the router, the policy and
 * the KV manager see the same number. It draws from a stream of its own (KM_RANDOM_PREDICTION): what a kind draws moves
 * no arrival and no length. Kinds that stand for a trained model start from the true length and lose some of it; how
 * much is their setting. */
#ifndef KM_PREDICTION_PREDICTION_H
#define KM_PREDICTION_PREDICTION_H

#include "base/registry.h"
#include "base/settings.h"
#include "workload/request.h"

#include <gsl/gsl_rng.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct km_prediction_kind {
    struct km_entry entry;
    const struct km_setting *settings; /* of a struct that begins with KM_PREDICTION_NAME */
    const void *defaults;              /* such a struct; settings_bytes long */
    size_t settings_bytes;
    size_t state_bytes; /* zeroed before the first call */
    /* Output tokens, > 0; 0: no prediction. NULL: never any. */
    double (*predict)(void *state, const void *settings, const struct km_request *request, gsl_rng *rng);
    /* Optional: a request of the class has ended with so many output tokens. */
    void (*learn)(void *state, uint32_t class_index, uint32_t output_tokens);
    void (*release)(void *state); /* optional: free what the state points to */
};

/* First member of each kind's settings, and first row of its table. */
#define KM_PREDICTION_NAME const char *kind
#define KM_PREDICTION_NAME_SETTING                                                                           \
    {                                                                                                        \
        "kind", KM_SETTING_CHOICE, 0, .registry = km_prediction_registry, .doc = "what predicts the length"  \
    }

/* A kind and its settings. Zeroed: none. */
struct km_prediction {
    const struct km_prediction_kind *kind;
    const void *settings; /* borrowed */
};

extern const struct km_entry *const km_prediction_registry[];

static inline bool km_prediction_predicts(const struct km_prediction *prediction)
{
    return prediction->kind && prediction->kind->predict;
}

struct km_predictor; /* opaque */

/* `prediction` is borrowed. */
struct km_predictor *km_predictor_create(const struct km_prediction *prediction, uint64_t seed);
void km_predictor_destroy(struct km_predictor *predictor);
/* Output tokens, at least 1 and at most the request's max_tokens; 0: no prediction. */
float km_predictor_ask(struct km_predictor *predictor, const struct km_request *request);
void km_predictor_learn(struct km_predictor *predictor, uint32_t class_index, uint32_t output_tokens);

#endif
