/* Importer `llmservingsim`: the tables LLMServingSim's profiler writes of one model on one GPU, in
 * microseconds: dense.csv (layer,tokens,time_us), per_sequence.csv (layer,sequences,time_us), attention.csv
 * (prefill_chunk,kv_prefill,n_decode,kv_decode,time_us: one attention layer over a chunk after kv_prefill
 * tokens and n_decode sequences with kv_decode tokens of context each) and, optionally, skew.csv (the same
 * with ragged contexts) and moe.csv (llmservingsim.h).
 *
 * Newer tables name the layer on each line of attention.csv and skew.csv (others than "attention" are passed
 * over), count the decodes' queries in decode_q_len (lines of more than one are passed over), and have
 * prefill_key = kv_prefill + prefill_chunk / 2, the mean context of a chunk's queries, for kv_prefill.
 *
 * The layers are those of a model and a tensor-parallel degree, which say how large each product was. The
 * profiler adds up the kernels that a module launches: the attention module's include the write of the new
 * keys and values into the cache. */
#include "calibration/import/llmservingsim.h"

#include "base/file.h"
#include "base/yaml.h"

#include <math.h>
#include <string.h>

#define VALUE_BYTES 2.0 /* the profiler runs 16-bit models */

/* A layer of dense.csv or per_sequence.csv as an operator. False for a layer that has no operator of its own.
 */
static bool operator_of(const struct km_llmservingsim *in, const char *layer, double rows,
                        enum km_profile_class *class, struct km_profile_row *row)
{
    const struct {
        const char *layer;
        double n, k;
    } products[] = {
        {"qkv_proj", (in->heads + 2.0 * in->kv_heads) * in->dim, in->hidden},
        {"o_proj", in->hidden, in->heads * in->dim},
        {"gate_up_proj", 2.0 * in->width, in->hidden},
        {"down_proj", in->hidden, in->width},
        {"lm_head", in->vocab, in->hidden},
    };
    const struct {
        const char *layer, *kind;
        double bytes;
    } streams[] = {
        {"layernorm", "norm", 4.0 * in->hidden * VALUE_BYTES},
        {"qk_norm", "norm",
         in->attention->qk_norm ? 2.0 * (in->heads + in->kv_heads) * in->dim * VALUE_BYTES : 0.0},
        {"rotary_emb", "rope", 2.0 * (in->heads + in->kv_heads) * in->dim * VALUE_BYTES},
        {"act_fn", "activation", 3.0 * in->width * VALUE_BYTES},
        {"embedding", "embed", 2.0 * in->hidden * VALUE_BYTES},
        {"sampler", "sample", 4.0 * in->config->model->vocab},
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        if (strcmp(products[i].layer, layer) == 0 && products[i].n > 0.0 && products[i].k > 0.0) {
            *class = KM_PROFILE_GEMM;
            row->dims[KM_GEMM_WEIGHTS] = row->dims[KM_GEMM_ACTIVATIONS] = in->dtype;
            row->dims[KM_GEMM_N] = products[i].n;
            row->dims[KM_GEMM_K] = products[i].k;
            row->dims[KM_GEMM_M] = rows;
            return true;
        }
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        if (strcmp(streams[i].layer, layer) == 0 && streams[i].bytes > 0.0) {
            *class = KM_PROFILE_STREAM;
            km_profile_word(in->profile, &km_profile_schemas[KM_PROFILE_STREAM].dims[KM_STREAM_KIND],
                            streams[i].kind, &row->dims[KM_STREAM_KIND]);
            row->dims[KM_STREAM_BYTES_PER_ROW] = streams[i].bytes;
            row->dims[KM_STREAM_ROWS] = rows;
            return true;
        }
    return false;
}

static enum km_status read_layers(struct km_llmservingsim *in, const char *name, const char *rows_column,
                                  struct km_error *error)
{
    struct km_table table;
    uint32_t layer, rows, time;
    bool more = true;
    enum km_status status = km_table_open(km_llmservingsim_path(in, name), true, &table, error);
    if (status != KM_OK)
        return status;
    status = km_table_column(&table, "layer", &layer, error);
    if (status == KM_OK)
        status = km_table_column(&table, rows_column, &rows, error);
    if (status == KM_OK)
        status = km_table_column(&table, "time_us", &time, error);
    while (status == KM_OK) {
        struct km_profile_row row = {.origin = table.path};
        double count;
        enum km_profile_class class;
        status = km_table_next(&table, &more, error);
        if (status != KM_OK || !more)
            break;
        row.line = table.line;
        status = km_table_size(&table, rows, &count, error);
        if (status == KM_OK)
            status = km_table_time(&table, time, 1.0, &row.us, error);
        if (status == KM_OK && operator_of(in, table.cells[layer], count, &class, &row))
            km_profile_add(in->profile, class, &row);
    }
    km_table_close(&table);
    return status;
}

static void add_attention(struct km_llmservingsim *in, double chunk, double past, double decodes,
                          double context, struct km_profile_row *row)
{
    double *d = row->dims;
    d[KM_ATTENTION_HEAD_DIM] = in->dim;
    d[KM_ATTENTION_KV_DTYPE] = in->dtype;
    d[KM_ATTENTION_HEADS] = in->heads;
    d[KM_ATTENTION_KV_HEADS] = in->kv_heads;
    if (chunk > 0.0 && decodes > 0.0) {
        d[KM_MIXED_TOKENS] = chunk;
        d[KM_MIXED_PAST] = past;
        d[KM_MIXED_BATCH] = decodes;
        d[KM_MIXED_CONTEXT] = context;
        km_profile_add(in->profile, KM_PROFILE_MIXED, row);
    } else if (chunk > 0.0) {
        d[KM_PREFILL_SEQUENCES] = 1.0;
        d[KM_PREFILL_PAST] = past;
        d[KM_PREFILL_TOKENS] = chunk;
        km_profile_add(in->profile, KM_PROFILE_PREFILL, row);
    } else if (decodes > 0.0) {
        d[KM_DECODE_BATCH] = decodes;
        d[KM_DECODE_CONTEXT] = context;
        km_profile_add(in->profile, KM_PROFILE_DECODE, row);
    }
}

/* A line's chunk, past, decodes, context: read into v[4]. */
static enum km_status read_attention_shape(const struct km_table *table, const uint32_t *columns, bool by_key,
                                           double *v, struct km_error *error)
{
    enum km_status status = KM_OK;
    for (uint32_t i = 0; i < 4 && status == KM_OK; i++)
        status = by_key && i == 1 ? km_table_number(table, columns[i], 0.0, 1e9, &v[i], error)
                                  : km_table_size(table, columns[i], &v[i], error);
    if (status == KM_OK && by_key)
        v[1] = fmax(0.0, round(v[1] - v[0] / 2.0));
    return status;
}

static enum km_status read_attention(struct km_llmservingsim *in, struct km_error *error)
{
    const char *names[] = {"prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"};
    struct km_table table;
    uint32_t columns[5], queries;
    bool more = true;
    enum km_status status = km_table_open(km_llmservingsim_path(in, "attention.csv"), true, &table, error);
    if (status != KM_OK)
        return status;
    const bool by_key = km_table_find(&table, "prefill_key", &columns[1]);
    names[1] = by_key ? "prefill_key" : names[1];
    status = km_llmservingsim_columns(&table, names, 5, columns, error);
    const bool several = km_table_find(&table, "decode_q_len", &queries);
    while (status == KM_OK) {
        struct km_profile_row row = {.origin = table.path};
        double v[4], length = 1.0;
        status = km_table_next(&table, &more, error);
        if (status != KM_OK || !more)
            break;
        row.line = table.line;
        status = read_attention_shape(&table, columns, by_key, v, error);
        if (status == KM_OK)
            status = km_table_time(&table, columns[4], 1.0, &row.us, error);
        if (status == KM_OK && several)
            status = km_table_size(&table, queries, &length, error);
        if (status == KM_OK && length == 1.0 && !km_llmservingsim_other_layer(&table, "attention"))
            add_attention(in, v[0], v[1], v[2], v[3], &row);
    }
    km_table_close(&table);
    return status;
}

/* What the profiler notes about itself: versions, GPU, model, date. */
static enum km_status read_meta(struct km_llmservingsim *in, struct km_text *provenance,
                                struct km_error *error)
{
    static const char *const keys[] = {"gpu",   "vllm_version", "cuda_version", "profiler_version",
                                       "model", "profiled_at",  "variant"};
    const char *path = km_llmservingsim_path(in, "profile-meta.yaml");
    struct km_yaml *root;
    km_text_puts(provenance, "\"source\": \"tables of LLMServingSim's profiler (MIT licence)\"");
    if (!km_file_exists(path))
        return KM_OK;
    enum km_status status = km_yaml_read(path, &in->profile->arena, &root, error);
    for (size_t i = 0; status == KM_OK && i < sizeof keys / sizeof *keys; i++) {
        const struct km_yaml *value = km_yaml_get(root, keys[i]);
        if (value && value->kind == KM_YAML_SCALAR && !strpbrk(value->text, "\"\\\n"))
            km_text_printf(provenance, ", \"%s\": \"%s\"", keys[i], value->text);
    }
    return status;
}

static enum km_status import_llmservingsim(const struct km_import_config *config, struct km_profile *profile,
                                           struct km_text *provenance, struct km_error *error)
{
    const struct km_model *model = config->model;
    const double ranks = config->tensor_parallel;
    const struct km_layer *attention = NULL, *dense = NULL, *moe = NULL;
    for (uint32_t i = 0; i < model->layer_count; i++) {
        const struct km_layer *layer = &model->layers[i];
        attention = !attention && layer->mixer == KM_ATTENTION ? layer : attention;
        dense = !dense && layer->mlp == KM_MLP_DENSE && layer->gated ? layer : dense;
        moe = !moe && layer->mlp == KM_MLP_MOE && layer->gated ? layer : moe;
    }
    if (!attention || (!dense && !moe))
        return km_fail(error, KM_BAD_INPUT, model->path, 0, 0,
                       "the tables are read for models of attention and gated MLPs; %s is none", model->name);
    if (fmod(attention->heads, ranks) != 0.0 ||
        (attention->kv_heads > ranks && fmod(attention->kv_heads, ranks) != 0.0) ||
        (dense && fmod(dense->intermediate, ranks) != 0.0))
        return km_fail(error, KM_BAD_INPUT, model->path, 0, 0, "%s cannot be divided among %g ranks",
                       model->name, ranks);
    struct km_llmservingsim in = {.config = config,
                                  .profile = profile,
                                  .attention = attention,
                                  .dense = dense,
                                  .moe = moe,
                                  .hidden = model->hidden,
                                  .heads = attention->heads / ranks,
                                  .kv_heads = fmax(1.0, attention->kv_heads / ranks),
                                  .dim = attention->head_dim,
                                  .width = dense ? dense->intermediate / ranks : 0.0,
                                  .vocab = ceil(model->vocab / ranks),
                                  .dtype = (double)model->precision.activations};
    enum km_status status = read_meta(&in, provenance, error);
    if (status == KM_OK)
        status = read_layers(&in, "dense.csv", "tokens", error);
    if (status == KM_OK)
        status = read_layers(&in, "per_sequence.csv", "sequences", error);
    if (status == KM_OK)
        status = read_attention(&in, error);
    if (status == KM_OK)
        status = km_llmservingsim_moe(&in, error);
    if (status == KM_OK)
        status = km_llmservingsim_skew(&in, provenance, error);
    if (status == KM_OK)
        km_llmservingsim_scalar(profile, "attention_writes_kv", 1.0);
    return status;
}

const struct km_importer km_import_llmservingsim = {
    .entry = {"llmservingsim",
              "folder of dense.csv, per_sequence.csv, attention.csv, perhaps moe.csv, skew.csv (us)"},
    .needs_model = true,
    .import = import_llmservingsim,
};
