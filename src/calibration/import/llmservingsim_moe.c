#include "calibration/import/llmservingsim.h"

#include "base/file.h"
#include "base/memory.h"
#include "cost/profile/ideal.h"

#include <stdlib.h>

/* A line of moe.csv. */
struct block {
    double ranks, tokens, hit, us;
    uint32_t line;
};

static int by_shape(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    if (x->ranks != y->ranks)
        return x->ranks < y->ranks ? -1 : 1;
    if (x->tokens != y->tokens)
        return x->tokens < y->tokens ? -1 : 1;
    return (x->hit > y->hit) - (x->hit < y->hit);
}

/* Time when `hit` experts are hit, from lines [count] of rising numbers of experts. */
static double time_at(const struct block *lines, size_t count, double hit)
{
    if (count == 1 || hit <= lines[0].hit)
        return lines[0].us;
    size_t high = 1;
    while (high + 1 < count && lines[high].hit < hit)
        high++;
    const struct block *a = &lines[high - 1], *b = &lines[high];
    double us = a->us + (b->us - a->us) * (hit - a->hit) / (b->hit - a->hit);
    return us > lines[0].us ? us : lines[0].us; /* noise may slope downwards */
}

static enum km_status read_line(const struct km_llmservingsim *in, const struct km_table *table,
                                const uint32_t *columns, const uint32_t *ep, struct block *out,
                                struct km_error *error)
{
    double experts = in->moe->experts;
    *out = (struct block){.ranks = 1.0, .line = table->line};
    enum km_status status = ep ? km_table_number(table, *ep, 1.0, experts, &out->ranks, error) : KM_OK;
    if (status == KM_OK)
        status = km_table_size(table, columns[0], &out->tokens, error);
    if (status == KM_OK)
        status = km_table_number(table, columns[1], 1.0, experts / out->ranks, &out->hit, error);
    if (status == KM_OK)
        status = km_table_time(table, columns[2], 1.0, &out->us, error);
    if (status == KM_OK && out->tokens == 0.0)
        status = km_table_fail(table, columns[0], error, "expected at least 1");
    return status;
}

static enum km_status add_rows(struct km_llmservingsim *in, const char *path, struct block *lines,
                               size_t count, struct km_error *error)
{
    const struct km_layer *moe = in->moe;
    if (count > 0)
        qsort(lines, count, sizeof *lines, by_shape);
    for (size_t i = 1; i < count; i++)
        if (by_shape(&lines[i - 1], &lines[i]) == 0) {
            uint32_t a = lines[i - 1].line, b = lines[i].line;
            return km_fail(error, KM_BAD_INPUT, path, (int)(a > b ? a : b), 0, "the same shape as line %u",
                           a < b ? a : b);
        }
    for (size_t first = 0, end; first < count; first = end) {
        const struct block *one = &lines[first];
        for (end = first + 1;
             end < count && lines[end].ranks == one->ranks && lines[end].tokens == one->tokens;)
            end++;
        double hit = km_experts_hit(moe->experts, moe->experts_per_token, one->tokens) / one->ranks;
        struct km_profile_row row = {.dims = {[KM_MOE_WEIGHTS] = in->dtype,
                                              [KM_MOE_ACTIVATIONS] = in->dtype,
                                              [KM_MOE_EXPERTS] = moe->experts,
                                              [KM_MOE_TOP_K] = moe->experts_per_token,
                                              [KM_MOE_RANKS] = one->ranks,
                                              [KM_MOE_HIDDEN] = in->hidden,
                                              [KM_MOE_WIDTH] = moe->expert_intermediate,
                                              [KM_MOE_ROUTING] = KM_ROUTING_UNIFORM,
                                              [KM_MOE_M] = one->tokens},
                                     .us = time_at(one, end - first, hit),
                                     .origin = path,
                                     .line = one->line};
        km_profile_add(in->profile, KM_PROFILE_MOE, &row);
    }
    return KM_OK;
}

enum km_status km_llmservingsim_moe(struct km_llmservingsim *in, struct km_error *error)
{
    static const char *const names[] = {"tokens", "activated_experts", "time_us"};
    const char *path = km_llmservingsim_path(in, "moe.csv");
    struct km_table table;
    struct block *lines = NULL;
    size_t count = 0, capacity = 0;
    uint32_t columns[3], ep;
    if (!km_file_exists(path))
        return KM_OK;
    if (!in->moe)
        return km_fail(error, KM_BAD_INPUT, path, 0, 0, "%s has no experts", in->config->model->name);
    enum km_status status = km_table_open(path, true, &table, error);
    if (status != KM_OK)
        return status;
    status = km_llmservingsim_columns(&table, names, 3, columns, error);
    const bool has_ep = status == KM_OK && km_table_find(&table, "ep", &ep);
    for (bool more = true; status == KM_OK;) {
        struct block one;
        status = km_table_next(&table, &more, error);
        if (status != KM_OK || !more)
            break;
        status = read_line(in, &table, columns, has_ep ? &ep : NULL, &one, error);
        if (status != KM_OK)
            break;
        lines = km_grow(lines, &capacity, count + 1, sizeof *lines);
        lines[count++] = one;
    }
    if (status == KM_OK)
        status = add_rows(in, path, lines, count, error);
    if (status == KM_OK && count > 0) {
        km_llmservingsim_scalar(in->profile, "moe_includes_router", 1.0);
        if (in->moe->shared_intermediate > 0)
            km_llmservingsim_scalar(in->profile, "moe_includes_shared", 1.0);
    }
    free(lines);
    km_table_close(&table);
    return status;
}
