/* Importer `llmservingsim`: the tables LLMServingSim's profiler writes of one model on one GPU, in
 * microseconds: dense.csv (layer,tokens,time_us), per_sequence.csv (layer,sequences,time_us), attention.csv
 * (prefill_chunk,kv_prefill,n_decode,kv_decode,time_us: one attention layer over a chunk after kv_prefill
 * tokens and n_decode sequences with kv_decode tokens of context each) and, optionally, skew.csv (the same
 * with ragged contexts: t_mean_us all alike, t_skew_us a share of them kv_big tokens long).
 *
 * The layers are those of a model and a tensor-parallel degree, which say how large each product was. The
 * profiler adds up the kernels that a module launches: the attention module's include the write of the new
 * keys and values into the cache. */
#include "calibration/import.h"
#include "calibration/table.h"
#include "cost/profile_roofline.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/yaml.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AGREEMENT_LOG 0.2 /* measurements of one kernel on one device agree better than within 20 % */
#define VALUE_BYTES   2.0 /* the profiler runs 16-bit models */

struct import {
    const struct km_import_config *config;
    struct km_profile *profile;
    const struct km_layer *layer;
    double hidden, heads, kv_heads, dim, width, vocab; /* of a rank */
    double dtype;
    struct km_arena arena; /* paths */
};

static const char *inside(struct import *import, const char *name)
{
    /* rows note where they came from: as long-lived as the profile */
    return km_arena_printf(&import->profile->arena, "%s/%s", import->config->source, name);
}

/* A layer of dense.csv or per_sequence.csv as an operator. False for a layer that has no operator of its own.
 */
static bool operator_of(const struct import *in, const char *layer, double rows, enum km_profile_class *class,
                        struct km_profile_row *row)
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
        {"rotary_emb", "rope", 2.0 * (in->heads + in->kv_heads) * in->dim * VALUE_BYTES},
        {"act_fn", "activation", 3.0 * in->width * VALUE_BYTES},
        {"embedding", "embed", 2.0 * in->hidden * VALUE_BYTES},
        {"sampler", "sample", 4.0 * in->config->model->vocab},
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        if (strcmp(products[i].layer, layer) == 0) {
            *class = KM_PROFILE_GEMM;
            row->dims[KM_GEMM_WEIGHTS] = row->dims[KM_GEMM_ACTIVATIONS] = in->dtype;
            row->dims[KM_GEMM_N] = products[i].n;
            row->dims[KM_GEMM_K] = products[i].k;
            row->dims[KM_GEMM_M] = rows;
            return true;
        }
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        if (strcmp(streams[i].layer, layer) == 0) {
            *class = KM_PROFILE_STREAM;
            km_profile_word(in->profile, &km_profile_schemas[KM_PROFILE_STREAM].dims[KM_STREAM_KIND],
                            streams[i].kind, &row->dims[KM_STREAM_KIND]);
            row->dims[KM_STREAM_BYTES_PER_ROW] = streams[i].bytes;
            row->dims[KM_STREAM_ROWS] = rows;
            return true;
        }
    return false;
}

static enum km_status read_layers(struct import *in, const char *name, const char *rows_column,
                                  struct km_error *error)
{
    struct km_table table;
    uint32_t layer, rows, time;
    bool more = true;
    enum km_status status = km_table_open(inside(in, name), true, &table, error);
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

static void add_attention(struct import *in, double chunk, double past, double decodes, double context,
                          struct km_profile_row *row)
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

static enum km_status read_columns(const struct km_table *table, const char *const *names, uint32_t count,
                                   uint32_t *columns, struct km_error *error)
{
    enum km_status status = KM_OK;
    for (uint32_t i = 0; i < count && status == KM_OK; i++)
        status = km_table_column(table, names[i], &columns[i], error);
    return status;
}

static enum km_status read_attention(struct import *in, struct km_error *error)
{
    static const char *const names[] = {"prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"};
    struct km_table table;
    uint32_t columns[5];
    bool more = true;
    enum km_status status = km_table_open(inside(in, "attention.csv"), true, &table, error);
    if (status != KM_OK)
        return status;
    status = read_columns(&table, names, 5, columns, error);
    while (status == KM_OK) {
        struct km_profile_row row = {.origin = table.path};
        double v[4];
        status = km_table_next(&table, &more, error);
        if (status != KM_OK || !more)
            break;
        row.line = table.line;
        for (uint32_t i = 0; i < 4 && status == KM_OK; i++)
            status = km_table_size(&table, columns[i], &v[i], error);
        if (status == KM_OK)
            status = km_table_time(&table, columns[4], 1.0, &row.us, error);
        if (status == KM_OK)
            add_attention(in, v[0], v[1], v[2], v[3], &row);
    }
    km_table_close(&table);
    return status;
}

/* A line of skew.csv. */
struct ragged {
    struct km_profile_row row;
    double even_us;
};

static int by_dims(const void *a, const void *b)
{
    const double *x = ((const struct ragged *)a)->row.dims, *y = ((const struct ragged *)b)->row.dims;
    for (int i = 0; i < KM_PROFILE_DIMS; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of what batches of decodes without skew take in skew.csv over what they take in attention.csv. */
static double disagreement(struct import *in, const struct ragged *lines, size_t count)
{
    double *ratios = km_alloc((count + 1) * sizeof *ratios), median = 1.0;
    size_t compared = 0;
    struct km_profile_twins twins;
    if (km_profile_finish(in->profile, &twins)) {
        km_profile_bind(in->profile, in->config->device);
        for (size_t i = 0; i < count; i++) {
            const struct km_profile_row *row = &lines[i].row;
            double at[KM_PROFILE_DIMS] = {0};
            struct km_profile_answer answer;
            if (row->dims[KM_SKEW_TOKENS] > 0.0)
                continue;
            at[KM_ATTENTION_HEAD_DIM] = in->dim;
            at[KM_ATTENTION_KV_DTYPE] = in->dtype;
            at[KM_ATTENTION_HEADS] = in->heads;
            at[KM_ATTENTION_KV_HEADS] = in->kv_heads;
            at[KM_DECODE_BATCH] = row->dims[KM_SKEW_BATCH];
            at[KM_DECODE_CONTEXT] = row->dims[KM_SKEW_CONTEXT];
            if (km_profile_lookup(in->profile, KM_PROFILE_DECODE, at, &answer))
                ratios[compared++] = lines[i].even_us * 1e-6 * answer.value /
                                     km_profile_ideal_s(in->config->device, KM_PROFILE_DECODE, at);
        }
    }
    if (compared > 0) {
        qsort(ratios, compared, sizeof *ratios, by_value);
        median = ratios[compared / 2];
    }
    free(ratios);
    return median;
}

/* Lines that differ only in what the table does not keep (the prompt's past, how many are long) as their
 * mean. */
static void add_means(struct km_profile *profile, struct ragged *lines, size_t count)
{
    if (count > 0)
        qsort(lines, count, sizeof *lines, by_dims);
    for (size_t first = 0, end; first < count; first = end) {
        double sum = 0.0;
        for (end = first; end < count && by_dims(&lines[first], &lines[end]) == 0; end++)
            sum += lines[end].row.us;
        lines[first].row.us = sum / (double)(end - first);
        km_profile_add(profile, KM_PROFILE_SKEW, &lines[first].row);
    }
}

static enum km_status read_skew(struct import *in, struct km_text *provenance, struct km_error *error)
{
    static const char *const names[] = {"n", "pc", "kv_big", "kv_mean", "t_mean_us", "t_skew_us"};
    const char *path = inside(in, "skew.csv");
    struct km_table table;
    struct ragged *lines = NULL;
    size_t count = 0, capacity = 0;
    uint32_t columns[6];
    bool more = true;
    if (!km_file_exists(path))
        return KM_OK;
    enum km_status status = km_table_open(path, true, &table, error);
    if (status != KM_OK)
        return status;
    status = read_columns(&table, names, 6, columns, error);
    while (status == KM_OK) {
        struct km_profile_row row = {.origin = path};
        double n, chunk, longest, mean, even_us, skewed_us;
        status = km_table_next(&table, &more, error);
        if (status != KM_OK || !more)
            break;
        row.line = table.line;
        status = km_table_size(&table, columns[0], &n, error);
        if (status == KM_OK)
            status = km_table_size(&table, columns[1], &chunk, error);
        if (status == KM_OK)
            status = km_table_number(&table, columns[2], 1.0, 1e9, &longest, error);
        if (status == KM_OK)
            status = km_table_number(&table, columns[3], 1.0, longest, &mean, error);
        if (status == KM_OK)
            status = km_table_time(&table, columns[4], 1.0, &even_us, error);
        if (status == KM_OK)
            status = km_table_time(&table, columns[5], 1.0, &skewed_us, error);
        if (status != KM_OK)
            break;
        row.dims[KM_SKEW_TOKENS] = chunk;
        row.dims[KM_SKEW_BATCH] = n;
        row.dims[KM_SKEW_CONTEXT] = round(mean);
        row.dims[KM_SKEW_PERCENT] = round(100.0 * longest / mean);
        row.us = skewed_us / even_us;
        lines = km_grow(lines, &capacity, count + 1, sizeof *lines);
        lines[count++] = (struct ragged){row, even_us};
    }
    double ratio = status == KM_OK ? disagreement(in, lines, count) : 1.0;
    if (status == KM_OK && fabs(log(ratio)) < AGREEMENT_LOG)
        add_means(in->profile, lines, count);
    else if (status == KM_OK)
        km_text_printf(
            provenance,
            ", \"skew\": \"left out: batches without skew take %.2g times what attention.csv says\"", ratio);
    free(lines);
    km_table_close(&table);
    return status;
}

/* What the profiler notes about itself: versions, GPU, model, date. */
static enum km_status read_meta(struct import *in, struct km_text *provenance, struct km_error *error)
{
    static const char *const keys[] = {"gpu",   "vllm_version", "cuda_version", "profiler_version",
                                       "model", "profiled_at",  "variant"};
    const char *path = inside(in, "profile-meta.yaml");
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

static void add_scalar(struct km_profile *profile, const char *name, double value)
{
    struct km_profile_row row = {.us = value, .origin = "scalars"};
    km_profile_word(profile, &km_profile_schemas[KM_PROFILE_SCALAR].dims[0], name, &row.dims[0]);
    km_profile_add(profile, KM_PROFILE_SCALAR, &row);
}

static enum km_status import_llmservingsim(const struct km_import_config *config, struct km_profile *profile,
                                           struct km_text *provenance, struct km_error *error)
{
    const struct km_model *model = config->model;
    const struct km_layer *layer = &model->layers[0];
    double ranks = config->tensor_parallel;
    if (layer->mixer != KM_ATTENTION || layer->mlp != KM_MLP_DENSE || !layer->gated)
        return km_fail(error, KM_BAD_INPUT, model->path, 0, 0,
                       "the tables are read for models of attention and gated MLPs; %s is none", model->name);
    struct import in = {.config = config,
                        .profile = profile,
                        .layer = layer,
                        .hidden = model->hidden,
                        .heads = layer->heads / ranks,
                        .kv_heads = fmax(1.0, layer->kv_heads / ranks),
                        .dim = layer->head_dim,
                        .width = layer->intermediate / ranks,
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
        status = read_skew(&in, provenance, error);
    if (status == KM_OK)
        add_scalar(profile, "attention_writes_kv", 1.0);
    return status;
}

const struct km_importer km_import_llmservingsim = {
    .entry = {"llmservingsim", "folder of dense.csv, per_sequence.csv, attention.csv (us)"},
    .needs_model = true,
    .import = import_llmservingsim,
};
