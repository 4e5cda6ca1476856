#include "calibration/check.h"

#include "calibration/import/import.h"
#include "cost/profile/ideal.h"

#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

/* Rows of one class and format, one after another in the table. */
struct group {
    enum km_profile_class class;
    enum km_dtype format;
    const struct km_profile_row *rows;
    size_t count;
};

static bool format_dim(enum km_profile_class class, uint32_t *out)
{
    const struct km_profile_schema *schema = &km_profile_schemas[class];
    for (*out = 0; *out < schema->dim_count; ++*out)
        if (schema->dims[*out].kind == KM_DIM_DTYPE)
            return true;
    return false;
}

/* The share of the sorted values' range: linear between the two nearest. */
static double quantile(const double *sorted, size_t count, double q)
{
    return gsl_stats_quantile_from_sorted_data(sorted, 1, count, q);
}

static void summarise(double *errors, size_t count, struct km_check_line *line)
{
    line->shapes = count;
    gsl_sort(errors, 1, count);
    line->bias = quantile(errors, count, 0.5);
    for (size_t i = 0; i < count; i++)
        errors[i] = fabs(errors[i]);
    gsl_sort(errors, 1, count);
    line->median = quantile(errors, count, 0.5);
    line->p90 = quantile(errors, count, 0.9);
    line->p95 = quantile(errors, count, 0.95);
    line->worst = errors[count - 1];
}

static enum km_status check_group(const struct km_profile *profile, const struct km_device *device,
                                  const struct group *group, double *errors, struct km_check *out,
                                  struct km_error *error)
{
    size_t unanswered = 0;
    if (out->count + 2 > KM_CHECK_LINES)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "a check of more than %d classes and formats",
                       KM_CHECK_LINES / 2);
    for (int again = 0; again < 2; again++) {
        struct km_check_line line = {.class = group->class, .format = group->format, .again = again};
        size_t count = 0;
        unanswered = 0;
        for (size_t i = 0; i < group->count; i++) {
            const struct km_profile_row *row = &group->rows[i];
            struct km_profile_answer answer;
            double ideal_s = km_profile_ideal_s(device, group->class, row->dims);
            if (ideal_s <= 0.0 || !km_profile_lookup(profile, group->class, row->dims, &answer)) {
                unanswered++;
                continue;
            }
            if (answer.exact != (bool)again)
                continue;
            line.beyond += answer.outside;
            errors[count++] = ideal_s / answer.value / (row->us * 1e-6) - 1.0;
        }
        if (count == 0)
            continue;
        summarise(errors, count, &line);
        out->lines[out->count++] = line;
    }
    out->unanswered += unanswered;
    return KM_OK;
}

static enum km_status check_rows(const struct km_profile *profile, const struct km_device *device,
                                 const struct km_profile *measured, struct km_check *out,
                                 struct km_error *error)
{
    enum km_status status = KM_OK;
    for (int c = 0; c < KM_PROFILE_CLASSES && status == KM_OK; c++) {
        const struct km_profile_table *table = &measured->tables[c];
        enum km_profile_class class = (enum km_profile_class)c;
        uint32_t dim;
        if (km_profile_schemas[c].value || table->count == 0)
            continue;
        bool has_format = format_dim(class, &dim);
        double *errors = km_alloc(table->count * sizeof *errors);
        bool *done = km_alloc(table->count * sizeof *done);
        struct km_profile_row *rows = km_alloc(table->count * sizeof *rows);
        for (size_t i = 0; i < table->count && status == KM_OK; i++) {
            if (done[i])
                continue;
            struct group group = {class, KM_DTYPE_COUNT, rows, 0};
            if (has_format)
                group.format = (enum km_dtype)table->rows[i].dims[dim];
            for (size_t j = i; j < table->count; j++)
                if (!has_format || table->rows[j].dims[dim] == table->rows[i].dims[dim]) {
                    rows[group.count++] = table->rows[j];
                    done[j] = true;
                }
            status = check_group(profile, device, &group, errors, out, error);
        }
        free(errors);
        free(done);
        free(rows);
    }
    return status;
}

enum km_status km_check_profile(const struct km_profile *profile, const struct km_device *device,
                                const char *csv, struct km_check *out, struct km_error *error)
{
    struct km_profile measured = {.path = csv, .device = device->name};
    struct km_text provenance = {0};
    struct km_profile_twins twins;
    *out = (struct km_check){0};
    enum km_status status = km_import_plain(csv, &measured, &provenance, error);
    if (status == KM_OK && !km_profile_finish(&measured, &twins))
        status = km_fail(error, KM_BAD_INPUT, csv, (int)twins.second.line, 0, "%s: the same dims as line %u",
                         km_profile_schemas[twins.class].name, twins.first.line);
    if (status == KM_OK)
        status = check_rows(profile, device, &measured, out, error);
    if (status == KM_OK && out->count + out->unanswered == 0)
        status = km_fail(error, KM_BAD_INPUT, csv, 0, 0, "there are no times of operators in it");
    km_text_release(&provenance);
    km_profile_release(&measured);
    return status;
}
