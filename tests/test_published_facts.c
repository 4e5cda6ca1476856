#include "model/model.h"
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

/* What publishers count as active: everything read for a token; less the embedding table; less both tables.
 */
enum convention { ALL, NO_EMBEDDING, NO_VOCABULARY };

/* The exact number of parameters in the checkpoint's tensors, as shown on its model page. */
#define CHECKPOINT "checkpoint"

/* Every model in models/. `unit`: the published number is rounded to this; 0 = exact. */
static const struct {
    const char *name;
    double total, total_unit, active, active_unit; /* active 0: dense */
    enum convention convention;
    double kv_bytes; /* a token, all layers, 16 bits a value */
    const char *source;
    double index_bytes; /* of kv_bytes: keys of indexers, whatever the cache's format */
} facts[] = {
    {"llama-2-7b", 6738415616, 0, 0, 0, ALL, 524288, CHECKPOINT, 0},
    {"llama-3.1-8b", 8030261248, 0, 0, 0, ALL, 131072, CHECKPOINT, 0},
    {"llama-3.1-70b", 70553706496, 0, 0, 0, ALL, 327680, CHECKPOINT, 0},
    {"llama-3.1-405b", 405853388800, 0, 0, 0, ALL, 516096, CHECKPOINT, 0},
    {"llama-3.2-1b", 1235814400, 0, 0, 0, ALL, 32768, CHECKPOINT, 0},
    {"qwen2.5-7b", 7615616512, 0, 0, 0, ALL, 57344, CHECKPOINT, 0},
    {"qwen2.5-72b", 72706203648, 0, 0, 0, ALL, 327680, CHECKPOINT, 0},
    {"qwen3-8b", 8190735360, 0, 0, 0, ALL, 147456, CHECKPOINT, 0},
    {"qwen3-32b", 32762123264, 0, 0, 0, ALL, 262144, CHECKPOINT, 0},
    {"qwen3-30b-a3b", 30532122624, 0, 3.3e9, 1e8, ALL, 98304,
     CHECKPOINT "; 3.3B active: model card, arXiv 2505.09388", 0},
    {"qwen3-235b-a22b", 235093634560, 0, 22e9, 1e9, ALL, 192512, CHECKPOINT "; 22B active: arXiv 2505.09388",
     0},
    {"qwen3-next-80b-a3b", 80e9, 1e9, 3e9, 1e9, NO_VOCABULARY, 24576, "80B, 3B active: model card", 0},
    {"qwen1.5-moe-a2.7b", 14315784192, 0, 2.7e9, 1e8, ALL, 196608, CHECKPOINT "; 2.7B active: model card", 0},
    {"mistral-7b-v0.1", 7241732096, 0, 0, 0, ALL, 131072, CHECKPOINT, 0},
    {"mistral-7b-v0.3", 7248023552, 0, 0, 0, ALL, 131072, CHECKPOINT, 0},
    {"mixtral-8x7b", 46702792704, 0, 12.9e9, 1e8, ALL, 131072,
     CHECKPOINT "; 12.9B active: Mistral AI, \"Mixtral of experts\"", 0},
    {"mixtral-8x22b", 140620634112, 0, 39e9, 1e9, ALL, 229376,
     CHECKPOINT "; 39B active: Mistral AI, \"Cheaper, better, faster, stronger\"", 0},
    {"deepseek-v2-lite", 15706484224, 0, 2.4e9, 1e8, NO_EMBEDDING, 31104,
     CHECKPOINT "; 2.4B active: arXiv 2405.04434", 0},
    {"deepseek-v3", 671026419200, 0, 37e9, 1e9, NO_EMBEDDING, 70272,
     "671B without the MTP layer: arXiv 2412.19437; 37B active", 0},
    {"kimi-k2", 1.03e12, 1e10, 32e9, 1e9, NO_EMBEDDING, 70272,
     "1T, 32B active: model card; 1.03T: GGUF conversions", 0},
    {"gpt-oss-20b", 20914757184, 0, 3.61e9, 1e7, NO_EMBEDDING, 49152,
     "20.91B, 3.61B active without the embedding: model card, arXiv 2508.10925", 0},
    {"gpt-oss-120b", 116829156672, 0, 5.13e9, 1e7, NO_EMBEDDING, 73728,
     "116.83B, 5.13B active without the embedding: model card, arXiv 2508.10925", 0},
    {"llama-4-scout", 107.77e9, 1e7, 17e9, 1e9, ALL, 196608,
     "language model 107.77B (109B with vision): GGUF conversions; 17B active: model card", 0},
    {"qwen3-0.6b", 596049920, 0, 0, 0, ALL, 114688, CHECKPOINT, 0},
    {"qwen3-32b-fp8", 32762123264, 0, 0, 0, ALL, 262144, CHECKPOINT " of Qwen3-32B", 0},
    {"qwen3-vl-8b", 8190735360, 0, 0, 0, ALL, 147456, "the language model of Qwen3-8B", 0},
    {"qwen3-vl-30b-a3b", 30532122624, 0, 3.3e9, 1e8, ALL, 98304, "the language model of Qwen3-30B-A3B", 0},
    {"qwen3.5-27b", 27e9, 5e8, 0, 0, ALL, 16 * 4 * 256 * 4, "27B: model card", 0},
    {"qwen3.5-122b-a10b", 122e9, 1e9, 10e9, 1e9, ALL, 12 * 2 * 256 * 4, "122B, 10B active: model card", 0},
    {"deepseek-v3.2", 671.9e9, 1e9, 37e9, 1e9, NO_EMBEDDING, 61 * (576 * 2 + 132),
     "DeepSeek-V3 and 61 indexers of 14 M", 61 * 132},
    {"glm-5-fp8", 744e9, 1e9, 40e9, 1e9, NO_EMBEDDING, 78 * (576 * 2 + 132), "744B, 40B active: model card",
     78 * 132},
    {"glm-5.2", 744e9, 1e9, 40e9, 1e9, NO_EMBEDDING, 78 * 576 * 2 + 21 * 132,
     "744B, 40B active: GLM-5's card; 21 of 78 layers have indexers", 21 * 132},
    {"minimax-m2.5", 229e9, 1e9, 10e9, 1e9, NO_VOCABULARY, 253952, "229B, 10B active: model card", 0},
    {"minimax-m3", 428e9, 2e9, 23e9, 1e9, NO_VOCABULARY, 60 * 4 * 128 * 4 + 57 * 256,
     "428B with its vision tower, 23B active: model card", 57 * 256},
    {"kimi-k2.5", 1.03e12, 1e10, 32e9, 1e9, NO_EMBEDDING, 70272, "as Kimi-K2", 0},
    {"kimi-k3", 2.78e12, 1e10, 104e9, 1e9, NO_EMBEDDING, 24 * 576 * 2, "2.78T, 104B active: arXiv 2607.24653",
     0},
    {"gemma-4-26b-a4b", 25.2e9, 1e8, 3.8e9, 1e8, ALL, 25 * 8 * 256 * 4 + 5 * 2 * 512 * 4,
     "25.2B, 3.8B active: model card", 0},
    {"nemotron-3-nano-30b-a3b", 31.6e9, 1e8, 3.6e9, 1e8, ALL, 6 * 2 * 128 * 4,
     "31.6B, 3.6B active: model card", 0},
    {"nemotron-3-ultra-550b-a55b", 550e9, 1e9, 55e9, 1e9, NO_EMBEDDING, 12 * 2 * 128 * 4,
     "550B, 55B active: model card", 0},
    {"nemotron-super-49b", 49.9e9, 1e8, 0, 0, ALL, 49 * 8 * 128 * 4,
     "49.9B: model card; 49 of 80 layers attend", 0},
    {"llama-4-maverick", 400e9, 1e9, 17e9, 1e9, ALL, 196608, "400B, 17B active: model card", 0},
    {"mimo-v2-flash", 309e9, 1e9, 15e9, 1e9, ALL, 39 * 8 * 320 * 2 + 9 * 4 * 320 * 2,
     "309B, 15B active: model card", 0},
    {"gemma-2-9b", 9241705984, 0, 0, 0, ALL, 344064, CHECKPOINT, 0},
    {"gemma-3-27b", 27.016e9, 1e8, 0, 0, ALL, 507904,
     "1,416M embedding + 25,600M others: arXiv 2503.19786, table 1", 0},
    {"phi-2", 2779683840, 0, 0, 0, ALL, 327680, CHECKPOINT, 0},
    {"phi-3-mini", 3821079552, 0, 0, 0, ALL, 393216, CHECKPOINT, 0},
    {"falcon-7b", 6921720704, 0, 0, 0, ALL, 8192, "tied LM head counted once (7,217,189,760 stored)", 0},
    {"gpt-j-6b", 6053381344, 1e7, 0, 0, ALL, 458752, "EleutherAI model card", 0},
    {"opt-6.7b", 6658473984, 0, 0, 0, ALL, 524288, CHECKPOINT, 0},
    {"opt-66b", 66e9, 1e9, 0, 0, ALL, 2359296, "66B: arXiv 2205.01068, table 1", 0},
    {"gpt2", 124439808, 0, 0, 0, ALL, 36864, CHECKPOINT, 0},
    {"command-r", 34980831232, 0, 0, 0, ALL, 1310720, CHECKPOINT, 0},
    {"starcoder2-7b", 7173923840, 0, 0, 0, ALL, 65536, CHECKPOINT, 0},
    {"olmo-2-7b", 7.3e9, 1e8, 0, 0, ALL, 524288, "7.3B: model page", 0},
    {"glm-4.5-air", 106e9, 1e9, 12e9, 1e9, NO_VOCABULARY, 188416, "106B, 12B active: arXiv 2508.06471", 0},
    {"jamba-v0.1", 51570323328, 0, 12e9, 1e9, ALL, 16384, CHECKPOINT "; 12B active: arXiv 2403.19887", 0},
    {"mamba-2.8b", 2768345600, 0, 0, 0, ALL, 0, CHECKPOINT, 0},
    {"mamba-codestral-7b", 7285403648, 0, 0, 0, ALL, 0, CHECKPOINT, 0},
    {"hunyuan-large", 389e9, 1e9, 52e9, 1e9, ALL, 81920, "389B, 52B active: arXiv 2411.02265", 0},
};

/* Families without a model in models/: the numbers of one published model, shortened to what is read. */
static const struct {
    const char *name, *type;
    double total, unit; /* parameters of the checkpoint's tensors; unit as above */
    const char *text;
} others[] = {
    /* config.json as in transformers' conversions of LiquidAI/LFM2-1.2B; 1,170,340,608 in its tensors */
    {"lfm2-1.2b", "lfm2", 1170340608.0, 0,
     "\"hidden_size\": 2048, \"num_hidden_layers\": 16, \"num_attention_heads\": 32, "
     "\"num_key_value_heads\": 8, "
     "\"block_ff_dim\": 12288, \"block_multiple_of\": 256, \"block_auto_adjust_ff_dim\": true, "
     "\"conv_L_cache\": 3, "
     "\"full_attn_idxs\": [2, 5, 8, 10, 12, 14], \"vocab_size\": 65536, \"max_position_embeddings\": 128000"},
    /* tencent/Hunyuan-A13B: 80B, 13B active */
    {"hunyuan-a13b", "hunyuan_v1_moe", 80.4e9, 1e8,
     "\"hidden_size\": 4096, \"num_hidden_layers\": 32, \"num_attention_heads\": 32, "
     "\"num_key_value_heads\": 8, "
     "\"head_dim\": 128, \"intermediate_size\": 3072, \"moe_intermediate_size\": [3072, 3072, 3072], "
     "\"moe_topk\": [8, 8, 8], \"num_shared_expert\": [1, 1, 1], \"num_experts\": 64, \"vocab_size\": "
     "128167, "
     "\"tie_word_embeddings\": true, \"max_position_embeddings\": 32768"},
    /* config.json as in the fixtures of public sizing tools; 7.59B: Falcon-H1's model card */
    {"falcon-h1-7b", "falcon_h1", 7.59e9, 1e7,
     "\"hidden_size\": 3072, \"num_hidden_layers\": 44, \"num_attention_heads\": 12, "
     "\"num_key_value_heads\": 2, "
     "\"head_dim\": 128, \"intermediate_size\": 12288, \"vocab_size\": 130048, \"tie_word_embeddings\": "
     "false, "
     "\"mamba_d_state\": 256, \"mamba_n_groups\": 1, \"mamba_n_heads\": 24, \"mamba_d_head\": 128, "
     "\"mamba_d_ssm\": 3072, \"mamba_expand\": 2, \"mamba_d_conv\": 4, \"max_position_embeddings\": 262144"},
    {"bamba-9b", "bamba", 9780000000.0, 10000000.0,
     "\"hidden_size\": 4096, \"num_hidden_layers\": 32, \"num_attention_heads\": 32, "
     "\"num_key_value_heads\": 8, \"intermediate_size\": 14336, \"attn_layer_indices\": [9, 18, 27], "
     "\"mamba_n_heads\": 128, \"mamba_d_head\": 64, \"mamba_d_state\": 128, \"mamba_n_groups\": 1, "
     "\"mamba_d_conv\": 4, \"mamba_expand\": 2, \"vocab_size\": 128256, \"tie_word_embeddings\": false, "
     "\"max_position_embeddings\": 4096"},
    {"command-r7b", "cohere2", 8028033024, 0,
     "\"hidden_size\": 4096, \"num_hidden_layers\": 32, \"num_attention_heads\": 32, "
     "\"num_key_value_heads\": 8, \"intermediate_size\": 14336, \"vocab_size\": 256000, \"sliding_window\": "
     "4096, \"sliding_window_pattern\": 4, \"max_position_embeddings\": 8192"},
    {"deepseek-v2", "deepseek_v2", 235741434880, 0,
     "\"hidden_size\": 5120, \"num_hidden_layers\": 60, \"num_attention_heads\": 128, "
     "\"num_key_value_heads\": 128, \"q_lora_rank\": 1536, \"kv_lora_rank\": 512, \"qk_nope_head_dim\": 128, "
     "\"qk_rope_head_dim\": 64, \"v_head_dim\": 128, \"intermediate_size\": 12288, "
     "\"moe_intermediate_size\": 1536, \"n_routed_experts\": 160, \"n_shared_experts\": 2, "
     "\"num_experts_per_tok\": 6, \"first_k_dense_replace\": 1, \"vocab_size\": 102400, "
     "\"max_position_embeddings\": 4096"},
    {"ernie-4.5-0.3b", "ernie4_5", 360748032, 0,
     "\"hidden_size\": 1024, \"num_hidden_layers\": 18, \"num_attention_heads\": 16, "
     "\"num_key_value_heads\": 2, \"head_dim\": 128, \"intermediate_size\": 3072, \"vocab_size\": 103424, "
     "\"tie_word_embeddings\": true, \"max_position_embeddings\": 4096"},
    {"ernie-4.5-21b-a3b", "ernie4_5_moe", 21825437888, 0,
     "\"hidden_size\": 2560, \"num_hidden_layers\": 28, \"num_attention_heads\": 20, "
     "\"num_key_value_heads\": 4, \"intermediate_size\": 12288, \"moe_intermediate_size\": 1536, "
     "\"moe_num_experts\": 64, \"moe_k\": 6, \"moe_num_shared_experts\": 2, \"moe_layer_start_index\": 1, "
     "\"moe_layer_end_index\": 27, \"moe_layer_interval\": 1, \"vocab_size\": 103424, "
     "\"max_position_embeddings\": 4096"},
    {"falcon-40b", "falcon", 41303293952, 0,
     "\"hidden_size\": 8192, \"num_hidden_layers\": 60, \"num_attention_heads\": 128, \"num_kv_heads\": 8, "
     "\"new_decoder_architecture\": true, \"parallel_attn\": true, \"bias\": false, \"vocab_size\": 65024, "
     "\"max_position_embeddings\": 4096"},
    {"falcon-mamba-7b", "falcon_mamba", 7272665088, 0,
     "\"hidden_size\": 4096, \"num_hidden_layers\": 64, \"state_size\": 16, \"conv_kernel\": 4, \"expand\": "
     "2, \"intermediate_size\": 8192, \"time_step_rank\": 256, \"vocab_size\": 65024, "
     "\"tie_word_embeddings\": false, \"use_bias\": false, \"use_conv_bias\": true, "
     "\"max_position_embeddings\": 4096"},
    {"gemma-7b", "gemma", 8537680896, 0,
     "\"hidden_size\": 3072, \"num_hidden_layers\": 28, \"num_attention_heads\": 16, "
     "\"num_key_value_heads\": 16, \"head_dim\": 256, \"intermediate_size\": 24576, \"vocab_size\": 256000, "
     "\"max_position_embeddings\": 4096"},
    {"glm-4-9b-0414", "glm4", 9400279040, 0,
     "\"hidden_size\": 4096, \"num_hidden_layers\": 40, \"num_attention_heads\": 32, "
     "\"num_key_value_heads\": 2, \"head_dim\": 128, \"intermediate_size\": 13696, \"vocab_size\": 151552, "
     "\"attention_bias\": true, \"max_position_embeddings\": 4096"},
    {"granite-3.1-3b-a800m", "granitemoe", 3300000000.0, 100000000.0,
     "\"hidden_size\": 1536, \"num_hidden_layers\": 32, \"num_attention_heads\": 24, "
     "\"num_key_value_heads\": 8, \"intermediate_size\": 512, \"num_local_experts\": 40, "
     "\"num_experts_per_tok\": 8, \"vocab_size\": 49155, \"tie_word_embeddings\": true, "
     "\"max_position_embeddings\": 4096"},
    {"granite-3.1-8b", "granite", 8170848256, 0,
     "\"hidden_size\": 4096, \"num_hidden_layers\": 40, \"num_attention_heads\": 32, "
     "\"num_key_value_heads\": 8, \"intermediate_size\": 12800, \"vocab_size\": 49155, "
     "\"tie_word_embeddings\": true, \"max_position_embeddings\": 4096"},
    {"granite-4.0-h-1b", "granitemoehybrid", 1500000000.0, 100000000.0,
     "\"hidden_size\": 1536, \"num_hidden_layers\": 40, \"num_attention_heads\": 12, "
     "\"num_key_value_heads\": 4, \"intermediate_size\": 4096, \"shared_intermediate_size\": 4096, "
     "\"num_local_experts\": 0, \"num_experts_per_tok\": 0, \"layer_types\": [\"mamba\", \"mamba\", "
     "\"mamba\", \"mamba\", \"mamba\", \"attention\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", "
     "\"mamba\", \"mamba\", \"mamba\", \"mamba\", \"attention\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", "
     "\"mamba\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", \"attention\", \"mamba\", \"mamba\", \"mamba\", "
     "\"mamba\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", \"attention\", \"mamba\", \"mamba\", "
     "\"mamba\", \"mamba\"], \"mamba_n_heads\": 48, \"mamba_d_head\": 64, \"mamba_d_state\": 128, "
     "\"mamba_n_groups\": 1, \"mamba_d_conv\": 4, \"mamba_expand\": 2, \"vocab_size\": 100352, "
     "\"tie_word_embeddings\": true, \"max_position_embeddings\": 4096"},
    {"granite-4.0-h-tiny", "granitemoehybrid", 6939037248, 0,
     "\"hidden_size\": 1536, \"num_hidden_layers\": 40, \"num_attention_heads\": 12, "
     "\"num_key_value_heads\": 4, \"intermediate_size\": 512, \"shared_intermediate_size\": 1024, "
     "\"num_local_experts\": 64, \"num_experts_per_tok\": 6, \"layer_types\": [\"mamba\", \"mamba\", "
     "\"mamba\", \"mamba\", \"mamba\", \"attention\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", "
     "\"mamba\", \"mamba\", \"mamba\", \"mamba\", \"attention\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", "
     "\"mamba\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", \"attention\", \"mamba\", \"mamba\", \"mamba\", "
     "\"mamba\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", \"attention\", \"mamba\", \"mamba\", "
     "\"mamba\", \"mamba\"], \"mamba_n_heads\": 48, \"mamba_d_head\": 64, \"mamba_d_state\": 128, "
     "\"mamba_n_groups\": 1, \"mamba_d_conv\": 4, \"mamba_expand\": 2, \"vocab_size\": 100352, "
     "\"tie_word_embeddings\": true, \"max_position_embeddings\": 4096"},
    {"internlm2-7b", "internlm2", 7737708544, 0,
     "\"hidden_size\": 4096, \"num_hidden_layers\": 32, \"num_attention_heads\": 32, "
     "\"num_key_value_heads\": 8, \"intermediate_size\": 14336, \"vocab_size\": 92544, \"bias\": false, "
     "\"max_position_embeddings\": 4096"},
    {"minimax-m2", "minimax_m2", 228689764864, 0,
     "\"hidden_size\": 3072, \"num_hidden_layers\": 62, \"num_attention_heads\": 48, "
     "\"num_key_value_heads\": 8, \"head_dim\": 128, \"intermediate_size\": 1536, \"num_local_experts\": "
     "256, \"num_experts_per_tok\": 8, \"vocab_size\": 200064, \"use_qk_norm\": true, "
     "\"max_position_embeddings\": 4096"},
    {"minitron-4b", "nemotron", 4190000000.0, 10000000.0,
     "\"hidden_size\": 3072, \"num_hidden_layers\": 32, \"num_attention_heads\": 24, "
     "\"num_key_value_heads\": 8, \"head_dim\": 128, \"intermediate_size\": 9216, \"vocab_size\": 256000, "
     "\"max_position_embeddings\": 4096"},
    {"mistral-small-3.1-text", "mistral3", 23572403200, 0,
     "\"text_config\": {\"hidden_size\": 5120, \"num_hidden_layers\": 40, \"num_attention_heads\": 32, "
     "\"num_key_value_heads\": 8, \"head_dim\": 128, \"intermediate_size\": 32768, \"vocab_size\": 131072, "
     "\"max_position_embeddings\": 131072}, \"max_position_embeddings\": 4096"},
    {"nemotron-h-8b", "nemotron_h", 8100000000.0, 100000000.0,
     "\"hidden_size\": 4096, \"num_hidden_layers\": 52, \"num_attention_heads\": 32, "
     "\"num_key_value_heads\": 8, \"attention_head_dim\": 128, \"intermediate_size\": 21504, "
     "\"hybrid_override_pattern\": \"M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-\", "
     "\"mamba_num_heads\": 128, \"mamba_head_dim\": 64, \"ssm_state_size\": 128, \"n_groups\": 8, "
     "\"conv_kernel\": 4, \"expand\": 2, \"vocab_size\": 131072, \"tie_word_embeddings\": false, "
     "\"max_position_embeddings\": 4096"},
    {"olmo-3-7b", "olmo3", 7298011136, 0,
     "\"hidden_size\": 4096, \"num_hidden_layers\": 32, \"num_attention_heads\": 32, "
     "\"num_key_value_heads\": 32, \"intermediate_size\": 11008, \"vocab_size\": 100278, \"sliding_window\": "
     "4096, \"max_position_embeddings\": 65536"},
    {"olmoe", "olmoe", 6919161856, 0,
     "\"hidden_size\": 2048, \"num_hidden_layers\": 16, \"num_attention_heads\": 16, "
     "\"num_key_value_heads\": 16, \"intermediate_size\": 1024, \"num_experts\": 64, "
     "\"num_experts_per_tok\": 8, \"vocab_size\": 50304, \"max_position_embeddings\": 4096"},
    {"opt-350m", "opt", 331196416, 0,
     "\"hidden_size\": 1024, \"num_hidden_layers\": 24, \"num_attention_heads\": 16, \"ffn_dim\": 4096, "
     "\"vocab_size\": 50272, \"max_position_embeddings\": 2048, \"word_embed_proj_dim\": 512, "
     "\"do_layer_norm_before\": false"},
    {"phi-3.5-moe", "phimoe", 41873153344, 0,
     "\"hidden_size\": 4096, \"num_hidden_layers\": 32, \"num_attention_heads\": 32, "
     "\"num_key_value_heads\": 8, \"intermediate_size\": 6400, \"num_local_experts\": 16, "
     "\"num_experts_per_tok\": 2, \"vocab_size\": 32064, \"attention_bias\": true, \"lm_head_bias\": true, "
     "\"max_position_embeddings\": 4096"},
    {"pythia-6.9b", "gpt_neox", 6857302016, 0,
     "\"hidden_size\": 4096, \"num_hidden_layers\": 32, \"num_attention_heads\": 32, \"intermediate_size\": "
     "16384, \"vocab_size\": 50432, \"use_parallel_residual\": true, \"tie_word_embeddings\": false, "
     "\"max_position_embeddings\": 4096"},
    {"seed-oss-36b", "seed_oss", 36151104512, 0,
     "\"hidden_size\": 5120, \"num_hidden_layers\": 64, \"num_attention_heads\": 80, "
     "\"num_key_value_heads\": 8, \"head_dim\": 128, \"intermediate_size\": 27648, \"vocab_size\": 155136, "
     "\"attention_bias\": true, \"attention_out_bias\": false, \"max_position_embeddings\": 4096"},
    {"smollm3-3b", "smollm3", 3075098624, 0,
     "\"hidden_size\": 2048, \"num_hidden_layers\": 36, \"num_attention_heads\": 16, "
     "\"num_key_value_heads\": 4, \"intermediate_size\": 11008, \"vocab_size\": 128256, "
     "\"max_position_embeddings\": 4096"},
    {"starcoder", "gpt_bigcode", 15517456384, 0,
     "\"n_embd\": 6144, \"n_layer\": 40, \"n_head\": 48, \"n_inner\": 24576, \"n_positions\": 8192, "
     "\"vocab_size\": 49152, \"multi_query\": true"},
};

static void open_model(const char *name, struct km_arena *arena, struct km_model *model)
{
    char path[512];
    struct km_error error = {0};
    snprintf(path, sizeof path, KM_SOURCE_DIR "/models/%s.json", name);
    if (km_model_read(path, arena, model, &error) != KM_OK)
        fail_msg("%s: %s", name, error.message);
}

/* Equal when exact; else within 1 % and no further off than the rounding of the published number. */
static void check(const char *name, const char *what, double ours, double published, double unit)
{
    double slack = unit > 0 ? fmin(0.01 * published, unit) : 0;
    if (fabs(ours - published) > slack)
        fail_msg("%s: %s %.0f, published %.0f", name, what, ours, published);
}

static void test_parameters(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(facts); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_parameters p;
        open_model(facts[i].name, &arena, &model);
        km_model_parameters(&model, &p);
        check(facts[i].name, "parameters", p.total, facts[i].total, facts[i].total_unit);
        assert_true(p.total == p.embedding + p.lm_head + p.attention + p.dense_mlp + p.routed_experts +
                                   p.shared_experts + p.router + p.norms);
        double active = p.active;
        if (facts[i].convention != ALL)
            active -= p.embedding;
        if (facts[i].convention == NO_VOCABULARY)
            active -= p.lm_head;
        if (facts[i].active > 0) {
            /* Published with two or three digits, some rounded and some cut. */
            if (fabs(active - facts[i].active) >= facts[i].active_unit)
                fail_msg("%s: active %.0f, published %.0f", facts[i].name, active, facts[i].active);
        } else {
            assert_true(p.active == p.total);
        }
        km_arena_release(&arena);
    }
}

static void test_kv_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(facts); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        open_model(facts[i].name, &arena, &model);
        check(facts[i].name, "KV bytes", km_model_kv_bytes_per_token(&model, KM_BF16, 1), facts[i].kv_bytes,
              0);
        check(facts[i].name, "fp8 KV bytes", km_model_kv_bytes_per_token(&model, KM_FP8, 1),
              (facts[i].kv_bytes - facts[i].index_bytes) / 2 + facts[i].index_bytes, 0);
        km_arena_release(&arena);
    }
}

/* Sizes of published checkpoints; unit 0 = the exact total_size of its index. (gpt-oss keeps the experts'
 * biases in 16 bits too: 0.1 % that we count at the experts' own width.) */
static void test_weight_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum km_dtype weights, attention, embeddings;
        double bytes, unit;
        const char *source;
    } cases[] = {
        {"llama-3.1-8b", KM_BF16, KM_BF16, KM_BF16, 16060522496, 0, CHECKPOINT},
        {"llama-3.1-70b", KM_BF16, KM_BF16, KM_BF16, 141107412992, 0, CHECKPOINT},
        {"mistral-7b-v0.1", KM_BF16, KM_BF16, KM_BF16, 14483464192, 0, CHECKPOINT},
        {"mixtral-8x7b", KM_BF16, KM_BF16, KM_BF16, 93405585408, 0, CHECKPOINT},
        {"qwen2.5-7b", KM_BF16, KM_BF16, KM_BF16, 15231233024, 0, CHECKPOINT},
        {"llama-3.1-8b", KM_FP8, KM_FP8, KM_BF16, 9.08e9, 1e7, "its FP8 conversions, linear layers only"},
        {"llama-3.1-8b", KM_INT4, KM_INT4, KM_BF16, 5.73e9, 1e7, "its AWQ INT4 conversions, groups of 128"},
        {"gpt-oss-20b", KM_MXFP4, KM_BF16, KM_BF16, 12.8 * 1073741824, 0.05 * 1073741824,
         "arXiv 2508.10925, table 1"},
        {"gpt-oss-120b", KM_MXFP4, KM_BF16, KM_BF16, 60.8 * 1073741824, 0.15 * 1073741824,
         "arXiv 2508.10925, table 1"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        open_model(cases[i].name, &arena, &model);
        struct km_precision precision = {
            .weights = cases[i].weights, .attention = cases[i].attention, .embeddings = cases[i].embeddings};
        check(cases[i].name, cases[i].source, km_model_weight_bytes(&model, &precision), cases[i].bytes,
              cases[i].unit);
        km_arena_release(&arena);
    }
}

/* What each file says its checkpoint stores. */
static void test_checkpoint_precision(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum km_dtype weights, attention, embeddings;
    } cases[] = {
        {"llama-3.1-8b", KM_BF16, KM_BF16, KM_BF16}, {"llama-2-7b", KM_FP16, KM_FP16, KM_FP16},
        {"deepseek-v3", KM_FP8, KM_FP8, KM_BF16},    {"gpt-oss-20b", KM_MXFP4, KM_BF16, KM_BF16},
        {"gemma-3-27b", KM_BF16, KM_BF16, KM_BF16},  {"gpt2", KM_FP32, KM_FP32, KM_FP32},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        open_model(cases[i].name, &arena, &model);
        assert_int_equal(model.precision.weights, cases[i].weights);
        assert_int_equal(model.precision.attention, cases[i].attention);
        assert_int_equal(model.precision.embeddings, cases[i].embeddings);
        km_arena_release(&arena);
    }
}

static void test_other_families(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(others); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        struct km_parameters p;
        char text[4096];
        int length =
            snprintf(text, sizeof text, "{\"model_type\": \"%s\", %s}", others[i].type, others[i].text);
        if (km_model_parse(text, (size_t)length, others[i].name, &arena, &model, &error) != KM_OK)
            fail_msg("%s: %s", others[i].name, error.message);
        km_model_parameters(&model, &p);
        if (others[i].unit > 0) {
            if (fabs(p.total - others[i].total) > 0.5 * others[i].unit)
                fail_msg("%s: parameters %.0f, published %.0f", others[i].name, p.total, others[i].total);
        } else {
            check(others[i].name, "parameters", p.total, others[i].total, 0);
        }
        km_arena_release(&arena);
    }
}

/* A model without its published facts here is not shipped. */
static void test_every_model_has_facts(void **state)
{
    (void)state;
    DIR *directory = opendir(KM_SOURCE_DIR "/models");
    assert_non_null(directory);
    size_t files = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".json") != 0)
            continue;
        size_t length = (size_t)(dot - entry->d_name);
        bool known = false;
        for (size_t i = 0; i < COUNT(facts); i++)
            known |= strlen(facts[i].name) == length && memcmp(facts[i].name, entry->d_name, length) == 0;
        if (!known)
            fail_msg("%s has no published facts", entry->d_name);
        files++;
    }
    closedir(directory);
    assert_int_equal(files, COUNT(facts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters),     cmocka_unit_test(test_kv_bytes),
        cmocka_unit_test(test_weight_bytes),   cmocka_unit_test(test_checkpoint_precision),
        cmocka_unit_test(test_other_families), cmocka_unit_test(test_every_model_has_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
