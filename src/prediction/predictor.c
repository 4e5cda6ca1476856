#include "base/memory.h"
#include "base/random.h"
#include "prediction/prediction.h"

#include <stdlib.h>

struct km_predictor {
    struct km_prediction prediction;
    gsl_rng *rng;
    void *state;
};

struct km_predictor *km_predictor_create(const struct km_prediction *prediction, uint64_t seed)
{
    struct km_predictor *predictor = km_alloc(sizeof *predictor);
    predictor->prediction = *prediction;
    if (!prediction->kind)
        return predictor;
    predictor->rng = km_random_stream(seed, KM_RANDOM_PREDICTION);
    predictor->state = km_alloc(prediction->kind->state_bytes);
    return predictor;
}

void km_predictor_destroy(struct km_predictor *predictor)
{
    if (!predictor)
        return;
    const struct km_prediction_kind *kind = predictor->prediction.kind;
    if (kind && kind->release)
        kind->release(predictor->state);
    if (kind)
        gsl_rng_free(predictor->rng);
    free(predictor->state);
    free(predictor);
}

float km_predictor_ask(struct km_predictor *predictor, const struct km_request *request)
{
    const struct km_prediction *prediction = &predictor->prediction;
    if (!km_prediction_predicts(prediction))
        return 0;
    double tokens =
        prediction->kind->predict(predictor->state, prediction->settings, request, predictor->rng);
    if (!(tokens > 0))
        return 0;
    if (request->max_tokens && tokens > request->max_tokens)
        tokens = request->max_tokens;
    return tokens < 1 ? 1 : tokens > 1e9 ? 1e9f : (float)tokens;
}

void km_predictor_learn(struct km_predictor *predictor, uint32_t class_index, uint32_t output_tokens)
{
    const struct km_prediction_kind *kind = predictor->prediction.kind;
    if (kind && kind->learn)
        kind->learn(predictor->state, class_index, output_tokens);
}
