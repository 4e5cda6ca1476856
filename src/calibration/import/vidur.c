/* Importer `vidur`: the profiling tables of Vidur (arXiv 2405.05465), a folder of mlp.csv, attention.csv and,
 * optionally, all_reduce.csv and send_recv.csv. Times are milliseconds in columns
 * time_stats.<operator>.median. The sizes each row was measured for are columns of their own, so no model
 * need be named. */
#include "base/table.h"
#include "calibration/import/import.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MS          1000.0 /* in us */
#define LONGEST_MS  1e12
#define VALUE_BYTES 2.0 /* Vidur profiles 16-bit models */

struct source {
    struct km_table table;
    struct km_profile *profile;
};

static enum km_status size_of(const struct source *s, const char *name, double *out, struct km_error *error)
{
    uint32_t column;
    enum km_status status = km_table_column(&s->table, name, &column, error);
    return status == KM_OK ? km_table_size(&s->table, column, out, error) : status;
}

/* The median of an operator on this line; *there = false when the table has no such operator or no value. */
static enum km_status time_of(const struct source *s, const char *operator_name, bool *there, double *us,
                              struct km_error *error)
{
    char name[96];
    uint32_t column;
    snprintf(name, sizeof name, "time_stats.%s.median", operator_name);
    *there = false;
    if (!km_table_find(&s->table, name, &column) || !s->table.cells[column][0])
        return KM_OK;
    enum km_status status = km_table_number(&s->table, column, 0.0, LONGEST_MS, us, error);
    *there = status == KM_OK && *us > 0.0; /* 0: not run for this shape */
    *us *= MS;
    return status;
}

/* A column of True or False; `out` stays as it is where there is none. */
static enum km_status flag_of(const struct source *s, const char *name, bool *out, struct km_error *error)
{
    uint32_t column;
    if (!km_table_find(&s->table, name, &column))
        return KM_OK;
    const char *cell = s->table.cells[column];
    bool yes = strcasecmp(cell, "true") == 0 || strcmp(cell, "1") == 0,
         no = strcasecmp(cell, "false") == 0 || strcmp(cell, "0") == 0;
    if (!yes && !no)
        return km_table_fail(&s->table, column, error, "expected True or False, got \"%.60s\"", cell);
    *out = yes;
    return KM_OK;
}

static struct km_profile_row row_here(const struct source *s, double us)
{
    return (struct km_profile_row){.us = us, .origin = s->table.path, .line = s->table.line};
}

static void add_gemm(const struct source *s, double n, double k, double m, double us)
{
    struct km_profile_row row = row_here(s, us);
    row.dims[KM_GEMM_WEIGHTS] = row.dims[KM_GEMM_ACTIVATIONS] = KM_FP16;
    row.dims[KM_GEMM_N] = n;
    row.dims[KM_GEMM_K] = k;
    row.dims[KM_GEMM_M] = m;
    km_profile_add(s->profile, KM_PROFILE_GEMM, &row);
}

static void add_stream(const struct source *s, const char *kind, double bytes_per_row, double rows, double us)
{
    struct km_profile_row row = row_here(s, us);
    km_profile_word(s->profile, &km_profile_schemas[KM_PROFILE_STREAM].dims[KM_STREAM_KIND], kind,
                    &row.dims[KM_STREAM_KIND]);
    row.dims[KM_STREAM_BYTES_PER_ROW] = bytes_per_row;
    row.dims[KM_STREAM_ROWS] = rows;
    km_profile_add(s->profile, KM_PROFILE_STREAM, &row);
}

/* A layer's shape as the line states it. */
struct shape {
    double heads, kv_heads, dim, hidden, width, gated, ranks;
};

/* A size that ranks, or heads, share out evenly. */
static enum km_status divides(const struct source *s, const char *name, double size, double among,
                              struct km_error *error)
{
    if (fmod(size, among) == 0.0)
        return KM_OK;
    return km_fail(error, KM_BAD_INPUT, s->table.path, (int)s->table.line, 0, "%s: %g is not divisible by %g",
                   name, size, among);
}

static enum km_status read_shape(const struct source *s, const char *heads, struct shape *out,
                                 struct km_error *error)
{
    const char *const names[] = {heads, "n_kv_head", "n_embd", "num_tensor_parallel_workers"};
    double *const targets[] = {&out->heads, &out->kv_heads, &out->hidden, &out->ranks};
    enum km_status status = KM_OK;
    for (size_t i = 0; i < 4 && status == KM_OK; i++) {
        status = size_of(s, names[i], targets[i], error);
        if (status == KM_OK && *targets[i] < 1.0)
            status = km_fail(error, KM_BAD_INPUT, s->table.path, (int)s->table.line, 0, "%s: 0", names[i]);
    }
    if (status == KM_OK)
        status = divides(s, "n_embd", out->hidden, out->heads, error);
    if (status == KM_OK)
        status = divides(s, heads, out->heads, out->ranks, error);
    if (status == KM_OK && out->kv_heads > out->ranks)
        status = divides(s, "n_kv_head", out->kv_heads, out->ranks, error);
    out->dim = status == KM_OK ? out->hidden / out->heads : 0.0;
    return status;
}

static enum km_status read_mlp_line(const struct source *s, struct km_error *error)
{
    struct shape h = {0};
    double m, us;
    bool there;
    enum km_status status = read_shape(s, "n_head", &h, error);
    if (status == KM_OK)
        status = size_of(s, "num_tokens", &m, error);
    if (status == KM_OK)
        status = size_of(s, "n_expanded_embd", &h.width, error);
    if (status == KM_OK)
        status = divides(s, "n_expanded_embd", h.width, h.ranks, error);
    if (status != KM_OK)
        return status;
    bool gated = false;
    status = flag_of(s, "use_gated_mlp", &gated, error);
    h.gated = gated ? 2.0 : 1.0;
    double heads = h.heads / h.ranks, kv_heads = h.kv_heads > h.ranks ? h.kv_heads / h.ranks : 1.0;
    double width = h.width / h.ranks, in = h.hidden * VALUE_BYTES;
    const struct {
        const char *name;
        double n, k;
    } products[] = {
        {"attn_pre_proj", (heads + 2.0 * kv_heads) * h.dim, h.hidden},
        {"attn_post_proj", h.hidden, heads * h.dim},
        {"mlp_up_proj", h.gated * width, h.hidden},
        {"mlp_down_proj", h.hidden, width},
    };
    const struct {
        const char *name, *kind;
        double bytes;
    } streams[] = {
        {"input_layernorm", "norm", 4.0 * in},
        {"attn_rope", "rope", 2.0 * (heads + kv_heads) * h.dim * VALUE_BYTES},
        {"mlp_act", "activation", (h.gated + 1.0) * width * VALUE_BYTES},
        {"emb", "embed", 2.0 * in},
        {"add", "add", 3.0 * in},
    };
    for (size_t i = 0; i < sizeof products / sizeof *products && status == KM_OK; i++) {
        status = time_of(s, products[i].name, &there, &us, error);
        if (status == KM_OK && there)
            add_gemm(s, products[i].n, products[i].k, m, us);
    }
    for (size_t i = 0; i < sizeof streams / sizeof *streams && status == KM_OK; i++) {
        status = time_of(s, streams[i].name, &there, &us, error);
        /* operators that are not divided among ranks are measured again for every degree: once is enough */
        if (status == KM_OK && there && (h.ranks == 1.0 || i == 1 || i == 2))
            add_stream(s, streams[i].kind, streams[i].bytes, m, us);
    }
    return status;
}

static enum km_status read_attention_line(const struct source *s, struct km_error *error)
{
    struct shape h = {0};
    double batch, chunk, past, us;
    bool there;
    enum km_status status = read_shape(s, "n_q_head", &h, error);
    if (status == KM_OK)
        status = size_of(s, "batch_size", &batch, error);
    if (status == KM_OK)
        status = size_of(s, "prefill_chunk_size", &chunk, error);
    if (status == KM_OK)
        status = size_of(s, "kv_cache_size", &past, error);
    if (status != KM_OK)
        return status;
    struct km_profile_row row = row_here(s, 0.0);
    row.dims[KM_ATTENTION_HEAD_DIM] = h.dim;
    row.dims[KM_ATTENTION_KV_DTYPE] = KM_FP16;
    row.dims[KM_ATTENTION_HEADS] = h.heads / h.ranks;
    row.dims[KM_ATTENTION_KV_HEADS] = h.kv_heads > h.ranks ? h.kv_heads / h.ranks : 1.0;
    bool prefill = chunk > 0.0;
    status = flag_of(s, "is_prefill", &prefill, error);
    if (status == KM_OK)
        status = time_of(s, "attn_kv_cache_save", &there, &us, error);
    if (status == KM_OK && there)
        add_stream(s, "kv_write", 2.0 * row.dims[KM_ATTENTION_KV_HEADS] * 2.0 * h.dim * VALUE_BYTES,
                   prefill ? chunk : batch, us);
    if (status != KM_OK)
        return status;
    status = time_of(s, prefill ? "attn_prefill" : "attn_decode", &there, &us, error);
    if (status != KM_OK || !there)
        return status;
    row.us = us;
    if (prefill) {
        row.dims[KM_PREFILL_SEQUENCES] = batch;
        row.dims[KM_PREFILL_PAST] = past;
        row.dims[KM_PREFILL_TOKENS] = chunk;
        km_profile_add(s->profile, KM_PROFILE_PREFILL, &row);
    } else {
        row.dims[KM_DECODE_BATCH] = batch;
        row.dims[KM_DECODE_CONTEXT] = past + 1.0;
        km_profile_add(s->profile, KM_PROFILE_DECODE, &row);
    }
    return status;
}

static enum km_status read_collective_line(const struct source *s, const char *kind, struct km_error *error)
{
    double bytes = 0.0, ranks = 0.0, us = 0.0;
    bool there;
    enum km_status status = size_of(s, "size", &bytes, error);
    if (status == KM_OK)
        status = size_of(s, "num_workers", &ranks, error);
    double together = ranks;
    uint32_t column;
    if (status == KM_OK && km_table_find(&s->table, "devices_per_node", &column))
        status = km_table_size(&s->table, column, &together, error);
    if (status == KM_OK)
        status = time_of(s, kind, &there, &us, error);
    if (status != KM_OK || !there || together < ranks) /* profiles are of one node */
        return status;
    const struct km_profile_dim *dims = km_profile_schemas[KM_PROFILE_COLLECTIVE].dims;
    struct km_profile_row row = row_here(s, us);
    km_profile_word(s->profile, &dims[KM_COLLECTIVE_KIND], kind, &row.dims[KM_COLLECTIVE_KIND]);
    km_profile_word(s->profile, &dims[KM_COLLECTIVE_IMPLEMENTATION], "nccl",
                    &row.dims[KM_COLLECTIVE_IMPLEMENTATION]);
    km_profile_word(s->profile, &dims[KM_COLLECTIVE_MODE], "eager", &row.dims[KM_COLLECTIVE_MODE]);
    row.dims[KM_COLLECTIVE_RANKS] = ranks;
    row.dims[KM_COLLECTIVE_BYTES] = bytes;
    km_profile_add(s->profile, KM_PROFILE_COLLECTIVE, &row);
    return status;
}

static enum km_status read_lines(const struct km_import_config *config, struct km_profile *profile,
                                 const char *name, bool optional,
                                 enum km_status (*read)(const struct source *s, struct km_error *error),
                                 struct km_error *error)
{
    struct source s;
    const char *path = km_arena_printf(&profile->arena, "%s/%s", config->source, name);
    if (optional && !km_file_exists(path))
        return KM_OK;
    s.profile = profile;
    enum km_status status = km_table_open(path, true, &s.table, error);
    if (status != KM_OK)
        return status;
    for (bool more = true; more && status == KM_OK;) {
        status = km_table_next(&s.table, &more, error);
        if (status == KM_OK && more)
            status = read(&s, error);
    }
    km_table_close(&s.table);
    return status;
}

static enum km_status read_all_reduce_line(const struct source *s, struct km_error *error)
{
    return read_collective_line(s, "all_reduce", error);
}

static enum km_status read_send_recv_line(const struct source *s, struct km_error *error)
{
    return read_collective_line(s, "send_recv", error);
}

static enum km_status import_vidur(const struct km_import_config *config, struct km_profile *profile,
                                   struct km_text *provenance, struct km_error *error)
{
    km_text_puts(provenance, "\"source\": \"tables of Vidur's profiler (MIT licence)\"");
    enum km_status status = read_lines(config, profile, "mlp.csv", false, read_mlp_line, error);
    if (status == KM_OK)
        status = read_lines(config, profile, "attention.csv", false, read_attention_line, error);
    if (status == KM_OK)
        status = read_lines(config, profile, "all_reduce.csv", true, read_all_reduce_line, error);
    if (status == KM_OK)
        status = read_lines(config, profile, "send_recv.csv", true, read_send_recv_line, error);
    if (status == KM_OK)
        km_profile_merge(profile); /* it measures some shapes twice, and every rank's view of a collective */
    return status;
}

const struct km_importer km_import_vidur = {
    .entry = {"vidur", "folder of mlp.csv, attention.csv, all_reduce.csv, send_recv.csv (ms)"},
    .import = import_vidur,
};
