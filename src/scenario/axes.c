#include "scenario/axes.h"

#include "base/settings.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

struct range {
    double from, to;
    uint32_t points;
    int spacing; /* enum spacing */
};

enum spacing { LINEAR, LOG };
static const char *const spacings[] = {"linear", "log", NULL};

static const struct km_setting range_settings[] = {
    {"from", KM_SETTING_NUMBER, offsetof(struct range, from), .doc = "first value"},
    {"to", KM_SETTING_NUMBER, offsetof(struct range, to), .doc = "last value"},
    {"points", KM_SETTING_U32, offsetof(struct range, points), KM_BETWEEN(1, 100000),
     .doc = "values, both ends included"},
    {"spacing", KM_SETTING_ENUM, offsetof(struct range, spacing), .names = spacings, .optional = true,
     .doc = "equal differences or equal ratios"},
    {0},
};

static const char *node_text(const struct km_yaml *node, struct km_arena *arena)
{
    struct km_text text = {0};
    km_yaml_write(node, &text);
    const char *copy = km_arena_strdup(arena, km_text_c(&text));
    km_text_release(&text);
    return copy;
}

static double range_value(const struct range *range, uint32_t i)
{
    if (i == 0 || range->points == 1)
        return range->from;
    if (i == range->points - 1)
        return range->to;
    double share = (double)i / (range->points - 1);
    if (range->spacing == LOG)
        return range->from * pow(range->to / range->from, share);
    return range->from + (range->to - range->from) * share;
}

/* Integer settings take no fraction: a linear range between whole numbers may hit others only by rounding
 * errors. */
static void write_range_value(double value, struct km_text *out)
{
    double whole = nearbyint(value);
    km_settings_write_number(fabs(value - whole) < 1e-9 * fmax(1.0, fabs(value)) ? whole : value, out);
}

static enum km_status read_range(const struct km_yaml *node, struct km_arena *arena, struct km_axis *axis,
                                 struct km_error *error)
{
    struct range range = {0};
    const struct km_settings_context context = {.arena = arena, .folder = ""};
    enum km_status status =
        km_settings_read(node, range_settings, KM_SETTINGS_WHOLE, &range, NULL, &context, error);
    if (status != KM_OK)
        return status;
    if (range.spacing == LOG && (range.from <= 0.0 || range.to <= 0.0))
        return km_yaml_fail(node, error, "logarithmic spacing needs from and to above 0");
    if (!isfinite(range.to - range.from) || (range.spacing == LOG && !isfinite(range.to / range.from)))
        return km_yaml_fail(node, error, "from and to are too far apart");
    const char **values = km_arena_alloc(arena, range.points * sizeof *values);
    for (uint32_t i = 0; i < range.points; i++) {
        struct km_text text = {0};
        write_range_value(range_value(&range, i), &text);
        values[i] = km_arena_strdup(arena, km_text_c(&text));
        km_text_release(&text);
        if (i && strcmp(values[i], values[i - 1]) == 0)
            return km_yaml_fail(node, error, "%s is there twice", values[i]);
    }
    axis->values = values;
    axis->count = range.points;
    return KM_OK;
}

static enum km_status read_list(const struct km_yaml *node, struct km_arena *arena, struct km_axis *axis,
                                struct km_error *error)
{
    if (node->count == 0)
        return km_yaml_fail(node, error, "expected at least one value");
    const char **values = km_arena_alloc(arena, node->count * sizeof *values);
    for (size_t i = 0; i < node->count; i++) {
        values[i] = node_text(node->items[i], arena);
        for (size_t j = 0; j < i; j++)
            if (strcmp(values[i], values[j]) == 0)
                return km_yaml_fail(node->items[i], error, "%s is there twice", values[i]);
    }
    axis->values = values;
    axis->count = (uint32_t)node->count;
    return KM_OK;
}

static enum km_status read_axis(const struct km_yaml *node, struct km_arena *arena, struct km_axis *axis,
                                struct km_error *error)
{
    *axis = (struct km_axis){.key = node->key, .at = node};
    if (node->kind == KM_YAML_SEQUENCE)
        return read_list(node, arena, axis, error);
    if (km_yaml_get(node, "from") || km_yaml_get(node, "points"))
        return read_range(node, arena, axis, error);
    const char **value = km_arena_alloc(arena, sizeof *value);
    *value = node_text(node, arena);
    axis->values = value;
    axis->count = 1;
    return KM_OK;
}

static bool is_reserved(const char *key, const char *const *reserved)
{
    for (; reserved && *reserved; reserved++)
        if (strcmp(key, *reserved) == 0)
            return true;
    return false;
}

enum km_status km_axes_read(const struct km_yaml *section, const char *const *reserved,
                            struct km_arena *arena, struct km_axes *out, struct km_error *error)
{
    *out = (struct km_axes){.points = 1};
    if (section->kind != KM_YAML_MAPPING)
        return km_yaml_fail(section, error, "expected a mapping such as {cluster.replicas: [1, 2, 4]}");
    struct km_axis *axes = km_arena_alloc(arena, (section->count + 1) * sizeof *axes);
    out->axes = axes;
    for (size_t i = 0; i < section->count; i++) {
        const struct km_yaml *node = section->items[i];
        if (is_reserved(node->key, reserved))
            continue;
        enum km_status status = read_axis(node, arena, &axes[out->count], error);
        if (status != KM_OK)
            return status;
        out->points *= axes[out->count++].count;
        if (out->points > KM_AXES_LIMIT_POINTS)
            return km_yaml_fail(section, error, "spans more than %u points", KM_AXES_LIMIT_POINTS);
    }
    return KM_OK;
}

void km_axes_point(const struct km_axes *axes, uint64_t point, struct km_override *out)
{
    for (uint32_t i = axes->count; i-- > 0;) {
        const struct km_axis *axis = &axes->axes[i];
        out[i] = (struct km_override){axis->key, axis->values[point % axis->count]};
        point /= axis->count;
    }
}
