#include "calibration/compact.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_TOLERANCE 0.01
#define COARSER         1.15
#define LAST_TOLERANCE  1.0
#define SAMPLED_ROWS    48 /* of a value's rows, to tell how far they would be missed */

struct thinning {
    const struct km_profile_schema *schema;
    const struct km_profile_table *table;
    enum km_profile_class class;
    double tolerance;
    bool *kept; /* [table->count] */
};

/* How far the rows of one value would be missed. */
static double missed(const struct thinning *t, uint32_t level, const struct km_profile_span *low,
                     const struct km_profile_span *high, const struct km_profile_span *span)
{
    size_t step = (span->end - span->first) / SAMPLED_ROWS + 1, count = 0;
    double sum = 0.0, predicted;
    for (size_t i = span->first; i < span->end; i += step, count++) {
        if (!km_profile_predict(t->table, t->class, level, low, high, t->table->rows[i].dims, &predicted))
            return HUGE_VAL;
        sum += (predicted - t->table->answers[i]) * (predicted - t->table->answers[i]);
    }
    return sqrt(sum / (double)count);
}

/* Keep values between two kept ones, the worst missed first. */
static void keep_between(const struct thinning *t, uint32_t level, const struct km_profile_span *spans,
                         size_t first, size_t last, bool *kept)
{
    double worst = t->tolerance;
    size_t at = 0;
    for (size_t i = first + 1; i < last; i++) {
        double miss = missed(t, level, &spans[first], &spans[last], &spans[i]);
        if (miss > worst) {
            worst = miss;
            at = i;
        }
    }
    if (at == 0)
        return;
    kept[at] = true;
    keep_between(t, level, spans, first, at, kept);
    keep_between(t, level, spans, at, last, kept);
}

/* Thin rows [first, end), which agree in all dims before `level`. */
static void thin(const struct thinning *t, size_t first, size_t end, uint32_t level)
{
    if (level == t->schema->dim_count) {
        t->kept[first] = true;
        return;
    }
    size_t count = 0;
    struct km_profile_span *spans = km_alloc((end - first) * sizeof *spans);
    for (size_t i = first; i < end; count++) {
        spans[count].first = i;
        while (i < end && t->table->rows[i].dims[level] == t->table->rows[spans[count].first].dims[level])
            i++;
        spans[count].end = i;
    }
    bool *kept = km_alloc(count * sizeof *kept), whole = t->schema->dims[level].kind != KM_DIM_SIZE;
    memset(kept, whole, count);
    kept[0] = kept[count - 1] = true;
    if (!whole)
        keep_between(t, level, spans, 0, count - 1, kept);
    for (size_t i = 0; i < count; i++)
        if (kept[i])
            thin(t, spans[i].first, spans[i].end, level + 1);
    free(kept);
    free(spans);
}

/* The same profile with only the rows that count. Shares words and strings with the original. */
static struct km_profile thinned(const struct km_profile *profile, double tolerance)
{
    struct km_profile out = *profile;
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++) {
        const struct km_profile_table *table = &profile->tables[class];
        out.tables[class] = (struct km_profile_table){0};
        if (table->count == 0)
            continue;
        bool *kept = km_alloc(table->count * sizeof *kept);
        const struct thinning t = {&km_profile_schemas[class], table, (enum km_profile_class) class,
                                   tolerance, kept};
        thin(&t, 0, table->count, 0);
        for (size_t i = 0; i < table->count; i++)
            if (kept[i]) {
                struct km_profile_row row = table->rows[i];
                row.spread_us = 0.0;
                km_profile_add(&out, (enum km_profile_class) class, &row);
            }
        free(kept);
    }
    return out;
}

static void free_tables(struct km_profile *profile)
{
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++) {
        free(profile->tables[class].rows);
        free(profile->tables[class].answers);
        profile->tables[class] = (struct km_profile_table){0};
    }
}

static size_t written_bytes(const struct km_profile *profile)
{
    struct km_text text = {0};
    struct km_profile plain = *profile;
    plain.provenance = "{}";
    km_profile_write(&plain, &text);
    size_t bytes = text.length;
    km_text_release(&text);
    return bytes;
}

double km_compact(struct km_profile *profile, const struct km_device *device, size_t limit_bytes)
{
    if (written_bytes(profile) <= limit_bytes)
        return 0.0;
    km_profile_bind(profile, device);
    for (double tolerance = FIRST_TOLERANCE;; tolerance *= COARSER) {
        struct km_profile thin = thinned(profile, tolerance);
        if (tolerance >= LAST_TOLERANCE || written_bytes(&thin) <= limit_bytes) {
            free_tables(profile);
            memcpy(profile->tables, thin.tables, sizeof profile->tables);
            return tolerance;
        }
        free_tables(&thin);
    }
}
