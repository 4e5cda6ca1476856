#include "calibration/compact.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_TOLERANCE 0.005
#define COARSER         1.5
#define LAST_TOLERANCE  1.0

/* Keep rows between two kept ones, the worst first, until none is missed by more. */
static void keep(const struct km_profile_table *table, uint32_t dim, size_t first, size_t last,
                 double tolerance, bool *kept)
{
    double x0 = log1p(table->rows[first].dims[dim]), x1 = log1p(table->rows[last].dims[dim]);
    double y0 = table->answers[first], y1 = table->answers[last], worst = tolerance;
    size_t at = 0;
    for (size_t i = first + 1; i < last; i++) {
        double share = (log1p(table->rows[i].dims[dim]) - x0) / (x1 - x0);
        double miss = fabs(y0 + share * (y1 - y0) - table->answers[i]);
        if (miss > worst) {
            worst = miss;
            at = i;
        }
    }
    if (at == 0)
        return;
    kept[at] = true;
    keep(table, dim, first, at, tolerance, kept);
    keep(table, dim, at, last, tolerance, kept);
}

static void mark(const struct km_profile_schema *schema, const struct km_profile_table *table,
                 double tolerance, bool *kept)
{
    uint32_t last_dim = schema->dim_count - 1;
    for (size_t first = 0, last; first < table->count; first = last + 1) {
        last = first;
        while (last + 1 < table->count &&
               memcmp(table->rows[first].dims, table->rows[last + 1].dims, last_dim * sizeof(double)) == 0)
            last++;
        kept[first] = kept[last] = true;
        if (last > first + 1)
            keep(table, last_dim, first, last, tolerance, kept);
    }
}

/* The same profile with only the rows that count. Shares words and strings with the original. */
static struct km_profile thinned(const struct km_profile *profile, double tolerance)
{
    struct km_profile thin = *profile;
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++) {
        const struct km_profile_table *table = &profile->tables[class];
        thin.tables[class] = (struct km_profile_table){0};
        if (table->count == 0)
            continue;
        bool *kept = km_alloc(table->count * sizeof *kept);
        if (km_profile_schemas[class].dims[km_profile_schemas[class].dim_count - 1].kind == KM_DIM_SIZE)
            mark(&km_profile_schemas[class], table, tolerance, kept);
        else
            memset(kept, true, table->count);
        for (size_t i = 0; i < table->count; i++)
            if (kept[i]) {
                struct km_profile_row row = table->rows[i];
                row.spread_us = 0.0;
                km_profile_add(&thin, (enum km_profile_class) class, &row);
            }
        free(kept);
    }
    return thin;
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
