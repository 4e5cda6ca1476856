#include "cost/profile/profile.h"

#include <stdlib.h>
#include <string.h>

static const char *const stream_kinds[] = {"norm", "activation", "rope",    "kv_write", "embed", "sample",
                                           "add",  "route",      "combine", "other",    NULL};
static const char *const collective_kinds[] = {"all_reduce", "all_gather", "reduce_scatter",
                                               "all_to_all", "send_recv",  NULL};
static const char *const implementations[] = {"nccl", "one_shot", "two_shot", "custom", NULL};
static const char *const modes[] = {"eager", "graph", NULL};
static const char *const routings[] = {"uniform", "balanced", NULL};
static const char *const splits[] = {"unstated", "none", "any", NULL};
static const char *const layer_kinds[] = {"prefill", "decode", "sustained", NULL};

#define GEMM_DIMS                                                                                            \
    {                                                                                                        \
        {.name = "weights", .kind = KM_DIM_DTYPE}, {.name = "activations", .kind = KM_DIM_DTYPE},            \
            {.name = "n"}, {.name = "k"}, {.name = "m"},                                                     \
    }
#define ATTENTION_DIMS {.name = "head_dim"}, {.name = "kv_dtype", .kind = KM_DIM_DTYPE}, {.name = "heads"},
#define LATENT_DIMS                                                                                          \
    {.name = "kv_dtype", .kind = KM_DIM_DTYPE}, {.name = "heads"}, {.name = "latent"}, {.name = "rope"},

const struct km_profile_schema km_profile_schemas[KM_PROFILE_CLASSES] = {
    [KM_PROFILE_GEMM] = {"gemm", 5, 2, .dims = GEMM_DIMS},
    [KM_PROFILE_GEMM_SUSTAINED] = {"gemm_sustained", 5, 2, .dims = GEMM_DIMS},
    [KM_PROFILE_GROUPED_GEMM] = {"grouped_gemm", 7, 4,
                                 .dims = {{.name = "weights", .kind = KM_DIM_DTYPE},
                                          {.name = "activations", .kind = KM_DIM_DTYPE},
                                          {.name = "experts"},
                                          {.name = "top_k"},
                                          {.name = "n"},
                                          {.name = "k"},
                                          {.name = "m"}}},
    [KM_PROFILE_MOE] =
        {"moe", 9, 8,
         .dims = {{.name = "weights", .kind = KM_DIM_DTYPE},
                  {.name = "activations", .kind = KM_DIM_DTYPE},
                  {.name = "experts"},
                  {.name = "top_k"},
                  {.name = "ranks"},
                  {.name = "hidden"},
                  {.name = "width"},
                  {.name = "routing", .kind = KM_DIM_WORD, .words = routings, .optional = true},
                  {.name = "m"}}},
    [KM_PROFILE_PREFILL] =
        {"attention_prefill", 8, 6,
         .dims = {ATTENTION_DIMS{.name = "kv_heads"},
                  {.name = "window", .optional = true},
                  {.name = "sequences", .optional = true, .fallback = 1, .shared_with = "tokens"},
                  {.name = "past"},
                  {.name = "tokens"}}},
    [KM_PROFILE_DECODE] = {"attention_decode", 7, 5,
                           .dims = {ATTENTION_DIMS{.name = "kv_heads", .shared_with = "batch"},
                                    {.name = "window", .optional = true},
                                    {.name = "batch"},
                                    {.name = "context"}}},
    [KM_PROFILE_MIXED] = {"attention_mixed", 9, 5,
                          .dims = {ATTENTION_DIMS{.name = "kv_heads", .shared_with = "batch"},
                                   {.name = "split", .kind = KM_DIM_WORD, .words = splits, .optional = true},
                                   {.name = "tokens"},
                                   {.name = "past"},
                                   {.name = "batch"},
                                   {.name = "context"}}},
    [KM_PROFILE_LATENT_DECODE] = {"attention_mla_decode", 6, 4,
                                  .dims = {LATENT_DIMS{.name = "batch"}, {.name = "context"}}},
    [KM_PROFILE_LATENT_CHUNK] = {"attention_mla_chunk", 6, 4,
                                 .dims = {LATENT_DIMS{.name = "past"}, {.name = "tokens"}}},
    [KM_PROFILE_LATENT_PREFILL] = {"attention_mla_prefill", 6, 4,
                                   .dims = {LATENT_DIMS{.name = "past"}, {.name = "tokens"}}},
    [KM_PROFILE_SKEW] = {"attention_skew", 4, 0, .value = true,
                         .dims = {{.name = "tokens", .optional = true},
                                  {.name = "batch"},
                                  {.name = "percent"},
                                  {.name = "context"}}},
    [KM_PROFILE_STREAM] = {"stream", 3, 2,
                           .dims = {{.name = "kind", .kind = KM_DIM_WORD, .words = stream_kinds},
                                    {.name = "bytes_per_row", .shared_with = "rows"},
                                    {.name = "rows"}}},
    [KM_PROFILE_COLLECTIVE] =
        {"collective", 5, 4,
         .dims = {{.name = "kind", .kind = KM_DIM_WORD, .words = collective_kinds},
                  {.name = "implementation", .kind = KM_DIM_WORD, .words = implementations},
                  {.name = "mode", .kind = KM_DIM_WORD, .words = modes},
                  {.name = "ranks"},
                  {.name = "bytes"}}},
    [KM_PROFILE_SCALAR] = {"scalar", 1, 0, .value = true, .dims = {{.name = "name", .kind = KM_DIM_WORD}}},
    [KM_PROFILE_LAYER] = {"layer", 8, 6, .value = true,
                          .dims = {{.name = "kind", .kind = KM_DIM_WORD, .words = layer_kinds},
                                   {.name = "hidden"},
                                   {.name = "width"},
                                   {.name = "heads"},
                                   {.name = "kv_heads"},
                                   {.name = "head_dim"},
                                   {.name = "m"},
                                   {.name = "context"}}},
};

enum km_profile_class km_profile_class_find(const char *name)
{
    int class = 0;
    while (class < KM_PROFILE_CLASSES && strcmp(km_profile_schemas[class].name, name) != 0)
        class ++;
    return (enum km_profile_class) class;
}

void km_profile_add(struct km_profile *profile, enum km_profile_class class, const struct km_profile_row *row)
{
    struct km_profile_table *table = &profile->tables[class];
    table->rows = km_grow(table->rows, &table->capacity, table->count + 1, sizeof *table->rows);
    table->rows[table->count] = *row;
    table->rows[table->count].order = (uint32_t)table->count;
    table->count++;
}

bool km_profile_word(struct km_profile *profile, const struct km_profile_dim *dim, const char *word,
                     double *out)
{
    if (dim->kind == KM_DIM_DTYPE) {
        enum km_dtype dtype;
        bool known = km_dtype_find(word, &dtype);
        *out = known ? (double)dtype : 0.0;
        return known;
    }
    size_t i = 0;
    if (dim->words) {
        while (dim->words[i] && strcmp(dim->words[i], word) != 0)
            i++;
        *out = (double)i;
        return dim->words[i] != NULL;
    }
    while (i < profile->name_count && strcmp(profile->names[i], word) != 0)
        i++;
    /* any name that JSON and CSV need no quoting for */
    if (i == KM_PROFILE_MAX_NAMES ||
        word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/ ")])
        return false;
    if (i == profile->name_count) {
        profile->names = km_grow(profile->names, &profile->name_capacity, i + 1, sizeof *profile->names);
        profile->names[profile->name_count++] = km_arena_strdup(&profile->arena, word);
    }
    *out = (double)i;
    return true;
}

static int by_dims(const void *a, const void *b)
{
    const double *x = ((const struct km_profile_row *)a)->dims, *y = ((const struct km_profile_row *)b)->dims;
    for (int i = 0; i < KM_PROFILE_DIMS; i++) /* dims a class lacks are 0 in all its rows */
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

bool km_profile_finish(struct km_profile *profile, struct km_profile_twins *twins)
{
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++) {
        struct km_profile_table *table = &profile->tables[class];
        if (table->count == 0)
            continue;
        qsort(table->rows, table->count, sizeof *table->rows, by_dims);
        for (size_t i = 1; i < table->count; i++) {
            const struct km_profile_row *a = &table->rows[i - 1], *b = &table->rows[i];
            if (by_dims(a, b) != 0)
                continue;
            bool ascending = a->order < b->order;
            *twins = (struct km_profile_twins){(enum km_profile_class) class, ascending ? *a : *b,
                                               ascending ? *b : *a};
            return false;
        }
    }
    return true;
}

void km_profile_merge(struct km_profile *profile)
{
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++) {
        struct km_profile_table *table = &profile->tables[class];
        size_t kept = 0;
        if (table->count > 0)
            qsort(table->rows, table->count, sizeof *table->rows, by_dims);
        for (size_t first = 0, end; first < table->count; first = end) {
            struct km_profile_row mean = table->rows[first];
            for (end = first + 1; end < table->count && by_dims(&table->rows[first], &table->rows[end]) == 0;
                 end++) {
                mean.us += table->rows[end].us;
                mean.spread_us += table->rows[end].spread_us;
            }
            mean.us /= (double)(end - first);
            mean.spread_us /= (double)(end - first);
            table->rows[kept++] = mean;
        }
        table->count = kept;
    }
}

void km_profile_release(struct km_profile *profile)
{
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++) {
        free(profile->tables[class].rows);
        free(profile->tables[class].answers);
    }
    free(profile->names);
    km_arena_release(&profile->arena);
    *profile = (struct km_profile){0};
}

bool km_profile_scalar(const struct km_profile *profile, const char *name, double *out)
{
    const struct km_profile_table *table = &profile->tables[KM_PROFILE_SCALAR];
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(profile->names[(size_t)table->rows[i].dims[0]], name) == 0) {
            *out = table->rows[i].us;
            return true;
        }
    return false;
}
