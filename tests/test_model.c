#include "model/model.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* One file of tests/data/bad-models each, and its exact message. */
static void test_bad_models(void **state)
{
    (void)state;
    static const struct {
        const char *file, *message;
    } cases[] = {
        {"a-billion-layers",
         "a-billion-layers.json:4:24: num_hidden_layers: expected an integer from 1 to 4096, got 1000000000"},
        {"array", "array.json:1:1: expected an object, a Hugging Face config.json"},
        {"duplicate-key", "duplicate-key.json:10:18: hidden_size: the key appears twice"},
        {"empty", "empty.json:1:1: empty: expected a JSON value"},
        {"heads-do-not-divide", "heads-do-not-divide.json:5:26: num_attention_heads: 24 heads do not divide "
                                "hidden_size 4096, and there is no head_dim"},
        {"heads-fraction",
         "heads-fraction.json:5:26: num_attention_heads: expected an integer from 1 to 65536, got 32.5"},
        {"heads-in-quotes",
         "heads-in-quotes.json:5:26: num_attention_heads: expected an integer from 1 to 65536, got \"32\""},
        {"huge-heads",
         "huge-heads.json:5:26: num_attention_heads: 65536 heads of 65536 are wider than 16777216"},
        {"kv-heads-do-not-divide", "kv-heads-do-not-divide.json:6:26: num_key_value_heads: 7 KV heads do not "
                                   "divide 32 attention heads"},
        {"latent-without-rank", "latent-without-rank.json:1:1: kv_lora_rank: missing"},
        {"layer-type-unknown",
         "layer-type-unknown.json:10:37: layer_types[1]: expected full_attention, sliding_attention, "
         "chunked_attention or attention, got linear_attention"},
        {"layer-types-short",
         "layer-types-short.json:10:18: layer_types: expected one element for each of the 32 layers, got 2"},
        {"misspelt-family", "misspelt-family.json:2:17: model_type: architecture \"lama\" is not supported; "
                            "did you mean \"llama\"?"},
        {"more-experts-than-there-are",
         "more-experts-than-there-are.json:11:26: num_experts_per_tok: 9 experts a token of only 8"},
        {"negative-window",
         "negative-window.json:10:21: sliding_window: expected an integer from 1 to 1073741824, got -4096"},
        {"no-experts", "no-experts.json:1:1: num_local_experts: missing"},
        {"no-layers", "no-layers.json:1:1: num_hidden_layers: missing"},
        {"no-text-config", "no-text-config.json:1:1: text_config: missing"},
        {"no-type", "no-type.json:1:1: model_type: missing"},
        {"not-json", "not-json.json:1:1: expected a value"},
        {"pattern-letter", "pattern-letter.json:4:30: hybrid_override_pattern: expected only the letters M, "
                           "*, - and E, got \"X\""},
        {"quantisation-bits",
         "quantisation-bits.json:10:59: quantization_config.bits: only 4 and 8 bits are supported"},
        {"truncated", "truncated.json:5:14: the text ends here, in the middle of a value"},
        {"type-is-number", "type-is-number.json:2:17: model_type: expected a string, got 7"},
        {"unknown-dtype",
         "unknown-dtype.json:10:18: torch_dtype: expected \"float32\", \"bfloat16\" or \"float16\""},
        {"unknown-quantisation",
         "unknown-quantisation.json:10:43: quantization_config.quant_method: quantisation \"aqlm\" is not "
         "supported; supported are fp8 fbgemm_fp8 mxfp4 awq gptq auto-round compressed-tensors bitsandbytes "
         "quark torchao modelopt"},
        {"vision-only", "vision-only.json:2:17: model_type: architecture \"siglip_vision_model\" is not "
                        "supported; kingman list families names those that are"},
        {"zero-layers",
         "zero-layers.json:4:24: num_hidden_layers: expected an integer from 1 to 4096, got 0"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[512], text[1200];
        snprintf(path, sizeof path, KM_SOURCE_DIR "/tests/data/bad-models/%s.json", cases[i].file);
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        assert_int_equal(km_model_read(path, &arena, &model, &error), KM_BAD_INPUT);
        km_error_format(&error, text, sizeof text);
        const char *message = strstr(text, "bad-models/");
        assert_non_null(message);
        assert_string_equal(message + strlen("bad-models/"), cases[i].message);
        km_arena_release(&arena);
    }
}

/* A minimal model of a family: `extra` is put inside the object. */
static enum km_status parse(const char *type, const char *extra, struct km_arena *arena,
                            struct km_model *model, struct km_error *error)
{
    char text[2048];
    int length =
        snprintf(text, sizeof text,
                 "{\"model_type\": \"%s\", \"hidden_size\": 64, \"num_attention_heads\": 4, "
                 "\"intermediate_size\": 96, \"vocab_size\": 100, \"max_position_embeddings\": 4096%s}",
                 type, extra);
    return km_model_parse(text, (size_t)length, "m.json", arena, model, error);
}

static void open_model(const char *type, const char *extra, struct km_arena *arena, struct km_model *model)
{
    struct km_error error = {0};
    enum km_status status = parse(type, extra, arena, model, &error);
    if (status != KM_OK)
        fail_msg("%s: %s", type, error.message);
}

/* Every tensor of a small Llama by hand. */
static void test_counts_by_hand(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    struct km_parameters p, layer;
    open_model("llama", ", \"num_hidden_layers\": 3, \"num_key_value_heads\": 2, \"head_dim\": 8", &arena,
               &model);
    km_model_parameters(&model, &p);
    double attention = 64 * 32 + 2 * 64 * 16 + 32 * 64, mlp = 3 * 64 * 96;
    assert_true(p.embedding == 6400 && p.lm_head == 6400);
    assert_true(p.attention == 3 * attention && p.dense_mlp == 3 * mlp);
    assert_true(p.norms == 3 * 128 + 64);
    assert_true(p.routed_experts == 0 && p.shared_experts == 0 && p.router == 0);
    assert_true(p.total == 12800 + 3 * (attention + mlp + 128) + 64 && p.active == p.total);
    km_layer_parameters(&model, &model.layers[1], &layer);
    assert_true(layer.total == attention + mlp + 128 && layer.embedding == 0 && layer.lm_head == 0);
    struct km_precision precision = {.weights = KM_FP8, .attention = KM_BF16, .embeddings = KM_FP32};
    assert_true(km_model_weight_bytes(&model, &precision) == 3 * mlp + 2 * 3 * attention + 4 * (12800 + 448));
    km_arena_release(&arena);
}

static void test_counts_of_experts(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    struct km_parameters p;
    open_model("qwen2_moe",
               ", \"num_hidden_layers\": 4, \"num_experts\": 8, \"num_experts_per_tok\": 2, "
               "\"moe_intermediate_size\": 16, \"shared_expert_intermediate_size\": 40, "
               "\"decoder_sparse_step\": 2, \"mlp_only_layers\": [3]",
               &arena, &model);
    km_model_parameters(&model, &p);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(model.layers[i].mlp, i == 1 ? KM_MLP_MOE : KM_MLP_DENSE);
    assert_true(p.dense_mlp == 3.0 * 3 * 64 * 96);
    assert_true(p.routed_experts == 8.0 * 3 * 64 * 16);
    assert_true(p.shared_experts == 3 * 64 * 40 + 64);
    assert_true(p.router == 8 * 64);
    assert_true(p.total - p.active == 6.0 * 3 * 64 * 16);
    assert_true(p.attention == 4.0 * (4 * 64 * 64 + 3 * 64)); /* q, k, v have biases, o has none */
    km_arena_release(&arena);
}

/* One letter a layer: W window, w window without rotary embedding, F full, f full without, S state space. */
static void letters_of(const struct km_model *model, char *out)
{
    for (uint32_t i = 0; i < model->layer_count; i++) {
        const struct km_layer *l = &model->layers[i];
        char letter = l->window ? 'W' : 'F';
        if (l->mixer == KM_SSM || l->mixer == KM_SSD)
            letter = 'S';
        else if (!l->rope)
            letter = (char)(letter | 0x20);
        *out++ = letter;
    }
    *out = 0;
}

static void test_layouts(void **state)
{
    (void)state;
    static const struct {
        const char *type, *extra, *letters;
    } cases[] = {
        {"llama", ", \"num_hidden_layers\": 3", "FFF"},
        {"mistral", ", \"num_hidden_layers\": 3, \"sliding_window\": 128", "WWW"},
        {"mistral", ", \"num_hidden_layers\": 3, \"sliding_window\": null", "FFF"},
        {"mistral", ", \"num_hidden_layers\": 3, \"sliding_window\": 4096", "FFF"}, /* never reached */
        {"qwen2", ", \"num_hidden_layers\": 3, \"sliding_window\": 128, \"use_sliding_window\": false",
         "FFF"},
        {"qwen2", ", \"num_hidden_layers\": 3, \"sliding_window\": 128", "FFF"},
        {"qwen2",
         ", \"num_hidden_layers\": 3, \"sliding_window\": 128, \"use_sliding_window\": true, "
         "\"max_window_layers\": 2",
         "FFW"},
        {"gemma2", ", \"num_hidden_layers\": 4, \"sliding_window\": 128", "WFWF"},
        {"gemma3_text", ", \"num_hidden_layers\": 7, \"sliding_window\": 128", "WWWWWFW"},
        {"gemma3_text", ", \"num_hidden_layers\": 4, \"sliding_window\": 128, \"sliding_window_pattern\": 2",
         "WFWF"},
        {"cohere2", ", \"num_hidden_layers\": 5, \"sliding_window\": 128", "WWWfW"},
        {"smollm3", ", \"num_hidden_layers\": 5", "FFFfF"},
        {"smollm3", ", \"num_hidden_layers\": 3, \"no_rope_layers\": [0, 1, 0]", "fFf"},
        {"gpt_oss",
         ", \"num_hidden_layers\": 3, \"sliding_window\": 128, \"num_local_experts\": 4, "
         "\"num_experts_per_tok\": 1, \"layer_types\": [\"full_attention\", \"sliding_attention\", "
         "\"sliding_attention\"]",
         "FWW"},
        {"llama4_text",
         ", \"num_hidden_layers\": 5, \"attention_chunk_size\": 128, \"num_local_experts\": 4, "
         "\"num_experts_per_tok\": 1",
         "WWWfW"},
        {"jamba",
         ", \"num_hidden_layers\": 6, \"attn_layer_period\": 3, \"attn_layer_offset\": 1, \"num_experts\": "
         "2, "
         "\"num_experts_per_tok\": 1, \"mamba_d_state\": 8",
         "SfSSfS"},
        {"bamba",
         ", \"num_hidden_layers\": 4, \"attn_layer_indices\": [2], \"mamba_n_heads\": 4, \"mamba_d_state\": "
         "8",
         "SSFS"},
        {"nemotron_h",
         ", \"hybrid_override_pattern\": \"M-MM*-*\", \"mamba_num_heads\": 4, \"mamba_head_dim\": 16, "
         "\"ssm_state_size\": 8",
         "SSSff"},
        {"gptj", ", \"num_hidden_layers\": 2", "FF"},
        {"opt", ", \"num_hidden_layers\": 2, \"ffn_dim\": 64", "ff"},
        {"falcon", ", \"num_hidden_layers\": 2, \"alibi\": true", "ff"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        char letters[64];
        open_model(cases[i].type, cases[i].extra, &arena, &model);
        letters_of(&model, letters);
        if (strcmp(letters, cases[i].letters) != 0)
            fail_msg("case %zu (%s): %s, expected %s", i, cases[i].type, letters, cases[i].letters);
        km_arena_release(&arena);
    }
}

/* A mixer and the MLP after it are one layer; a mixer without has one norm and no MLP. */
static void test_pattern_mlps(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    open_model("nemotron_h",
               ", \"hybrid_override_pattern\": \"M-MM*-*\", \"mamba_num_heads\": 4, \"mamba_head_dim\": 16, "
               "\"ssm_state_size\": 8",
               &arena, &model);
    static const bool has_mlp[] = {true, false, false, true, false};
    assert_int_equal(model.layer_count, 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(model.layers[i].mlp, has_mlp[i] ? KM_MLP_DENSE : KM_MLP_NONE);
        assert_int_equal(model.layers[i].norms, has_mlp[i] ? 2 : 1);
    }
    /* conv window in 16 bits: 3 columns of inner 64 + 2 x 1 group x 8; state in 32 bits: 64 x 8 */
    assert_true(km_layer_state_bytes(&model.layers[0], 2.0) == 3 * (64 + 16) * 2 + 64 * 8 * 4);
    assert_true(km_layer_state_bytes(&model.layers[3], 2.0) == 0);
    assert_true(km_layer_kv_values(&model.layers[0], 1) == 0);
    km_arena_release(&arena);
}

static void test_shared_kv(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    open_model("hunyuan_v1_dense", ", \"num_hidden_layers\": 5, \"use_cla\": true, \"cla_share_factor\": 2",
               &arena, &model);
    static const int32_t sources[] = {-1, 0, -1, 2, -1};
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(model.layers[i].kv_source, sources[i]);
    struct km_parameters own, shared;
    km_layer_parameters(&model, &model.layers[0], &own);
    km_layer_parameters(&model, &model.layers[1], &shared);
    assert_true(own.attention - shared.attention == 2 * 64 * 64); /* no K and V projections */
    assert_true(km_model_kv_bytes_per_token(&model, KM_BF16, 1) == 3 * 2.0 * 64 * 2);
    km_arena_release(&arena);
}

static void test_kv_by_rank(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    open_model("llama", ", \"num_hidden_layers\": 2, \"num_key_value_heads\": 2", &arena, &model);
    static const struct {
        uint32_t ranks;
        double values; /* a layer: 2 x heads here x 16 */
    } cases[] = {{1, 64}, {2, 32}, {4, 32}, {8, 32}};
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_true(km_layer_kv_values(&model.layers[0], cases[i].ranks) == cases[i].values);
    assert_true(km_model_kv_bytes_per_token(&model, KM_FP8, 1) == 128);
    open_model("deepseek_v2",
               ", \"num_hidden_layers\": 2, \"kv_lora_rank\": 32, \"qk_nope_head_dim\": 16, "
               "\"qk_rope_head_dim\": 8, \"v_head_dim\": 16, \"n_routed_experts\": 4, "
               "\"num_experts_per_tok\": 1",
               &arena, &model);
    assert_true(km_layer_kv_values(&model.layers[0], 1) == 40);
    assert_true(km_layer_kv_values(&model.layers[0], 4) == 40); /* each rank keeps the whole latent */
    km_arena_release(&arena);
}

static void test_multi_query(void **state)
{
    (void)state;
    static const struct {
        const char *type, *extra;
        uint32_t kv_heads, norms;
    } cases[] = {
        {"falcon", ", \"num_hidden_layers\": 1, \"num_kv_heads\": 4", 1, 1},
        {"falcon", ", \"num_hidden_layers\": 1, \"multi_query\": false", 4, 1},
        {"falcon", ", \"num_hidden_layers\": 1, \"new_decoder_architecture\": true, \"num_kv_heads\": 2", 2,
         2},
        {"falcon", ", \"num_hidden_layers\": 1, \"parallel_attn\": false", 1, 2},
        {"gpt_bigcode", ", \"num_hidden_layers\": 1", 1, 2},
        {"gpt_bigcode", ", \"num_hidden_layers\": 1, \"multi_query\": false", 4, 2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        open_model(cases[i].type, cases[i].extra, &arena, &model);
        assert_int_equal(model.layers[0].kv_heads, cases[i].kv_heads);
        assert_int_equal(model.layers[0].norms, cases[i].norms);
        km_arena_release(&arena);
    }
}

static void test_precision(void **state)
{
    (void)state;
    static const struct {
        const char *extra;
        struct km_precision expected; /* weights, activations, kv_cache, embeddings, attention */
    } cases[] = {
        {"", {KM_FP32, KM_FP32, KM_FP32, KM_FP32, KM_FP32}},
        {", \"torch_dtype\": \"float16\"", {KM_FP16, KM_FP16, KM_FP16, KM_FP16, KM_FP16}},
        {", \"dtype\": \"bfloat16\"", {KM_BF16, KM_BF16, KM_BF16, KM_BF16, KM_BF16}},
        {", \"torch_dtype\": \"bfloat16\", \"quantization_config\": {\"quant_method\": \"fp8\"}",
         {KM_FP8, KM_FP8, KM_BF16, KM_BF16, KM_FP8}},
        {", \"torch_dtype\": \"float16\", \"quantization_config\": {\"quant_method\": \"awq\", \"bits\": 4}",
         {KM_INT4, KM_FP16, KM_FP16, KM_FP16, KM_INT4}},
        {", \"torch_dtype\": \"float16\", \"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 8}",
         {KM_INT8, KM_FP16, KM_FP16, KM_FP16, KM_INT8}},
        {", \"quantization_config\": {\"quant_method\": \"mxfp4\", \"modules_to_not_convert\": "
         "[\"model.layers.*.self_attn\", \"lm_head\"]}",
         {KM_MXFP4, KM_BF16, KM_BF16, KM_BF16, KM_BF16}},
        {", \"torch_dtype\": \"bfloat16\", \"quantization_config\": {\"quant_method\": "
         "\"compressed-tensors\", "
         "\"config_groups\": {\"group_0\": {\"weights\": {\"num_bits\": 8, \"type\": \"float\"}, "
         "\"input_activations\": {\"num_bits\": 8, \"type\": \"float\"}}}, "
         "\"kv_cache_scheme\": {\"num_bits\": 8, \"type\": \"float\"}}",
         {KM_FP8, KM_FP8, KM_FP8, KM_BF16, KM_FP8}},
        {", \"torch_dtype\": \"bfloat16\", \"quantization_config\": {\"quant_method\": "
         "\"compressed-tensors\", "
         "\"config_groups\": {\"group_0\": {\"weights\": {\"num_bits\": 4, \"type\": \"int\"}, "
         "\"input_activations\": null}}}",
         {KM_INT4, KM_BF16, KM_BF16, KM_BF16, KM_INT4}},
        {", \"torch_dtype\": \"bfloat16\", \"quantization_config\": {\"quant_method\": "
         "\"compressed-tensors\", "
         "\"config_groups\": {\"group_0\": {\"weights\": {\"num_bits\": 4, \"type\": \"float\"}, "
         "\"input_activations\": {\"num_bits\": 4, \"type\": \"float\"}}}}",
         {KM_NVFP4, KM_NVFP4, KM_BF16, KM_BF16, KM_NVFP4}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        char extra[1024];
        snprintf(extra, sizeof extra, ", \"num_hidden_layers\": 1%s", cases[i].extra);
        open_model("llama", extra, &arena, &model);
        const struct km_precision *got = &model.precision, *want = &cases[i].expected;
        if (got->weights != want->weights || got->activations != want->activations ||
            got->kv_cache != want->kv_cache || got->embeddings != want->embeddings ||
            got->attention != want->attention)
            fail_msg("case %zu", i);
        km_arena_release(&arena);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *path, *name;
    } cases[] = {
        {"models/a-7b.json", "a-7b"},
        {"a-7b", "a-7b"},
        {"/x/llama-3.1-8b.json", "llama-3.1-8b"},
        {"x/Llama-3.1-8B/config.json", "Llama-3.1-8B"},
        {"config.json", "config"},
        {NULL, ""},
    };
    const char *text = "{\"model_type\": \"gpt2\", \"n_embd\": 8, \"n_head\": 2, \"n_layer\": 1, "
                       "\"n_positions\": 16, \"vocab_size\": 10}";
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        assert_int_equal(km_model_parse(text, strlen(text), cases[i].path, &arena, &model, &error), KM_OK);
        assert_string_equal(model.name, cases[i].name);
        km_arena_release(&arena);
    }
}

static void test_dtypes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum km_dtype dtype;
        double bits;
    } cases[] = {
        {"fp32", KM_FP32, 32},     {"float32", KM_FP32, 32},   {"bf16", KM_BF16, 16},
        {"bfloat16", KM_BF16, 16}, {"half", KM_FP16, 16},      {"float16", KM_FP16, 16},
        {"fp8", KM_FP8, 8},        {"fp8_e4m3", KM_FP8, 8},    {"e5m2", KM_FP8, 8},
        {"int8", KM_INT8, 8},      {"int4", KM_INT4, 4.15625}, {"mxfp4", KM_MXFP4, 4.25},
        {"nvfp4", KM_NVFP4, 4.5},  {"int2", KM_INT2, 3},       {"BF16", KM_BF16, 16},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum km_dtype dtype;
        assert_true(km_dtype_find(cases[i].name, &dtype));
        assert_int_equal(dtype, cases[i].dtype);
        assert_true(km_dtype_bits(dtype) == cases[i].bits);
        assert_true(km_dtype_bytes(dtype) == cases[i].bits / 8);
    }
    enum km_dtype dtype;
    assert_false(km_dtype_find("auto", &dtype));
    assert_false(km_dtype_find("", &dtype));
    for (int i = 0; i < KM_DTYPE_COUNT; i++) {
        assert_true(km_dtype_find(km_dtype_name((enum km_dtype)i), &dtype));
        assert_int_equal(dtype, i);
    }
}

/* Lists are walked once a layer: a file cannot make that slow. */
static void test_endless_list(void **state)
{
    (void)state;
    static char extra[16000], text[16400];
    size_t n = (size_t)snprintf(extra, sizeof extra, "0");
    for (int i = 1; i < 5000; i++)
        n += (size_t)snprintf(extra + n, sizeof extra - n, ",0");
    int length = snprintf(
        text, sizeof text,
        "{\"model_type\": \"bamba\", \"hidden_size\": 64, \"num_hidden_layers\": 4, \"vocab_size\": 9, "
        "\"max_position_embeddings\": 99, \"attn_layer_indices\": [%s]}",
        extra);
    struct km_arena arena = {0};
    struct km_model model;
    struct km_error error = {0};
    assert_int_equal(km_model_parse(text, (size_t)length, "m.json", &arena, &model, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "attn_layer_indices: expected at most 4096 elements, got 5000");
    km_arena_release(&arena);
}

/* One changed byte of a good file gives a model or one clear error, and finite counts. */
static void test_damaged_text(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{\"model_type\":\"llama4\",\"text_config\":{\"hidden_size\":64,\"num_hidden_layers\":4,"
        "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"intermediate_size\":9,"
        "\"num_local_experts\":4,\"num_experts_per_tok\":1,\"interleave_moe_layer_step\":2,"
        "\"no_rope_layers\":[1,1,1,0],\"attention_chunk_size\":8,\"vocab_size\":9,"
        "\"max_position_embeddings\":99},\"torch_dtype\":\"bfloat16\"}",
        "{\"model_type\":\"nemotron_h\",\"hybrid_override_pattern\":\"M-M*-M\",\"hidden_size\":64,"
        "\"num_attention_heads\":4,\"head_dim\":16,\"intermediate_size\":9,\"mamba_num_heads\":4,"
        "\"mamba_head_dim\":16,\"ssm_state_size\":8,\"n_groups\":2,\"vocab_size\":9,"
        "\"max_position_embeddings\":99}",
    };
    static const char letters[] = "0919-.,:\"[]{}eM*\xff ";
    unsigned seed = 1, read = 0;
    for (int round = 0; round < 20000; round++) {
        char text[600];
        const char *from = good[round % 2];
        size_t length = strlen(from);
        memcpy(text, from, length);
        seed = seed * 1103515245u + 12345u;
        size_t at = (seed >> 8) % length;
        seed = seed * 1103515245u + 12345u;
        text[at] = letters[(seed >> 8) % (sizeof letters - 1)];
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        if (km_model_parse(text, length, "d", &arena, &model, &error) == KM_OK) {
            struct km_parameters p;
            km_model_parameters(&model, &p);
            assert_true(isfinite(p.total) && p.total > 0 && p.active <= p.total);
            read++;
        } else {
            assert_int_equal(error.status, KM_BAD_INPUT);
            assert_true(error.message[0] && error.line == 1 && error.column > 0);
        }
        km_arena_release(&arena);
    }
    assert_true(read > 1000 && read < 15000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_models),
        cmocka_unit_test(test_counts_by_hand),
        cmocka_unit_test(test_counts_of_experts),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_pattern_mlps),
        cmocka_unit_test(test_shared_kv),
        cmocka_unit_test(test_kv_by_rank),
        cmocka_unit_test(test_multi_query),
        cmocka_unit_test(test_precision),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_endless_list),
        cmocka_unit_test(test_damaged_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
