#include "cost/profile/measured.h"
#include "support/check.h"
#include "support/importing.h"
#include "support/shipped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

extern const struct km_cost_model km_cost_profile;

/* DeepSeek-V2-Lite: 16 heads over latents of 512 and 64. */
#define FIXED                                                                                                \
    "{\"fixed\": {\"kv_dtype\": \"bf16\", \"heads\": 16, \"latent\": 512, \"rope\": 64}, \"dims\": ["
static const char rows[] =
    "{\"schema\": 1, \"device\": \"h200-sxm\", \"provenance\": {\"source\": \"test\"}, \"tables\": {"
    "\"gemm\": {\"fixed\": {\"weights\": \"bf16\", \"activations\": \"bf16\"}, \"dims\": [\"n\", \"k\", "
    "\"m\"], "
    "\"rows\": [[512, 512, 1, 3]]},"
    "\"attention_mla_decode\": " FIXED "\"batch\", \"context\"], \"rows\": [[16, 1024, 20]]},"
    "\"attention_mla_chunk\": " FIXED "\"past\", \"tokens\"], \"rows\": [[0, 512, 26], [2048, 512, 80]]},"
    "\"attention_mla_prefill\": " FIXED
    "\"past\", \"tokens\"], \"rows\": [[0, 1024, 22], [512, 1024, 15], [2048, 1024, 35]]}}}";

/* Short chunks and decodes attend to latents; longer chunks to themselves, and in a launch apart to what is before them. */
static void forms(void **state)
{
    (void)state;
    static const struct {
        struct km_chunk chunk;
        uint32_t decodes;
        double us;
    } cases[] = {
        {{0}, 16, 20},
        {{512, 0}, 0, 26},
        {{512, 2048}, 0, 80},
        {{512, 0}, 16, 46},
        {{1024, 0}, 0, 22},
        {{1024, 512}, 0, 37},
        {{1024, 2048}, 16, 22 + 35 + 20},
    };
    struct shipped w;
    struct km_error error;
    struct folder_file files[] = {{"own.json", rows}, {0}};
    const struct folder folder = make_folder(files);
    char path[120];
    void *cost;
    snprintf(path, sizeof path, "%s/own.json", folder.path);
    open_shipped("h200-sxm", "deepseek-v2-lite", "vllm-0.26", &w);
    struct km_cost_config config = shipped_config(&w, path);
    must(km_cost_profile.create(&config, &cost, &error), &error);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct km_chunk *chunk = &cases[i].chunk;
        const uint32_t decodes = cases[i].decodes, chunks = chunk->tokens > 0;
        const struct km_step_shape step = {
            .chunks = chunk,
            .chunk_count = chunks,
            .prefill_tokens = chunk->tokens,
            .sampled = decodes + chunks,
            .decode = {.count = decodes, .sum_context = decodes * 1024u, .max_context = decodes ? 1024 : 0}};
        const struct op_times times = time_op(&km_cost_profile, cost, &step, "mla_attention");
        assert_near(1e6 * times.time_s / times.count, cases[i].us, 1e-9);
    }
    km_cost_profile.destroy(cost);
    remove_folder(&folder);
    km_arena_release(&w.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
