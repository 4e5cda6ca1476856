#include "calibration/import/llmservingsim.h"

#include "base/file.h"
#include "base/memory.h"
#include "cost/profile/ideal.h"

#include <math.h>
#include <stdlib.h>

#define AGREEMENT_LOG 0.2 /* measurements of one kernel on one device agree better than within 20 % */

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
static double disagreement(struct km_llmservingsim *in, const struct ragged *lines, size_t count)
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

enum km_status km_llmservingsim_skew(struct km_llmservingsim *in, struct km_text *provenance,
                                     struct km_error *error)
{
    static const char *const names[] = {"n", "pc", "kv_big", "kv_mean", "t_mean_us", "t_skew_us"};
    const char *path = km_llmservingsim_path(in, "skew.csv");
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
    status = km_llmservingsim_columns(&table, names, 6, columns, error);
    while (status == KM_OK) {
        struct km_profile_row row = {.origin = path};
        double n, chunk, longest, mean, even_us, skewed_us;
        status = km_table_next(&table, &more, error);
        if (status != KM_OK || !more)
            break;
        if (km_llmservingsim_other_layer(&table, "attention"))
            continue;
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
