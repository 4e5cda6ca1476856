#include "planner/model_len.h"

#include <math.h>

static uint64_t scaled(uint32_t tokens, double scale)
{
    return scale > 0.0 ? (uint64_t)ceil(tokens * scale) : tokens;
}

static uint64_t longest_drawn(const struct km_workload_settings *asked)
{
    const uint32_t prompt = km_distribution_most_tokens(&asked->prompt_tokens),
                   output = km_distribution_most_tokens(&asked->output_tokens);
    return prompt && output
               ? scaled(prompt, asked->prompt_tokens_scale) + scaled(output, asked->output_tokens_scale)
               : 0;
}

uint64_t km_load_longest_tokens(const struct km_load *load)
{
    const struct km_workload_settings *asked = &load->asked;
    uint64_t longest = 0;
    size_t count = 0;
    if (!load->recording)
        return longest_drawn(asked);
    for (uint64_t i = 0; i < load->count; i++) { /* of an open load: those of the trace that are asked for */
        const struct km_load_request *request = &load->requests[i];
        const uint64_t tokens = (uint64_t)request->prompt_tokens + request->output_tokens;
        longest = tokens > longest ? tokens : longest;
    }
    if (load->open)
        return longest;
    const struct km_request *requests = km_recording_requests(load->recording, &count);
    for (size_t i = 0; i < count; i++) {
        const uint64_t tokens = scaled(requests[i].prompt_tokens, asked->prompt_tokens_scale) +
                                scaled(requests[i].output_tokens, asked->output_tokens_scale);
        longest = tokens > longest ? tokens : longest;
    }
    return longest;
}

/* UINT64_MAX where nothing is to be lowered: it starts with anything, or cannot be laid out at all. */
static uint64_t most_of(const struct km_scenario *scenario)
{
    struct km_memory_map map;
    const uint32_t override = scenario->engine.num_gpu_blocks_override;
    if (km_setup_memory(scenario, &map, NULL) != KM_OK)
        return UINT64_MAX;
    const uint64_t blocks = override ? override : map.blocks / scenario->cluster.data_parallel_size;
    return blocks ? km_setup_most_model_len(scenario, &map.groups, blocks) : UINT64_MAX;
}

bool km_model_len_lower(struct km_scenario *scenario, uint64_t longest_tokens)
{
    struct km_engine *engine = &scenario->engine;
    const uint64_t most = most_of(scenario), wanted = longest_tokens ? longest_tokens : most;
    if (engine->max_model_len <= most || engine->max_model_len < scenario->model.max_position_embeddings ||
        wanted > most)
        return false;
    engine->max_model_len = (uint32_t)wanted;
    return true;
}

void km_model_len_explain(const struct km_scenario *scenario, uint64_t longest_tokens, struct km_text *out)
{
    const uint64_t most = most_of(scenario);
    if (scenario->engine.max_model_len <= most)
        return;
    km_text_printf(out, "does not start: --max-model-len <= %llu, ", (unsigned long long)most);
    if (longest_tokens > most)
        km_text_printf(out, "and the longest request has %llu tokens", (unsigned long long)longest_tokens);
    else
        km_text_printf(out, "and %u is stated", scenario->engine.max_model_len);
}
