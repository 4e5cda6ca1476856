/* The other direction of base/settings.h: a struct as JSON, a table as documentation. */
#include "base/settings.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void km_settings_write_number(double value, struct km_text *out)
{
    char text[40];
    if (!isfinite(value)) { /* JSON has no such number */
        km_text_puts(out, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    km_text_puts(out, text);
}

void km_settings_write_string(const char *value, struct km_text *out)
{
    if (!value) {
        km_text_puts(out, "null");
        return;
    }
    km_text_puts(out, "\"");
    for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
        if (*c == '"' || *c == '\\')
            km_text_printf(out, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7f)
            km_text_printf(out, "\\u%04x", *c);
        else
            km_text_append(out, (const char *)c, 1);
    }
    km_text_puts(out, "\"");
}

static void write_u64(uint64_t value, bool nullable, struct km_text *out)
{
    if (value == 0 && nullable)
        km_text_puts(out, "null");
    else
        km_text_printf(out, "%llu", (unsigned long long)value);
}

static void write_value(const struct km_setting *setting, const void *field, struct km_text *out)
{
    switch (setting->type) {
    case KM_SETTING_BOOL:
        km_text_puts(out, *(const bool *)field ? "true" : "false");
        break;
    case KM_SETTING_U32:
        write_u64(*(const uint32_t *)field, setting->nullable, out);
        break;
    case KM_SETTING_U64:
        write_u64(*(const uint64_t *)field, setting->nullable, out);
        break;
    case KM_SETTING_NUMBER:
        if (setting->nullable && !(fabs(*(const double *)field) > 0))
            km_text_puts(out, "null");
        else
            km_settings_write_number(*(const double *)field, out);
        break;
    case KM_SETTING_STRING:
    case KM_SETTING_CHOICE:
        km_settings_write_string(*(const char *const *)field, out);
        break;
    case KM_SETTING_ENUM:
        km_settings_write_string(setting->names[*(const int *)field], out);
        break;
    case KM_SETTING_SECTION:
        km_settings_write_json(setting->table, field, out);
        break;
    case KM_SETTING_CUSTOM:
        setting->write(field, out);
        break;
    }
}

void km_settings_write_json(const struct km_setting *table, const void *target, struct km_text *out)
{
    const char *between = "";
    km_text_puts(out, "{");
    for (const struct km_setting *setting = table; setting->key; setting++) {
        const void *field = (const char *)target + setting->offset;
        if ((setting->type == KM_SETTING_CUSTOM && !setting->write) ||
            (setting->absent && setting->absent(field)))
            continue;
        km_text_printf(out, "%s\"%s\": ", between, setting->key);
        write_value(setting, field, out);
        between = ", ";
    }
    km_text_puts(out, "}");
}

/* A bound, large ones as people write them: 1e10. */
static void describe_bound(double value, struct km_text *out)
{
    char text[32];
    int exponent = (int)floor(log10(fabs(value) > 0 ? fabs(value) : 1));
    snprintf(text, sizeof text, "%ge%d", value / pow(10, exponent), exponent);
    if (exponent >= 7 && strtod(text, NULL) == value)
        km_text_puts(out, text);
    else
        km_settings_write_number(value, out);
}

static void describe_range(const char *kind, const struct km_range *range, struct km_text *out)
{
    km_text_puts(out, range->or_zero ? "0 or " : "");
    km_text_puts(out, kind);
    if (range->has_min && range->has_max && !range->open_min && !range->open_max) {
        km_text_puts(out, " from ");
        describe_bound(range->min, out);
        km_text_puts(out, " to ");
        describe_bound(range->max, out);
        return;
    }
    if (range->has_min) {
        km_text_puts(out, range->open_min ? " > " : " ≥ ");
        describe_bound(range->min, out);
    }
    if (range->has_max) {
        km_text_puts(out, range->has_min ? " and" : "");
        km_text_puts(out, range->open_max ? " < " : " ≤ ");
        describe_bound(range->max, out);
    }
}

void km_setting_describe(const struct km_setting *setting, struct km_text *out)
{
    struct km_range range = setting->range;
    switch (setting->type) {
    case KM_SETTING_BOOL:
        km_text_puts(out, "true or false");
        break;
    case KM_SETTING_U32:
    case KM_SETTING_U64:
        if (!range.has_min)
            range = (struct km_range){.has_min = true, .has_max = range.has_max, .max = range.max};
        describe_range("an integer", &range, out);
        break;
    case KM_SETTING_NUMBER:
        describe_range("a number", &range, out);
        break;
    case KM_SETTING_STRING:
        km_text_puts(out, "text");
        break;
    case KM_SETTING_CHOICE:
        km_text_puts(out, "one of");
        for (size_t i = 0; setting->registry[i]; i++)
            km_text_printf(out, "%s %s", i ? "," : "", setting->registry[i]->name);
        break;
    case KM_SETTING_ENUM:
        km_text_puts(out, "one of");
        for (size_t i = 0; setting->names[i]; i++)
            km_text_printf(out, "%s %s", i ? "," : "", setting->names[i]);
        break;
    case KM_SETTING_SECTION:
        km_text_puts(out, "a mapping");
        break;
    case KM_SETTING_CUSTOM:
        km_text_puts(out, "see there");
        break;
    }
}

void km_settings_list(const struct km_setting *table, const char *prefix, struct km_text *out)
{
    for (const struct km_setting *setting = table; setting->key; setting++) {
        struct km_text path = {0};
        km_text_printf(&path, "%s%s%s", prefix, prefix[0] ? "." : "", setting->key);
        if (setting->type != KM_SETTING_SECTION) {
            km_text_puts(out, km_text_c(&path));
            if (setting->type != KM_SETTING_CUSTOM) {
                km_text_puts(out, "  ");
                km_setting_describe(setting, out);
            }
            km_text_printf(out, "  %s\n", setting->doc ? setting->doc : "");
        }
        if (setting->table)
            km_settings_list(setting->table, km_text_c(&path), out);
        km_text_release(&path);
    }
}
