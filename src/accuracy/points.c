/* Reader of configs/accuracy/points.csv. */
#include "accuracy/accuracy.h"
#include "base/table.h"

#include <math.h>
#include <string.h>

enum { CONFIG, PROFILE, MEASURED, PREDICTED, LEFT_OUT, SOURCE, COLUMNS };
static const char *const columns[COLUMNS] = {
    [CONFIG] = "config",       [PROFILE] = "profile",   [MEASURED] = "measured",
    [PREDICTED] = "predicted", [LEFT_OUT] = "left_out", [SOURCE] = "source",
};

struct reading {
    struct km_table table;
    uint32_t dims[KM_ACCURACY_DIMS], others[COLUMNS];
    size_t capacity;
    struct km_accuracy *out;
};

static enum km_status find_columns(struct reading *reading, struct km_error *error)
{
    enum km_status status = KM_OK;
    for (int i = 0; status == KM_OK && i < KM_ACCURACY_DIMS; i++)
        status = km_table_column(&reading->table, km_accuracy_dim_name((enum km_accuracy_dim)i),
                                 &reading->dims[i], error);
    for (int i = 0; status == KM_OK && i < COLUMNS; i++)
        status = km_table_column(&reading->table, columns[i], &reading->others[i], error);
    return status;
}

static const char *text(struct reading *reading, uint32_t column)
{
    return km_arena_strdup(&reading->out->arena, reading->table.cells[column]);
}

static enum km_status read_ratio(const struct reading *reading, struct km_accuracy_point *point,
                                 struct km_error *error)
{
    const struct km_table *table = &reading->table;
    const uint32_t predicted = reading->others[PREDICTED];
    enum km_status status =
        km_table_number(table, reading->others[MEASURED], 1e-12, 1e12, &point->measured, error);
    if (status != KM_OK)
        return status;
    if (table->cells[predicted][0])
        return km_table_number(table, predicted, 1e-12, 1e12, &point->predicted, error);
    point->predicted = (double)NAN;
    return point->left_out[0]
               ? KM_OK
               : km_table_fail(table, predicted, error, "neither a prediction nor a reason in left_out");
}

static bool is_metric(const char *name)
{
    const char *const *metric = km_accuracy_metrics;
    while (*metric && strcmp(*metric, name) != 0)
        metric++;
    return *metric;
}

static enum km_status read_point(struct reading *reading, struct km_error *error)
{
    struct km_accuracy_point point = {
        .config = text(reading, reading->others[CONFIG]),
        .profile = text(reading, reading->others[PROFILE]),
        .source = text(reading, reading->others[SOURCE]),
        .left_out = text(reading, reading->others[LEFT_OUT]),
    };
    for (int i = 0; i < KM_ACCURACY_DIMS; i++) {
        point.key.of[i] = text(reading, reading->dims[i]);
        if (!point.key.of[i][0])
            return km_table_fail(&reading->table, reading->dims[i], error, "no %s",
                                 km_accuracy_dim_name((enum km_accuracy_dim)i));
    }
    if (!is_metric(point.key.of[KM_ACCURACY_METRIC]))
        return km_table_fail(&reading->table, reading->dims[KM_ACCURACY_METRIC], error,
                             "unknown metric \"%.60s\"", point.key.of[KM_ACCURACY_METRIC]);
    enum km_status status = read_ratio(reading, &point, error);
    if (status != KM_OK)
        return status;
    struct km_accuracy *out = reading->out;
    if (out->count == reading->capacity) { /* in the arena: the few copies that doubling leaves are let be */
        const size_t capacity = reading->capacity ? 2 * reading->capacity : 256;
        struct km_accuracy_point *points = km_arena_alloc(&out->arena, capacity * sizeof *points);
        if (out->count > 0)
            memcpy(points, out->points, out->count * sizeof *points);
        out->points = points;
        reading->capacity = capacity;
    }
    out->points[out->count++] = point;
    return KM_OK;
}

enum km_status km_accuracy_read(const char *path, struct km_accuracy *out, struct km_error *error)
{
    struct reading reading = {.out = out};
    *out = (struct km_accuracy){0};
    enum km_status status = km_table_open(path, true, &reading.table, error);
    if (status != KM_OK)
        return status;
    status = find_columns(&reading, error);
    for (bool more = true; status == KM_OK;) {
        status = km_table_next(&reading.table, &more, error);
        if (!more)
            break;
        if (status == KM_OK)
            status = read_point(&reading, error);
    }
    km_table_close(&reading.table);
    if (status != KM_OK)
        km_accuracy_release(out);
    return status;
}

void km_accuracy_release(struct km_accuracy *accuracy)
{
    km_arena_release(&accuracy->arena);
    *accuracy = (struct km_accuracy){0};
}
