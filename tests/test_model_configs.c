/* config.json files of current models as published (../shared/data/model-configs; skipped without it): what is
 * read agrees with the parameters that the models' cards state, and what is not read is refused by name.
 *
 * Counts are of the language model without MTP layers and other towers: of the cards of these names, or, where
 * a card rounds, of the tensors in the checkpoint (Hugging Face's safetensors totals). */
#include "base/file.h"
#include "model/memory.h"
#include "model/model.h"
#include "model/operators.h"
#include "support/check.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER KM_SOURCE_DIR "/../shared/data/model-configs/"

static const struct {
    const char *file;         /* before _config.json */
    double total_b, active_b; /* 10^9; active 0: all of them, or not stated */
    enum km_dtype weights, attention, kv_cache;
    const char *refused; /* the word that the refusal names; NULL: it is read */
} cases[] = {
    {"MiniMaxAI--MiniMax-M2.5", 229, 0, KM_FP8, KM_FP8, KM_BF16, NULL},
    {"MiniMaxAI--MiniMax-M2.7", 229, 0, KM_FP8, KM_FP8, KM_BF16, NULL},
    {"Qwen--Qwen3-0.6B", 0.596, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"Qwen--Qwen3-1.7B", 1.72, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"Qwen--Qwen3-8B", 8.19, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"Qwen--Qwen3-32B", 32.8, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"Qwen--Qwen3-32B-FP8", 32.8, 0, KM_FP8, KM_FP8, KM_BF16, NULL},
    {"Qwen--Qwen3-30B-A3B", 30.5, 3.3, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"Qwen--Qwen3-30B-A3B-FP8", 30.5, 3.3, KM_FP8, KM_FP8, KM_BF16, NULL},
    {"Qwen--Qwen3-235B-A22B", 235, 22, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"Qwen--Qwen3-235B-A22B-FP8", 235, 22, KM_FP8, KM_FP8, KM_BF16, NULL},
    {"Qwen--Qwen3-VL-4B-Instruct", 4.02, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"Qwen--Qwen3-VL-8B-Instruct", 8.19, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"Qwen--Qwen3-VL-32B-Instruct", 32.8, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"Qwen--Qwen3-VL-30B-A3B-Instruct", 30.5, 3.3, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"deepseek-ai--DeepSeek-R1", 671, 37, KM_FP8, KM_FP8, KM_BF16, NULL},
    {"deepseek-ai--DeepSeek-V3", 671, 37, KM_FP8, KM_FP8, KM_BF16, NULL},
    {"meta-llama--Llama-4-Maverick-17B-128E-Instruct", 400, 17, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"meta-llama--Llama-4-Scout-17B-16E-Instruct", 107.77, 17, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"meta-llama--Meta-Llama-3.1-8B", 8.03, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"meta-llama--Meta-Llama-3.1-70B", 70.6, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"meta-llama--Meta-Llama-3.1-405B", 406, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"mistralai--Mixtral-8x7B-v0.1", 46.7, 12.9, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"mistralai--Mixtral-8x22B-v0.1", 141, 39, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"moonshotai--Kimi-K2-Instruct", 1026, 32, KM_FP8, KM_FP8, KM_BF16, NULL},
    {"moonshotai--Kimi-K2.5", 1026, 32, KM_INT4_G32, KM_BF16, KM_BF16, NULL},
    {"nvidia--Kimi-K2.5-NVFP4", 1026, 32, KM_NVFP4, KM_BF16, KM_FP8, NULL},
    {"nvidia--Llama-3.1-70B-Instruct-FP8", 70.6, 0, KM_FP8, KM_FP8, KM_FP8, NULL},
    {"nvidia--MiniMax-M2.5-NVFP4", 229, 0, KM_NVFP4, KM_BF16, KM_FP8, NULL},
    {"nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 31.6, 3.6, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4", 31.6, 3.6, KM_NVFP4, KM_NVFP4, KM_FP8, NULL},
    {"nvidia--NVIDIA-Nemotron-3-Super-120B-A12B-FP8", 120.7, 12.7, KM_FP8, KM_FP8, KM_FP8, NULL},
    {"nvidia--NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16", 550, 55, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"nvidia--NVIDIA-Nemotron-3-Ultra-550B-A55B-FP8", 550, 55, KM_FP8, KM_FP8, KM_FP8, NULL},
    {"openai--gpt-oss-20b", 20.9, 0, KM_MXFP4, KM_BF16, KM_BF16, NULL},
    {"openai--gpt-oss-120b", 117, 0, KM_MXFP4, KM_BF16, KM_BF16, NULL},
    {"XiaomiMiMo--MiMo-7B-Base", 7.62, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"MiniMaxAI--MiniMax-M3", 428, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"Qwen--Qwen3.5-27B", 27, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"Qwen--Qwen3.5-122B-A10B", 122, 10, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"XiaomiMiMo--MiMo-V2-Flash", 309, 15, KM_FP8, KM_FP8, KM_BF16, NULL},
    /* 671 and the indexers, 0.85 */
    {"deepseek-ai--DeepSeek-V3.2", 671.9, 37, KM_FP8, KM_FP8, KM_BF16, NULL},
    {"zai-org--GLM-5", 744, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"zai-org--GLM-5-FP8", 744, 0, KM_FP8, KM_FP8, KM_BF16, NULL},
    {"zai-org--GLM-5.2", 743, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"zai-org--GLM-5.2-FP8", 743, 0, KM_FP8, KM_FP8, KM_BF16, NULL},
    {"nvidia--GLM-5-NVFP4", 744, 0, KM_NVFP4, KM_BF16, KM_FP8, NULL},
    {"deepseek-ai--DeepSeek-V4-Flash", 0, 0, 0, 0, 0, "compressed tokens"},
    {"google--gemma-4-26B-A4B", 25.2, 3.8, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"moonshotai--Kimi-K3", 2800, 0, KM_MXFP4, KM_BF16, KM_BF16, NULL},
    {"nvidia--DeepSeek-V4-Flash-NVFP4", 0, 0, 0, 0, 0, "compressed tokens"},
    {"nvidia--Gemma-4-26B-A4B-NVFP4", 25.2, 3.8, KM_NVFP4, KM_BF16, KM_FP8, NULL},
    {"nvidia--Llama-3_3-Nemotron-Super-49B-v1", 49.9, 0, KM_BF16, KM_BF16, KM_BF16, NULL},
    {"nvidia--Qwen3.5-122B-A10B-NVFP4", 122, 10, KM_NVFP4, KM_BF16, KM_FP8, NULL},
    {"nvidia--Qwen3.6-35B-A3B-NVFP4", 35, 0, KM_NVFP4, KM_FP8, KM_FP8, NULL},
    {"sgl-project--DeepSeek-V4-Flash-FP8", 0, 0, 0, 0, 0, "compressed tokens"},
    {"stepfun-ai--Step-3.7-Flash", 196, 11, KM_BF16, KM_BF16, KM_BF16, NULL},
};

static void expect_near(const char *file, const char *what, double got, double want, double within)
{
    if (!(fabs(got / want - 1.0) <= within))
        fail_msg("%s: %.4g G parameters%s, published are %.4g", file, got, what, want);
}

static void expect_model(size_t i)
{
    char path[512];
    struct km_arena arena = {0};
    struct km_model model;
    struct km_error error = {0};
    struct km_parameters parameters;
    snprintf(path, sizeof path, FOLDER "%s_config.json", cases[i].file);
    enum km_status status = km_model_read(path, &arena, &model, &error);
    if (cases[i].refused) {
        assert_int_equal(status, KM_BAD_INPUT);
        assert_non_null(strstr(error.message, cases[i].refused));
        assert_true(error.line > 0 && error.column > 0);
    } else {
        if (status != KM_OK)
            fail_msg("%s: %s", cases[i].file, error.message);
        km_model_parameters(&model, &parameters);
        expect_near(cases[i].file, "", parameters.total / 1e9, cases[i].total_b, 0.01);
        if (cases[i].active_b > 0) /* cards round these */
            expect_near(cases[i].file, " for a token", parameters.active / 1e9, cases[i].active_b, 0.04);
        assert_int_equal(model.precision.weights, cases[i].weights);
        assert_int_equal(model.precision.attention, cases[i].attention);
        assert_int_equal(model.precision.kv_cache, cases[i].kv_cache);
    }
    km_arena_release(&arena);
}

static void every_file(void **state)
{
    (void)state;
    DIR *folder = opendir(FOLDER);
    size_t files = 0;
    if (!folder)
        skip();
    for (const struct dirent *entry; (entry = readdir(folder));) {
        const char *tail = strstr(entry->d_name, "_config.json");
        if (!tail || strstr(entry->d_name, "_hf_quant_config.json"))
            continue;
        size_t i = 0;
        while (i < COUNT(cases) && !(strlen(cases[i].file) == (size_t)(tail - entry->d_name) &&
                                     memcmp(cases[i].file, entry->d_name, strlen(cases[i].file)) == 0))
            i++;
        if (i == COUNT(cases))
            fail_msg("%s is not in the table", entry->d_name);
        expect_model(i);
        files++;
    }
    closedir(folder);
    assert_int_equal(files, COUNT(cases));
}

/* --- what such files have in them, in small ------------------------------------------------------------- */

#define HYBRID                                                                                               \
    "{\"model_type\": \"nemotron_h\", \"hidden_size\": 64, \"vocab_size\": 100, "                            \
    "\"max_position_embeddings\": 512, "                                                                     \
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 16, \"intermediate_size\": 96, "  \
    "\"mamba_num_heads\": 8, \"mamba_head_dim\": 16, \"n_groups\": 2, \"ssm_state_size\": 16, "              \
    "\"n_routed_experts\": 8, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32, "                   \
    "\"moe_shared_expert_intermediate_size\": 48, \"n_shared_experts\": 1, \"torch_dtype\": \"bfloat16\""

static enum km_status parse(const char *text, struct km_arena *arena, struct km_model *out,
                            struct km_error *error)
{
    return km_model_parse(text, strlen(text), "hybrid.json", arena, out, error);
}

/* The same blocks in letters and in words; with latent experts; with Python's words where nobody looks. */
static void blocks(void **state)
{
    (void)state;
    static const char *const texts[] = {
        HYBRID ", \"hybrid_override_pattern\": \"MEM*-M\"}",
        HYBRID ", \"layers_block_type\": [\"mamba\", \"moe\", \"mamba\", \"attention\", \"mlp\", \"mamba\"]}",
        HYBRID ", \"time_step_limit\": [0.0, Infinity], \"a\": [-Infinity, NaN, \"NaN \\\" Infinity\"], "
               "\"hybrid_override_pattern\": \"MEM*-M\"}",
    };
    for (size_t t = 0; t < COUNT(texts); t++) {
        static const enum km_mixer mixers[] = {KM_SSD, KM_SSD, KM_ATTENTION, KM_SSD};
        static const enum km_mlp mlps[] = {KM_MLP_MOE, KM_MLP_NONE, KM_MLP_DENSE, KM_MLP_NONE};
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        if (parse(texts[t], &arena, &model, &error) != KM_OK)
            fail_msg("%s", error.message);
        assert_int_equal(model.layer_count, 4);
        for (uint32_t i = 0; i < 4; i++) {
            assert_int_equal(model.layers[i].mixer, mixers[i]);
            assert_int_equal(model.layers[i].mlp, mlps[i]);
        }
        assert_int_equal(model.layers[0].experts, 8);
        assert_int_equal(model.layers[0].shared_intermediate, 48);
        struct km_parameters p;
        km_layer_parameters(&model, &model.layers[0], &p);
        assert_true(fabs(p.routed_experts - 8 * 2 * 64 * 32) < 0.5); /* up and down, no gate */
        assert_true(fabs(p.shared_experts - 2 * 64 * 48) < 0.5);
        km_arena_release(&arena);
    }
}

static void latent_experts(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    struct km_error error = {0};
    struct km_parameters p;
    if (parse(HYBRID ", \"moe_latent_size\": 24, \"hybrid_override_pattern\": \"ME\"}", &arena, &model,
              &error) != KM_OK)
        fail_msg("%s", error.message);
    km_layer_parameters(&model, &model.layers[0], &p);
    assert_true(fabs(p.routed_experts - 8 * 2 * 24 * 32) < 0.5);
    assert_true(fabs(p.shared_experts - (2 * 64 * 48 + 2 * 64 * 24)) < 0.5);
    km_arena_release(&arena);
}

/* --- linear attention ----------------------------------------------------------------------------------- */

#define LINEAR(type, rest)                                                                                   \
    "{\"model_type\": \"" type "\", \"hidden_size\": 64, \"vocab_size\": 100, "                              \
    "\"max_position_embeddings\": 512, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, "             \
    "\"num_hidden_layers\": 4, \"num_experts\": 8, \"num_experts_per_tok\": 2, "                             \
    "\"moe_intermediate_size\": 32, \"torch_dtype\": \"bfloat16\"" rest "}"
#define GDN_SHAPE                                                                                            \
    ", \"head_dim\": 16, \"linear_num_key_heads\": 2, \"linear_num_value_heads\": 4, "                       \
    "\"linear_key_head_dim\": 8, \"linear_value_head_dim\": 16"
#define KDA_SHAPE(lists)                                                                                     \
    ", \"kv_lora_rank\": 32, \"qk_nope_head_dim\": 16, \"qk_rope_head_dim\": 8, \"v_head_dim\": 16, "        \
    "\"intermediate_size\": 96, \"linear_attn_config\": {\"num_heads\": 2, \"head_dim\": 16, "               \
    "\"short_conv_kernel_size\": 4, " lists "}"
#define KDA_LISTS "\"full_attn_layers\": [4], \"kda_layers\": [1, 2, 3]"

#define BLOCKS(first)                                                                                        \
    "{\"model_type\": \"nemotron-nas\", \"hidden_size\": 64, \"vocab_size\": 100, "                          \
    "\"max_position_embeddings\": "                                                                          \
    "512, \"num_attention_heads\": 4, \"num_hidden_layers\": 2, \"block_configs\": [" first                  \
    ", {\"attention\": {\"n_heads_in_group\": 4}, \"ffn\": {\"ffn_mult\": 2.5}}]}"

/* A shape of its own for each layer: no attention and a width of 2 * 5.25 * 64 / 3 = 224, rounded up to 256; then
 * one KV head, and 106 rounded up to 256. Nothing at all is left out. */
static void block_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum km_mixer mixer;
        uint32_t intermediate, norms;
    } first[] = {
        {BLOCKS("{\"attention\": {\"no_op\": true}, \"ffn\": {\"ffn_mult\": 5.25}}"), KM_NO_MIXER, 256, 1},
        {BLOCKS("{\"attention\": {\"n_heads_in_group\": 2}, \"ffn\": {\"no_op\": true}}"), KM_ATTENTION, 0,
         1},
        {BLOCKS("{\"attention\": {\"no_op\": true}, \"ffn\": {\"no_op\": true}}"), KM_NO_MIXER, 0, 0},
    };
    for (size_t i = 0; i < COUNT(first); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        struct km_parameters p;
        if (parse(first[i].text, &arena, &model, &error) != KM_OK)
            fail_msg("%s", error.message);
        assert_int_equal(model.layers[0].mixer, first[i].mixer);
        assert_int_equal(model.layers[0].intermediate, first[i].intermediate);
        assert_int_equal(model.layers[0].norms, first[i].norms);
        assert_int_equal(model.layers[1].kv_heads, 1);
        assert_int_equal(model.layers[1].intermediate, 256);
        km_layer_parameters(&model, &model.layers[0], &p);
        const double attention = i == 1 ? 2.0 * 64 * 64 + 2.0 * 64 * 32 : 0.0;
        assert_true(fabs(p.total - (attention + 3.0 * 64 * first[i].intermediate + 64.0 * first[i].norms)) <
                    0.5);
        const struct km_layout one = {.tensor_parallel = 1, .pipeline_parallel = 1};
        struct km_stage_operators ops;
        km_operators_build(&model, &model.precision, &one, 0, &arena, &ops);
        uint32_t norms = 0; /* and what a layer lacks is not computed */
        for (uint32_t o = 0; o < ops.count; o++)
            norms += strcmp(ops.ops[o].name, "norm") == 0 ? ops.ops[o].count : 0;
        assert_int_equal(norms, 2 + first[i].norms);
        km_arena_release(&arena);
    }
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {HYBRID "}", "neither hybrid_override_pattern nor layers_block_type"},
        {HYBRID ", \"layers_block_type\": [\"mamba\", \"conv\"]}",
         "expected mamba, attention, mlp or moe, got conv"},
        {HYBRID ", \"layers_block_type\": [\"moe\"]}", "must follow a mixer"},
        {HYBRID
         ", \"hybrid_override_pattern\": \"M\", \"quantization_config\": {\"quant_method\": \"gguf\"}}",
         "\"gguf\""},
        {HYBRID ", \"hybrid_override_pattern\": \"M\", \"quantization_config\": {\"quant_algo\": "
                "\"MIXED_PRECISION\"}}",
         "MIXED_PRECISION"},
        {HYBRID ", \"hybrid_override_pattern\": \"M\", \"vocab_size_2\": 1, \"num_hidden_layers\": NaN}",
         NULL},
        {LINEAR("qwen3_next",
                GDN_SHAPE ", \"layer_types\": [\"linear_attention\", \"rwkv\", \"mamba\", \"mamba\"]"),
         "attention or linear_attention, got rwkv"},
        {LINEAR("qwen3_next", GDN_SHAPE ", \"layer_types\": [\"mamba\", \"mamba\", \"mamba\", \"mamba\"]"),
         "got mamba"},
        {LINEAR("qwen3_next", GDN_SHAPE ", \"linear_num_key_heads\": 3"), "linear_num_key_heads"},
        {LINEAR("kimi_linear", ""), "no linear_attn_config"},
        {LINEAR("qwen3", ", \"intermediate_size\": 96"),
         "num_experts: experts, which this reader does not know of qwen3"},
        {LINEAR("qwen3_moe", ", \"hc_mult\": 4"), "hyper-connections"},
        {LINEAR("mixtral", ", \"linear_num_value_heads\": 4"), "linear attention"},
        {LINEAR("hunyuan_v1_moe", ", \"moe_topk\": [2, 2, 2, 2], \"num_shared_expert\": [1, 1, 1, 2]"),
         "num_shared_expert[3]: differs from the layers before it"},
        {"{\"model_type\": \"gemma3n\"}", "AltUp"},

        {BLOCKS("{\"attention\": {\"n_heads_in_group\": 2, \"replace_with_linear\": true}, \"ffn\": "
                "{\"no_op\": true}}"),
         "replace_with_linear of a block"},
        {BLOCKS("{\"attention\": {\"n_heads_in_group\": 3}, \"ffn\": {\"no_op\": true}}"),
         "groups of 3 heads"},
        {BLOCKS("{\"attention\": {\"no_op\": true}, \"ffn\": {}}"), "expected ffn_mult"},
        {BLOCKS("{\"attention\": {\"no_op\": true}}"), "for layer 0"},
        {LINEAR("kimi_linear", KDA_SHAPE("\"full_attn_layers\": [4], \"kda_layers\": [1, 2]")),
         "name 3 layers of 4"},
        {LINEAR("kimi_linear", KDA_SHAPE("\"full_attn_layers\": [4], \"kda_layers\": [1, 2, 2]")),
         "layer 3 is not in one of"},
        {"{\"model_type\": \"llama\", \"hidden_size\": Infinity}", "hidden_size: expected an integer"},
        {"{\"model_type\": \"llama\", \"hidden_size\": NaN}", "hidden_size: expected an integer"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        enum km_status status = parse(bad[i].text, &arena, &model, &error);
        assert_int_equal(status, bad[i].message ? KM_BAD_INPUT : KM_OK);
        if (bad[i].message && !strstr(error.message, bad[i].message))
            fail_msg("%s", error.message);
        km_arena_release(&arena);
    }
}

static void linear_attention(void **state)
{
    (void)state;
    /* GDN: q, k 2 x 8, v and gate 4 x 16; beta and decay a head; A and dt bias; out. KDA: q, k, v of 2 x 16; decay
     * through 16 values and its bias a channel; beta; A; gate through 16 values, or straight; out. */
    const double conv = 4.0 * (2 * 16 + 64), kda_conv = 4.0 * 3 * 32;
    const double gdn = 64.0 * (2 * 16 + 2 * 64) + conv + 64 * 2 * 4 + 2 * 4 + 64 * 64;
    const double kda = 64.0 * 3 * 32 + kda_conv + 64 * 16 + 16 * 32 + 32 + 64 * 2 + 2 + 32 * 64;
    const struct {
        const char *text;
        enum km_mixer first, last;
        double first_parameters, gate; /* of the last layer's attention */
        double state_bytes;
    } cases_[] = {
        {LINEAR("qwen3_next", GDN_SHAPE), KM_GDN, KM_ATTENTION, gdn, 64, 3 * 96 * 2 + 4 * 8 * 16 * 2},
        {LINEAR("qwen3_next", GDN_SHAPE ", \"mamba_ssm_dtype\": \"float32\", \"attn_output_gate\": false"),
         KM_GDN, KM_ATTENTION, gdn, 0, 3 * 96 * 2 + 4 * 8 * 16 * 4},
        {LINEAR("kimi_linear", KDA_SHAPE(KDA_LISTS)), KM_KDA, KM_MLA, kda + 64 * 16 + 16 * 32, 0,
         3 * 96 * 2 + 2 * 16 * 16 * 4},
        {LINEAR("kimi_linear",
                KDA_SHAPE(KDA_LISTS ", \"use_full_rank_gate\": true") ", \"mla_use_output_gate\": true"),
         KM_KDA, KM_MLA, kda + 64 * 32, 64, 3 * 96 * 2 + 2 * 16 * 16 * 4},
    };
    for (size_t i = 0; i < COUNT(cases_); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        struct km_parameters p;
        if (parse(cases_[i].text, &arena, &model, &error) != KM_OK)
            fail_msg("%s", error.message);
        for (uint32_t l = 0; l < 4; l++)
            assert_int_equal(model.layers[l].mixer, l < 3 ? cases_[i].first : cases_[i].last);
        km_layer_parameters(&model, &model.layers[0], &p);
        assert_true(fabs(p.attention - cases_[i].first_parameters) < 0.5);
        assert_true(fabs(km_layer_state_bytes(&model.layers[0], 2.0) - cases_[i].state_bytes) < 0.5);
        assert_true(km_layer_kv_values(&model.layers[0], 1) == 0 &&
                    km_layer_state_bytes(&model.layers[3], 2.0) == 0);
        assert_true(model.layers[3].gate_width == cases_[i].gate);
        km_arena_release(&arena);
    }
}

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double total_b, active_b;
    } named[] = {
        {"llama-3.1-8b", 8, 0},
        {"qwen3-30b-a3b", 30, 3},
        {"Qwen3-0.6B", 0.6, 0},
        {"mixtral-8x7b", 56, 0},
        {"qwen1.5-moe-a2.7b", 0, 2.7},
        {"deepseek-v3", 0, 0},
        {"gpt-oss-120b", 120, 0},
        {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 30, 3},
        {"3bits", 0, 0},
        {"x", 0, 0},
        {"", 0, 0},
    };
    for (size_t i = 0; i < COUNT(named); i++) {
        double total, active;
        km_model_name_parameters(named[i].name, &total, &active);
        assert_true(fabs(total - 1e9 * named[i].total_b) < 1.0);
        assert_true(fabs(active - 1e9 * named[i].active_b) < 1.0);
    }
}

/* DeepSeek-V3.2's attention by hand: the indexer's 64 heads of 128 score every token of the context, from keys of
 * 128 bytes and one scale of 4; the 128 heads attend to 2,048 of them at most, 512 latent and 64 rotary values
 * each, absorbed: 2 * (512 + 64) FLOPs for a score and 2 * 512 for its value. */
static void sparse_attention(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    struct km_error error = {0};
    if (km_model_read(FOLDER "deepseek-ai--DeepSeek-V3.2_config.json", &arena, &model, &error) != KM_OK) {
        km_arena_release(&arena);
        skip();
    }
    const struct km_layout one = {.tensor_parallel = 1, .pipeline_parallel = 1};
    struct km_stage_operators ops;
    km_operators_build(&model, &model.precision, &one, 0, &arena, &ops);
    const struct km_op *scores = NULL, *attention = NULL;
    for (uint32_t i = 0; i < ops.count; i++) {
        scores = strcmp(ops.ops[i].name, "index_scores") == 0 ? &ops.ops[i] : scores;
        attention = strcmp(ops.ops[i].name, "mla_attention") == 0 ? &ops.ops[i] : attention;
    }
    assert_non_null(scores);
    assert_non_null(attention);
    assert_int_equal(scores->count, 61);
    assert_int_equal(attention->count, 61);
    static const double contexts[] = {1024, 32768, 131072};
    for (size_t i = 0; i < COUNT(contexts); i++) {
        const double seen = fmin(contexts[i], attention->window);
        assert_true(fabs(scores->tile_flops * contexts[i] - 2.0 * 64 * 128 * contexts[i]) < 1.0);
        assert_true(fabs(scores->kv_bytes * contexts[i] - (128 + 4 + 8) * contexts[i]) < 1.0);
        assert_true(fabs(seen - (contexts[i] < 2048 ? contexts[i] : 2048)) < 0.5);
        assert_true(fabs(attention->tile_flops * seen - 128 * (2.0 * 576 + 2.0 * 512) * seen) < 1.0);
        assert_true(fabs(attention->kv_bytes * seen - 576 * 2 * seen) < 1.0);
    }
    /* A token keeps 61 latents in bf16 and 61 keys of the indexer. */
    assert_true(fabs(km_model_kv_bytes_per_token(&model, KM_BF16, 1) - 61.0 * (576 * 2 + 132)) < 0.5);
    km_arena_release(&arena);
}

/* Formats: in the file under either name, by ModelOpt in it; attention left out by pattern, by name in every
 * layer, or in too few of them to count for all. */
static void formats(void **state)
{
    (void)state;
#define ATTENTION_AND(q)                                                                                     \
    "{\"model_type\": \"llama\", \"hidden_size\": 64, \"vocab_size\": 100, \"max_position_embeddings\": "    \
    "512, "                                                                                                  \
    "\"num_attention_heads\": 4, \"num_hidden_layers\": 4, \"intermediate_size\": 96, \"torch_dtype\": "     \
    "\"bfloat16\", " q "}"
#define FP8_SCHEME "{\"num_bits\": 8, \"type\": \"float\"}"
    static const struct {
        const char *text;
        enum km_dtype weights, activations, attention, kv_cache;
    } good[] = {
        {ATTENTION_AND("\"compression_config\": {\"quant_method\": \"compressed-tensors\", "
                       "\"config_groups\": {\"group_0\": "
                       "{\"weights\": " FP8_SCHEME ", \"input_activations\": " FP8_SCHEME "}}}"),
         KM_FP8, KM_FP8, KM_FP8, KM_BF16},
        {ATTENTION_AND("\"quantization_config\": {\"quant_method\": \"modelopt\", \"quant_algo\": \"NVFP4\", "
                       "\"kv_cache_quant_algo\": \"FP8\", \"ignore\": [\"lm_head\"]}"),
         KM_NVFP4, KM_NVFP4, KM_NVFP4, KM_FP8},
        {ATTENTION_AND("\"quantization_config\": {\"quant_algo\": \"FP8\", \"ignore\": [\"*self_attn*\"]}"),
         KM_FP8, KM_FP8, KM_BF16, KM_BF16},
        {ATTENTION_AND("\"quantization_config\": {\"quant_algo\": \"W4A16_NVFP4\", \"ignore\": "
                       "[\"model.layers.0.self_attn*\", \"model.layers.1.self_attn.q_proj\"]}"),
         KM_NVFP4, KM_BF16, KM_NVFP4, KM_BF16}, /* three of four layers */
        {ATTENTION_AND("\"quantization_config\": {\"quant_method\": \"fp8\", \"modules_to_not_convert\": "
                       "[\"model.layers.0.self_attn.q_proj\"]}"),
         KM_FP8, KM_FP8, KM_FP8, KM_BF16},
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        if (parse(good[i].text, &arena, &model, &error) != KM_OK)
            fail_msg("%s", error.message);
        assert_int_equal(model.precision.weights, good[i].weights);
        assert_int_equal(model.precision.activations, good[i].activations);
        assert_int_equal(model.precision.attention, good[i].attention);
        assert_int_equal(model.precision.kv_cache, good[i].kv_cache);
        km_arena_release(&arena);
    }
}

/* Which products of which layer stay as they were, or have a format of their own. */
static void modules(void **state)
{
    (void)state;
#define MOE(q)                                                                                               \
    "{\"model_type\": \"qwen2_moe\", \"hidden_size\": 64, \"vocab_size\": 100, "                             \
    "\"max_position_embeddings\": "                                                                          \
    "512, \"num_attention_heads\": 4, \"num_hidden_layers\": 3, \"intermediate_size\": 96, "                 \
    "\"mlp_only_layers\": "                                                                                  \
    "[0], \"num_experts\": 4, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32, "                   \
    "\"shared_expert_intermediate_size\": 48, \"torch_dtype\": \"bfloat16\", \"quantization_config\": {" q   \
    "}}"
#define FP4_SCHEME "{\"num_bits\": 4, \"type\": \"float\", \"group_size\": 32}"
    static const struct {
        const char *text;
        /* of layer 0 mixer and dense MLP; of layer 2 mixer, experts and shared */
        enum km_dtype formats[5], head;
    } mixed[] = {
        {MOE("\"quant_method\": \"fp8\""), {KM_FP8, KM_FP8, KM_FP8, KM_FP8, KM_FP8}, KM_BF16},
        {MOE("\"quant_method\": \"fbgemm_fp8\", \"modules_to_not_convert\": "
             "[\"model.layers.0.self_attn.q_proj\", \"model.layers.0.self_attn.k_proj\", "
             "\"model.layers.0.self_attn.o_proj\", \"model.layers.0.mlp.gate_proj\", "
             "\"model.layers.0.mlp.down_proj\", "
             "\"model.layers.2.self_attn.v_proj\", \"model.layers.2.mlp.gate\"]"),
         {KM_BF16, KM_BF16, KM_FP8, KM_FP8, KM_FP8},
         KM_BF16},
        {MOE("\"quant_method\": \"compressed-tensors\", \"ignore\": [\"re:.*self_attn.*\", "
             "\"re:.*shared_expert\\\\..*\", \"re:.*mlp\\\\.(gate|up|gate_up|down)_proj.*\", \"lm_head\"], "
             "\"config_groups\": {\"group_0\": {\"targets\": [\"Linear\"], \"weights\": " FP4_SCHEME "}}"),
         {KM_BF16, KM_BF16, KM_BF16, KM_MXFP4, KM_BF16},
         KM_BF16},
        {MOE("\"quant_method\": \"modelopt\", \"quant_algo\": \"MIXED_PRECISION\", "
             "\"quantized_layers\": {\"model.layers.2.mlp.experts\": {\"quant_algo\": \"NVFP4\"}, "
             "\"model.layers.2.self_attn\": {\"quant_algo\": \"FP8\"}, \"lm_head\": {\"quant_algo\": "
             "\"FP8\"}}"),
         {KM_BF16, KM_BF16, KM_FP8, KM_NVFP4, KM_BF16},
         KM_FP8},
        {MOE("\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true, "
             "\"llm_int8_skip_modules\": [\"mlp.shared_expert\"]"),
         {KM_NF4, KM_NF4, KM_NF4, KM_NF4, KM_BF16},
         KM_BF16},
        {MOE("\"quant_method\": \"quark\", \"global_quant_config\": {\"weight\": {\"dtype\": "
             "\"fp8_e4m3\"}, \"input_tensors\": {\"dtype\": \"fp8_e4m3\"}}, \"layer_quant_config\": "
             "{\"*mlp.experts*\": {\"weight\": {\"dtype\": \"fp4\"}}}, \"exclude\": [\"*self_attn*\"]"),
         {KM_BF16, KM_FP8, KM_BF16, KM_MXFP4, KM_FP8},
         KM_BF16},
        {MOE("\"quant_method\": \"torchao\", \"quant_type\": {\"default\": {\"_type\": "
             "\"Int4WeightOnlyConfig\"}}"),
         {KM_INT4, KM_INT4, KM_INT4, KM_INT4, KM_INT4},
         KM_BF16},
        {MOE("\"quant_method\": \"gptq\", \"bits\": 4, \"dynamic\": {\"-:.*\\\\.layers\\\\.0\\\\..*\": {}}"),
         {KM_BF16, KM_BF16, KM_INT4, KM_INT4, KM_INT4},
         KM_BF16},
    };
    static const struct {
        int layer;
        enum km_module module;
    } at[] = {{0, KM_MODULE_MIXER},
              {0, KM_MODULE_DENSE_MLP},
              {2, KM_MODULE_MIXER},
              {2, KM_MODULE_EXPERTS},
              {2, KM_MODULE_SHARED}};
    for (size_t i = 0; i < COUNT(mixed); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        if (parse(mixed[i].text, &arena, &model, &error) != KM_OK)
            fail_msg("%s", error.message);
        for (size_t k = 0; k < COUNT(at); k++) {
            const struct km_layer *layer = &model.layers[at[k].layer];
            const enum km_dtype got = km_layer_format(&model, layer, at[k].module, &model.precision).weights;
            if (got != mixed[i].formats[k])
                fail_msg("case %zu, place %zu: %s", i, k, km_dtype_name(got));
        }
        assert_int_equal(km_lm_head_format(&model, &model.precision).weights, mixed[i].head);
        /* In a format of the run's own nothing is the checkpoint's. */
        const struct km_precision fp16 = {KM_FP16, KM_FP16, KM_FP16, KM_FP16, KM_FP16};
        for (size_t k = 0; k < COUNT(at); k++)
            assert_int_equal(km_layer_format(&model, &model.layers[at[k].layer], at[k].module, &fp16).weights,
                             KM_FP16);
        km_arena_release(&arena);
    }
}

/* A checkpoint with a list: Llama-3.1-405B in fp8 with attention and the first and last MLP in bf16, on eight GPUs
 * 57.75 GiB each (vllm-project/vllm, issue 6746). */
static void listed_bytes(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    struct km_error error = {0};
    if (km_model_read(KM_SOURCE_DIR "/../shared/cases/06-llama-405b-fp8-eight-h100/with-list/config.json",
                      &arena, &model, &error) != KM_OK) {
        km_arena_release(&arena);
        skip();
    }
    const double attention = 126.0 * (2.0 * 16384 * 16384 + 2.0 * 16384 * 1024), mlp = 3.0 * 16384 * 53248,
                 rest = 2.0 * 128256 * 16384 + (2.0 * 126 + 1) * 16384;
    const double bytes = 2.0 * attention + (124.0 + 2.0 * 2) * mlp + 2.0 * rest;
    assert_true(fabs(km_model_weight_bytes(&model, &model.precision) / bytes - 1.0) < 1e-9);
    assert_true(fabs(bytes / 8 / 1073741824.0 / 57.75 - 1.0) < 0.03);
    km_arena_release(&arena);
}

/* Vision towers: of Gemma-3 417 M (arXiv 2503.19786, table 1); of Qwen3-VL-8B what its checkpoint has, 8.77 G,
 * beyond the language model's 8.19; of Gemma-4-26B-A4B about 550 M (model card). They stand in memory. */
static void towers(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        double parameters, within;
    } with[] = {
        {KM_SOURCE_DIR "/models/gemma-3-27b.json", 417e6 + 1152.0 * 5376, 0.01},
        {FOLDER "Qwen--Qwen3-VL-8B-Instruct_config.json", 0.576e9, 0.02},
        {FOLDER "google--gemma-4-26B-A4B_config.json", 550e6, 0.05},
    };
    for (size_t i = 0; i < COUNT(with); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        struct km_memory_weights weights;
        const struct km_layout two = {.tensor_parallel = 2, .pipeline_parallel = 1};
        if (km_model_read(with[i].path, &arena, &model, &error) == KM_OK) {
            assert_string_equal(model.towers, "vision");
            expect_near(with[i].path, " in its tower", model.tower_parameters, with[i].parameters,
                        with[i].within);
            km_memory_weights(&model, &model.precision, &two, 0, &weights);
            assert_true(fabs(weights.towers - model.tower_parameters) < 0.5); /* half of 2 bytes each */
        }
        km_arena_release(&arena);
    }
    struct km_arena arena = {0};
    struct km_model model;
    struct km_error error = {0};
    static const char text[] = "{\"model_type\": \"mistral3\", \"vision_config\": {}, \"text_config\": "
                               "{\"hidden_size\": 64, \"vocab_size\": 100, "
                               "\"max_position_embeddings\": 512, \"num_attention_heads\": 4, "
                               "\"num_hidden_layers\": 1, \"intermediate_size\": 96}}";
    assert_int_equal(parse(text, &arena, &model, &error), KM_OK);
    assert_string_equal(model.towers, "vision (of unknown size)");
    km_arena_release(&arena);
    /* InternVL calls its language model by another key; InternViT-300M: 24 layers of 1024 and 4096. */
    static const char chat[] = "{\"model_type\": \"internvl_chat\", \"vision_config\": "
                               "{\"num_hidden_layers\": 24, \"hidden_size\": 1024, "
                               "\"intermediate_size\": 4096, \"patch_size\": 14, \"image_size\": 448}, "
                               "\"llm_config\": {\"model_type\": \"qwen2\", "
                               "\"hidden_size\": 64, \"vocab_size\": 100, \"max_position_embeddings\": 512, "
                               "\"num_attention_heads\": 4, "
                               "\"num_hidden_layers\": 1, \"intermediate_size\": 96}}";
    assert_int_equal(parse(chat, &arena, &model, &error), KM_OK);
    assert_string_equal(model.family, "qwen2");
    expect_near("InternViT", "", model.tower_parameters, 304e6, 0.01);
    km_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file),     cmocka_unit_test(blocks),
        cmocka_unit_test(latent_experts), cmocka_unit_test(refusals),
        cmocka_unit_test(names),          cmocka_unit_test(sparse_attention),
        cmocka_unit_test(formats),        cmocka_unit_test(linear_attention),
        cmocka_unit_test(modules),        cmocka_unit_test(towers),
        cmocka_unit_test(block_shapes),   cmocka_unit_test(listed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
