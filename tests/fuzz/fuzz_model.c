/* Any bytes as a config.json: a model with finite counts, or exactly one error. Start from models/ and
 * tests/data/bad-models/ as the corpus. */
#include "model/model.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct km_arena arena = {0};
    struct km_model model;
    struct km_error error = {0};
    if (km_model_parse((const char *)data, size, "fuzz.json", &arena, &model, &error) == KM_OK) {
        struct km_parameters p;
        km_model_parameters(&model, &p);
        if (!isfinite(p.total) || p.total <= 0 || p.active > p.total || p.active < 0)
            abort();
        double bytes = km_model_kv_bytes_per_token(&model, KM_BF16, 8);
        for (uint32_t i = 0; i < model.layer_count; i++)
            bytes += km_layer_state_bytes(&model.layers[i], 2.0);
        if (!isfinite(bytes) || bytes < 0)
            abort();
    } else if (error.status != KM_BAD_INPUT || !error.message[0] || error.line < 1 || error.column < 1) {
        abort();
    }
    km_arena_release(&arena);
    return 0;
}
