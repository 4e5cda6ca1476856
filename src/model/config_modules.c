/* Which of a layer's modules a quantisation's names mean. Names are matched against those that checkpoints give
 * their products, "model.layers.<i>.<stem>.<product>"; what stands before "layers." does not count. A module has
 * the format of most of its products. */
#include "model/config_quantization.h"

#include <fnmatch.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 160

/* A rule made ready. */
struct matcher {
    const char *rest; /* after "layers.<i>.", or the whole pattern when it has no layer */
    bool in_layer, every_layer;
    uint32_t layer;
    bool is_regex;
    regex_t regex;
};

/* --- rules ---------------------------------------------------------------------------------------------- */

/* Python's regular expressions as POSIX has them: \d and (?: are all that such files use beyond it. */
static bool compile(const char *pattern, regex_t *out)
{
    char text[512] = "^(";
    size_t n = 2;
    for (const char *c = pattern; *c && n < sizeof text - 8; c++) {
        if (c[0] == '\\' && c[1] == 'd') {
            memcpy(text + n, "[0-9]", 5);
            n += 5;
            c++;
        } else if (c[0] == '(' && c[1] == '?' && c[2] == ':') {
            text[n++] = '(';
            c += 2;
        } else {
            text[n++] = *c;
        }
    }
    if (n >= sizeof text - 8)
        return false;
    text[n++] = ')';
    text[n] = '\0';
    return regcomp(out, text, REG_EXTENDED | REG_NOSUB) == 0;
}

static bool make_ready(struct km_config *config, const struct km_format_rule *rule, struct matcher *out)
{
    *out = (struct matcher){.rest = rule->pattern};
    if (strncmp(rule->pattern, "re:", 3) == 0) {
        out->is_regex = compile(rule->pattern + 3, &out->regex);
        if (!out->is_regex)
            km_config_fail(config, rule->place, "\"%.80s\" is no regular expression that is understood",
                           rule->pattern);
        return out->is_regex;
    }
    const char *at = strstr(rule->pattern, "layers.");
    if (!at || (at != rule->pattern && at[-1] != '.'))
        return true;
    at += strlen("layers.");
    char *end = (char *)(uintptr_t)at;
    const unsigned long layer = strtoul(at, &end, 10);
    out->in_layer = true;
    out->every_layer = end == at && *at == '*';
    if (out->every_layer)
        end++;
    else if (end == at || layer > KM_MAX_LAYERS)
        out->layer = UINT32_MAX; /* of no layer */
    else
        out->layer = (uint32_t)layer;
    out->rest = *end == '.' ? end + 1 : end;
    return true;
}

static bool begins_with(const char *name, const char *part)
{
    const size_t length = strlen(part);
    return strncmp(name, part, length) == 0 && (name[length] == '.' || name[length] == '\0');
}

/* Is `part` a run of whole words of the dotted name? */
static bool has_words(const char *name, const char *part)
{
    for (const char *at = name; at; at = strchr(at, '.')) {
        at += *at == '.';
        if (begins_with(at, part))
            return true;
    }
    return false;
}

/* `full`: "model.layers.3.mlp.down_proj"; `rest`: what of it follows the layer. */
static bool matches(const struct matcher *m, const char *full, const char *rest)
{
    char below[NAME_SIZE];
    if (m->is_regex)
        return regexec(&m->regex, full, 0, NULL, 0) == 0;
    const char *name = m->in_layer ? rest : full;
    if (!strchr(m->rest, '*'))
        return *m->rest && (m->in_layer ? begins_with(name, m->rest) : has_words(name, m->rest));
    snprintf(below, sizeof below, "%s.*", m->rest);
    return fnmatch(m->rest, name, 0) == 0 || fnmatch(below, name, 0) == 0;
}

/* --- modules -------------------------------------------------------------------------------------------- */

/* How checkpoints call a module, and its products: each in several spellings. */
struct spelling {
    const char *stems[8];
    const char *products[3][5];
};

#define ATTENTION_PRODUCTS                                                                                   \
    {                                                                                                        \
        {"q_proj", "q_b_proj", "qkv_proj", "wq_b", "query_key_value"},                                       \
            {"k_proj", "kv_b_proj", "qkv_proj", "wkv", "query_key_value"},                                   \
        {                                                                                                    \
            "o_proj", "out_proj", "dense", "wo_b", "c_proj"                                                  \
        }                                                                                                    \
    }

static const struct spelling attention_names = {{"self_attn", "attn", "attention", "mixer", "self_attention"},
                                                ATTENTION_PRODUCTS};
static const struct spelling delta_names = {{"linear_attn", "self_attn"},
                                            {{"in_proj_qkvz", "in_proj_qkv", "q_proj"},
                                             {"in_proj_qkvz", "in_proj_z", "k_proj"},
                                             {"out_proj", "o_proj"}}};
static const struct spelling state_space_names = {{"conv", "mixer", "mamba", "linear_attn"},
                                                  {{"in_proj"}, {"in_proj"}, {"out_proj"}}};

static const struct spelling mlp_names[KM_MODULE_COUNT] = {
    [KM_MODULE_DENSE_MLP] = {{"mlp", "mixer", "feed_forward", "ffn"},
                             {{"gate_proj", "gate_up_proj", "w1", "up_proj", "fc1"},
                              {"up_proj", "gate_up_proj", "w3", "fc1"},
                              {"down_proj", "w2", "fc2"}}},
    [KM_MODULE_EXPERTS] = {{"mlp.experts", "block_sparse_moe.experts", "mixer.experts", "ffn.experts",
                            "experts", "moe.experts", "feed_forward.experts"},
                           {{"0.gate_proj", "gate_up_proj", "0.w1", "0.up_proj"},
                            {"0.up_proj", "gate_up_proj", "0.w3"},
                            {"0.down_proj", "down_proj", "0.w2"}}},
    [KM_MODULE_SHARED] = {{"mlp.shared_expert", "mlp.shared_experts", "block_sparse_moe.shared_experts",
                           "mixer.shared_experts", "ffn.shared_experts", "share_expert", "shared_mlp",
                           "feed_forward.shared_expert"},
                          {{"gate_proj", "gate_up_proj", "w1", "up_proj"},
                           {"up_proj", "gate_up_proj", "w3"},
                           {"down_proj", "w2"}}},
};
/* Where a dense MLP stands beside the experts, it is the shared one, and they are not below it. */
static const struct spelling experts_beside_names = {
    {"experts", "moe.experts"},
    {{"0.gate_proj", "gate_up_proj"}, {"0.up_proj", "gate_up_proj"}, {"0.down_proj", "down_proj"}}};

static const struct spelling *names_of(const struct km_config *config, const struct km_layer *layer,
                                       enum km_module module)
{
    if (module == KM_MODULE_EXPERTS && config->family->dense_beside)
        return &experts_beside_names;
    if (module == KM_MODULE_SHARED && config->family->dense_beside)
        return &mlp_names[KM_MODULE_DENSE_MLP];
    if (module != KM_MODULE_MIXER)
        return &mlp_names[module];
    if (layer->mixer == KM_GDN || layer->mixer == KM_KDA)
        return &delta_names;
    return km_layer_attends(layer) ? &attention_names : &state_space_names;
}

static bool names_product(const struct matcher *m, const struct spelling *names, uint32_t block, int product)
{
    for (size_t s = 0; s < 8 && names->stems[s]; s++)
        for (size_t p = 0; p < 5 && names->products[product][p]; p++) {
            char full[NAME_SIZE];
            const int head = snprintf(full, sizeof full, "model.layers.%u.", block);
            snprintf(full + head, sizeof full - (size_t)head, "%s.%s", names->stems[s],
                     names->products[product][p]);
            if (matches(m, full, full + head))
                return true;
        }
    return false;
}

/* --- all of them ---------------------------------------------------------------------------------------- */

/* Several rules may name a module's products one by one: each product has the format of the last rule that names
 * it, the module that of two of three. */
static struct km_format format_of(const struct km_quantization *q, const struct matcher *matchers,
                                  const struct spelling *names, uint32_t block)
{
    struct km_format found[3] = {q->usual, q->usual, q->usual};
    for (size_t r = 0; r < q->rule_count; r++) {
        if (matchers[r].in_layer && !matchers[r].every_layer && matchers[r].layer != block)
            continue;
        for (int product = 0; product < 3; product++)
            if (names_product(&matchers[r], names, block, product))
                found[product] = q->rules[r].format;
    }
    return found[1].weights == found[2].weights ? found[1] : found[0];
}

static bool has_module(const struct km_layer *layer, enum km_module module)
{
    switch (module) {
    case KM_MODULE_MIXER:
        return layer->mixer != KM_NO_MIXER;
    case KM_MODULE_DENSE_MLP:
        return layer->mlp == KM_MLP_DENSE;
    case KM_MODULE_EXPERTS:
        return layer->mlp == KM_MLP_MOE;
    case KM_MODULE_SHARED:
        return layer->mlp == KM_MLP_MOE && layer->shared_intermediate > 0;
    case KM_MODULE_COUNT:
        break;
    }
    return false;
}

/* The block that a layer's mixer, or its MLP, is in the file: with letters each is a block of its own. */
static void number_blocks(const struct km_config *config, uint32_t count, uint32_t *mixers, uint32_t *mlps)
{
    for (uint32_t i = 0; i < count && !config->letters; i++)
        mixers[i] = mlps[i] = i;
    uint32_t layer = 0;
    for (uint32_t block = 0; config->letters && config->letters[block]; block++) {
        if (config->letters[block] == 'M' || config->letters[block] == '*')
            mixers[layer++] = block;
        else if (layer > 0)
            mlps[layer - 1] = block;
    }
}

/* The format of most values among the modules of a class: it stands for the class. */
static struct km_format most(const struct km_model *model, const struct km_layer *layers, bool mixers,
                             struct km_format fallback)
{
    struct km_format formats[KM_DTYPE_COUNT * 2];
    double values[KM_DTYPE_COUNT * 2];
    size_t count = 0, best = 0;
    for (uint32_t i = 0; i < model->layer_count; i++) {
        struct km_parameters p;
        km_layer_parameters(model, &layers[i], &p);
        const double parts[KM_MODULE_COUNT] = {p.attention, p.dense_mlp, p.routed_experts, p.shared_experts};
        for (int m = 0; m < KM_MODULE_COUNT; m++) {
            if ((m == KM_MODULE_MIXER) != mixers || !has_module(&layers[i], (enum km_module)m))
                continue;
            const struct km_format *format = &layers[i].stored[m].format;
            size_t f = 0;
            while (f < count &&
                   (formats[f].weights != format->weights || formats[f].activations != format->activations))
                f++;
            if (f == sizeof formats / sizeof *formats)
                continue;
            if (f == count) {
                formats[count] = *format;
                values[count++] = 0.0;
            }
            values[f] += parts[m];
        }
    }
    for (size_t f = 1; f < count; f++)
        best = values[f] > values[best] ? f : best;
    return count ? formats[best] : fallback;
}

static void summarise(struct km_model *model, struct km_layer *layers, const struct km_quantization *q)
{
    const struct km_format mixers = most(model, layers, true, q->usual);
    const struct km_format others = most(model, layers, false, mixers);
    struct km_precision *precision = &model->precision;
    precision->weights = others.weights;
    precision->activations = others.activations;
    precision->attention = mixers.weights;
    precision->kv_cache = q->kv_cache;
    for (uint32_t i = 0; i < model->layer_count; i++)
        for (int m = 0; m < KM_MODULE_COUNT; m++) {
            struct km_stored *stored = &layers[i].stored[m];
            const enum km_dtype usual = m == KM_MODULE_MIXER ? precision->attention : precision->weights;
            stored->own = has_module(&layers[i], (enum km_module)m) &&
                          (stored->format.weights != usual ||
                           stored->format.activations != km_dtype_operand(usual, precision->activations));
        }
}

/* Embedding and LM head stay as they were unless a rule gives the head a format. */
static void read_head(const struct km_quantization *q, const struct matcher *matchers, struct km_model *model)
{
    for (size_t r = 0; r < q->rule_count; r++)
        if (!matchers[r].in_layer && !strchr(matchers[r].rest, '*') && !matchers[r].is_regex &&
            has_words(matchers[r].rest, "lm_head"))
            model->lm_head =
                (struct km_stored){q->rules[r].format.weights != q->base.weights, q->rules[r].format};
}

void km_config_modules(struct km_config *config, const struct km_quantization *q, struct km_model *model,
                       struct km_layer *layers)
{
    size_t ready = 0;
    if (config->status != KM_OK)
        return;
    struct matcher *matchers = km_alloc((q->rule_count + 1) * sizeof *matchers);
    uint32_t *mixers = km_alloc(model->layer_count * sizeof *mixers),
             *mlps = km_alloc(model->layer_count * sizeof *mlps);
    while (ready < q->rule_count && make_ready(config, &q->rules[ready], &matchers[ready]))
        ready++;
    if (ready == q->rule_count) {
        number_blocks(config, model->layer_count, mixers, mlps);
        for (uint32_t i = 0; i < model->layer_count; i++)
            for (int m = 0; m < KM_MODULE_COUNT; m++)
                if (has_module(&layers[i], (enum km_module)m))
                    layers[i].stored[m].format =
                        format_of(q, matchers, names_of(config, &layers[i], (enum km_module)m),
                                  m == KM_MODULE_MIXER ? mixers[i] : mlps[i]);
        summarise(model, layers, q);
        read_head(q, matchers, model);
    }
    for (size_t r = 0; r < ready; r++)
        if (matchers[r].is_regex)
            regfree(&matchers[r].regex);
    free(matchers);
    free(mixers);
    free(mlps);
}
