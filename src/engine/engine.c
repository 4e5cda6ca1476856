#include "engine/engine.h"

#include <string.h>

uint32_t km_engine_padded_tokens(const struct km_engine *engine, uint32_t tokens, bool *captured)
{
    uint32_t low = 0, high = engine->graph_size_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (engine->graph_sizes[middle] < tokens)
            low = middle + 1;
        else
            high = middle;
    }
    *captured = low < engine->graph_size_count;
    if (*captured)
        return engine->graph_sizes[low];
    uint32_t granularity = engine->composition.token_granularity;
    return granularity > 1 ? (tokens + granularity - 1) / granularity * granularity : tokens;
}

bool km_engine_is(const char *name, const char *program)
{
    size_t n = strlen(program);
    return strncmp(name, program, n) == 0 && (name[n] == '\0' || name[n] == '-');
}

bool km_scope_has(enum km_model_scope scope, bool model_is_dense)
{
    return scope == KM_SCOPE_ALL || scope == (model_is_dense ? KM_SCOPE_DENSE : KM_SCOPE_NOT_DENSE);
}

bool km_engine_places_tokens(const struct km_engine *engine, bool model_is_dense)
{
    return engine->async_scheduling && km_scope_has(engine->pipeline_placeholders, model_is_dense);
}
