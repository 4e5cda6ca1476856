/* The config.json reader's inside: what a family of models is, and reading of keys under it. Private to
 * model.
 *
 * Hugging Face files of different families name the same quantity differently and leave out what their class
 * takes for granted. Names differ without clashing, so each quantity has one list of keys for all families
 * (in the code that reads it); what is taken for granted is one row a family in config_family.c. */
#ifndef KM_MODEL_CONFIG_H
#define KM_MODEL_CONFIG_H

#include "base/json.h"
#include "model/model.h"

/* Limits far above any model: widths (heads times head size included) stay well inside 32 bits, counts, which
 * are doubles, finite. */
#define KM_MAX_LAYERS  4096u
#define KM_MAX_HIDDEN  (1u << 20)
#define KM_MAX_HEADS   (1u << 16)
#define KM_MAX_DIM     (1u << 16)
#define KM_MAX_WIDTH   (1u << 24) /* MLP widths, heads times head size */
#define KM_MAX_VOCAB   (1u << 24)
#define KM_MAX_EXPERTS (1u << 16)
#define KM_MAX_TOKENS  (1u << 30) /* positions, windows */

/* A yes or no: the key's value when the file has the key, else the fallback. */
struct km_flag {
    bool fallback;
    const char *key;
};

enum km_window_rule {
    KM_WINDOW_NONE,
    KM_WINDOW_ALL,     /* every layer */
    KM_WINDOW_LAST,    /* layers from max_window_layers on, when use_sliding_window */
    KM_WINDOW_PATTERN, /* all but each `pattern`-th layer */
    KM_WINDOW_ROPE,    /* layers with rotary embedding */
};

enum km_rope_rule {
    KM_ROPE_ALL,
    KM_ROPE_NONE,
    KM_ROPE_INTERVAL, /* all but each 4th layer, or as no_rope_layers says */
    KM_ROPE_WINDOW,   /* layers with a window */
};

enum km_moe_rule {
    KM_MOE_NONE,
    KM_MOE_ALWAYS,   /* the number of experts must be stated */
    KM_MOE_OPTIONAL, /* without experts, the shared expert is the dense MLP */
};

struct km_family {
    const char *model_type;
    const char *text_type; /* the language model is in `text_config`, of this type unless it says so itself */
    const char *text_key;  /* or in this object */
    enum km_mixer mixer;   /* of layers that attend */
    enum km_mixer recurrent; /* of those that are not said to attend; KM_ATTENTION = there are none */
    bool state_fp32;         /* of recurrent layers, when the file does not say */
    uint32_t interval;       /* without a list every so many-th layer attends; 0 = the file must list them */
    struct km_flag output_gate; /* a gate on each value that attention puts out */
    bool lettered;              /* the file must spell its blocks */
    const char *each;           /* it does not: these letters stand for every one of its layers */
    bool sparse;                /* attention to the tokens that an indexer finds */
    bool blocks;                /* a shape of its own for each layer (block_configs) */
    struct km_flag head_gate;   /* a gate on each head that attention puts out */
    bool two_thirds;            /* of the MLP's stated width are meant */
    bool dense_beside;          /* beside the experts every layer has a dense MLP: one more shared expert */
    uint32_t moe_norms;         /* norm vectors that experts bring along */
    bool no_mlp;                /* layers are a mixer alone */
    uint32_t norms;             /* norm vectors a layer; 0 = 2, or 1 in a parallel block */
    bool tied;                  /* when the file does not say */
    struct km_flag norm_bias, parallel, ungated;
    struct km_flag qkv_bias, output_bias, mlp_bias, lm_head_bias;
    struct km_flag qk_norm;
    bool qk_norm_full, sinks, ssm_inner_norms;
    struct km_flag multi_query; /* one KV head, whatever the file says of their number */
    enum km_window_rule window;
    uint32_t pattern;
    enum km_rope_rule rope;
    struct km_flag alibi; /* positions come from a bias on attention scores: no rotary embedding */
    bool learned_positions;
    uint32_t position_offset; /* extra rows of the learned position table */
    enum km_moe_rule moe;
    bool shared_expert; /* one shared expert as wide as a routed one */
    bool shared_gate, router_bias, expert_bias;
    uint32_t mlp_ratio; /* MLP width over hidden, when the file states no width; 0 = it must */
    /* values the files leave out; 0 = they must state them */
    uint32_t heads, kv_heads, head_dim, vocab, positions;
};

/* NULL when there is none. */
const struct km_family *km_family_find(const char *model_type);
/* The i-th family, NULL past the end. */
const struct km_family *km_family_at(size_t i);

/* One reading. The first error sticks in `status`: later getters return their fallback and do nothing. */
struct km_config {
    const struct km_json *json;
    const cJSON *root;
    const cJSON *text; /* the language model's object: root, or its text_config */
    const struct km_family *family;
    /* of hybrids, one a block: M mixer, * attention, - MLP, E experts; NULL = not spelt so */
    const char *letters;
    const struct km_json *beside; /* hf_quant_config.json, which ModelOpt puts beside the file; NULL = none */
    struct km_arena *arena;
    struct km_error *error;
    enum km_status status;
};

#define KM_KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define KM_REQUIRED  INT64_C(-1)

/* The value of the first of `keys` that the file has, else `fallback` (KM_REQUIRED: an error). */
uint32_t km_config_u32(struct km_config *config, const char *const *keys, int64_t fallback, uint32_t min,
                       uint32_t max);
bool km_config_flag(struct km_config *config, struct km_flag flag);
/* The first of `keys` that the file has, NULL when none. */
const cJSON *km_config_find(const struct km_config *config, const char *const *keys);
/* Fail at `value`, unless something failed before. */
void km_config_fail(struct km_config *config, const cJSON *value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* An optional array of exactly `count` elements, or with a negative count of at most KM_MAX_LAYERS; NULL when
 * absent. */
const cJSON *km_config_array(struct km_config *config, const char *key, int count);
/* The same, one element a layer, with or without those of the layers that predict further tokens. */
const cJSON *km_config_layers_array(struct km_config *config, const char *key, int count);
/* Element i of an array of 0 and 1; false without an array. */
/* Is `i` one of the numbers of a list (NULL: none)? */
bool km_config_lists(struct km_config *config, const cJSON *list, uint32_t i);
bool km_config_listed_flag(struct km_config *config, const cJSON *array, uint32_t i);
/* Refuse `count` times `size` values that are too wide. `value`: the place; NULL = the object. */
void km_config_check_width(struct km_config *config, const cJSON *value, uint32_t count, uint32_t size);

/* Fill all layers' mixers; their MLPs; the checkpoint's precision. */
void km_config_mixers(struct km_config *config, const struct km_model *model, struct km_layer *layers);
void km_config_mlps(struct km_config *config, const struct km_model *model, struct km_layer *layers);
/* Other towers than the language model. */
void km_config_towers(struct km_config *config, struct km_model *model);
void km_config_precision(struct km_config *config, struct km_model *model, struct km_layer *layers);
/* The shape of a layer that attends, with or without a window; of a recurrent one. */
void km_config_attention(struct km_config *config, const struct km_model *model, bool windowed,
                         struct km_layer *out);
void km_config_block_indexer(struct km_config *config, const struct km_model *model, struct km_layer *out);
void km_config_recurrent(struct km_config *config, const struct km_model *model, struct km_layer *out);
/* With block_configs: what layer i has of its own; the width of its MLP, 0 = none. */
void km_config_block_mixer(struct km_config *config, uint32_t i, struct km_layer *layer);
uint32_t km_config_block_width(struct km_config *config, uint32_t i, uint32_t hidden);
/* Refuse keys that change shapes in a way that the family's row does not say. */
void km_config_check_keys(struct km_config *config);
/* What is not costed of a family that is known but refused; NULL = the family is read, or not known. */
const char *km_config_mechanism(const char *model_type);
/* Hybrids whose file spells each block, with a letter (config->letters, which is set) or a word: the number of
 * layers when a mixer and the MLP after it are one layer; 0 when the file has no such pattern. */
uint32_t km_config_pattern_layers(struct km_config *config);

#endif
