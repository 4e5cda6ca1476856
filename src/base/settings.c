#include "base/settings.h"

#include "base/suggest.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_NUMBER 64

const double km_scales_mega[] = {1e6, 1e3, 1e9, 0};
const double km_scales_giga[] = {1e9, 1e12, 1e6, 0};
const double km_scales_tera[] = {1e12, 1e9, 1e15, 0};
const double km_scales_micro[] = {1e-6, 1e-3, 1e-9, 0};

static enum km_status fail_expected(const struct km_yaml *value, const char *expected, const char *more,
                                    struct km_error *error)
{
    char got[96];
    km_yaml_describe(value, got, sizeof got);
    return km_yaml_fail(value, error, "expected %s, got %s%s", expected, got, more);
}

/* Copy decimal digits with single "_" between them, without the "_". Returns how many were copied; *text
 * moves on. */
static size_t take_digits(const char **text, char *out, size_t room)
{
    size_t count = 0;
    const char *c = *text;
    for (;; c++) {
        if (*c == '_' && count > 0 && c[-1] != '_' && c[1] >= '0' && c[1] <= '9')
            continue;
        if (*c < '0' || *c > '9' || count >= room)
            break;
        out[count++] = *c;
    }
    *text = c;
    return count;
}

/* What 64 bits do not hold becomes the largest that they do, and *beyond. */
static bool parse_u64(const char *text, uint64_t *out, bool *beyond)
{
    char digits[LONGEST_NUMBER];
    size_t count = take_digits(&text, digits, sizeof digits);
    if (*text || count == 0 || (count > 1 && digits[0] == '0'))
        return false;
    uint64_t value = 0;
    *beyond = false;
    for (size_t i = 0; i < count; i++) {
        uint64_t digit = (uint64_t)(digits[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            *out = UINT64_MAX;
            *beyond = true;
            return true;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static bool parse_number(const char *text, double *out)
{
    char clean[3 * LONGEST_NUMBER + 8], *to = clean;
    if (*text == '-' || *text == '+')
        *to++ = *text++;
    size_t digits = take_digits(&text, to, LONGEST_NUMBER);
    to += digits;
    if (*text == '.') {
        *to++ = *text++;
        size_t fraction = take_digits(&text, to, LONGEST_NUMBER);
        to += fraction;
        digits += fraction;
    }
    if (digits == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        *to++ = *text++;
        if (*text == '-' || *text == '+')
            *to++ = *text++;
        size_t exponent = take_digits(&text, to, LONGEST_NUMBER);
        to += exponent;
        if (exponent == 0)
            return false;
    }
    *to = '\0';
    if (*text)
        return false;
    *out = strtod(clean, NULL);
    return isfinite(*out);
}

static bool in_range(const struct km_range *range, double value)
{
    if (range->or_zero && !(fabs(value) > 0))
        return true;
    if (range->has_min && (range->open_min ? value <= range->min : value < range->min))
        return false;
    return !(range->has_max && (range->open_max ? value >= range->max : value > range->max));
}

/* "; did you mean 450e9?" where a unit seems to have been left out. Appends. */
static void hint_unit(const struct km_yaml *value, const struct km_range *range, struct km_text *out)
{
    double number;
    if (!range->scales || value->kind != KM_YAML_SCALAR || value->quoted ||
        !parse_number(value->text, &number))
        return;
    for (const double *scale = range->scales; *scale > 0; scale++) {
        if (!in_range(range, number * *scale) || !(fabs(number) > 0))
            continue;
        if (strspn(value->text, "0123456789.") == strlen(value->text))
            km_text_printf(out, "; did you mean %se%d?", value->text, (int)lround(log10(*scale)));
        else
            km_text_printf(out, "; did you mean %g?", number * *scale);
        return;
    }
}

static enum km_status fail_range(const struct km_yaml *value, enum km_setting_type type,
                                 const struct km_range *range, const char *more, struct km_error *error)
{
    struct km_setting setting = {.type = type, .range = *range};
    struct km_text expected = {0}, rest = {0};
    km_setting_describe(&setting, &expected);
    km_text_puts(&rest, more);
    hint_unit(value, range, &rest);
    enum km_status status = fail_expected(value, km_text_c(&expected), km_text_c(&rest), error);
    km_text_release(&expected);
    km_text_release(&rest);
    return status;
}

enum km_status km_settings_number(const struct km_yaml *value, const struct km_range *range, double *out,
                                  struct km_error *error)
{
    double number;
    if (value->kind != KM_YAML_SCALAR || value->quoted || !parse_number(value->text, &number) ||
        !in_range(range, number))
        return fail_range(value, KM_SETTING_NUMBER, range, "", error);
    *out = number;
    return KM_OK;
}

enum km_status km_settings_u64(const struct km_yaml *value, const struct km_range *range, uint64_t limit,
                               uint64_t *out, struct km_error *error)
{
    uint64_t number;
    bool beyond;
    if (value->kind != KM_YAML_SCALAR || value->quoted || !parse_u64(value->text, &number, &beyond) ||
        !in_range(range, (double)number))
        return fail_range(value, KM_SETTING_U64, range, "", error);
    if (beyond || number > limit)
        return fail_range(value, KM_SETTING_U64, range, " (too large)", error);
    *out = number;
    return KM_OK;
}

enum km_status km_settings_text(const struct km_yaml *value, const char *what, const char **out,
                                struct km_error *error)
{
    *out = "";
    if (value->kind != KM_YAML_SCALAR || km_yaml_is_null(value) || !value->text[0])
        return fail_expected(value, what, "", error);
    *out = value->text;
    return KM_OK;
}

enum km_status km_settings_unknown_name(const struct km_yaml *value, const char *best, const char *known,
                                        struct km_error *error)
{
    char got[96];
    km_yaml_describe(value, got, sizeof got);
    if (best)
        return km_yaml_fail(value, error, "unknown name %s; did you mean \"%s\"?", got, best);
    return km_yaml_fail(value, error, "unknown name %s; known: %s", got, known);
}

enum km_status km_settings_check_name(const struct km_yaml *value, const struct km_entry *const *registry,
                                      struct km_error *error)
{
    const char *name;
    enum km_status status = km_settings_text(value, "a name", &name, error);
    if (status != KM_OK || km_registry_find(registry, name))
        return status;
    struct km_text known = {0};
    for (const struct km_entry *const *entry = registry; *entry; entry++)
        km_text_printf(&known, "%s%s", entry == registry ? "" : ", ", (*entry)->name);
    status = km_settings_unknown_name(value, km_suggest_registry(name, registry), km_text_c(&known), error);
    km_text_release(&known);
    return status;
}

static enum km_status read_bool(const struct km_yaml *value, bool *out, struct km_error *error)
{
    bool yes = value->kind == KM_YAML_SCALAR && !value->quoted && strcmp(value->text, "true") == 0;
    bool no = value->kind == KM_YAML_SCALAR && !value->quoted && strcmp(value->text, "false") == 0;
    if (!yes && !no)
        return fail_expected(value, "true or false", "", error);
    *out = yes;
    return KM_OK;
}

static enum km_status read_enum(const struct km_yaml *value, const char *const *names, int *out,
                                struct km_error *error)
{
    const char *name;
    enum km_status status = km_settings_text(value, "a name", &name, error);
    if (status != KM_OK)
        return status;
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = i;
            return KM_OK;
        }
    }
    struct km_suggestion suggestion = {.word = name};
    struct km_text known = {0};
    for (int i = 0; names[i]; i++) {
        km_suggest_offer(&suggestion, names[i]);
        km_text_printf(&known, "%s%s", i ? ", " : "", names[i]);
    }
    status = km_settings_unknown_name(value, suggestion.best, km_text_c(&known), error);
    km_text_release(&known);
    return status;
}

static void clear(const struct km_setting *setting, void *field)
{
    switch (setting->type) {
    case KM_SETTING_U32:
        *(uint32_t *)field = 0;
        break;
    case KM_SETTING_U64:
        *(uint64_t *)field = 0;
        break;
    case KM_SETTING_NUMBER:
        *(double *)field = 0;
        break;
    case KM_SETTING_STRING:
    case KM_SETTING_CHOICE:
        *(const char **)field = NULL;
        break;
    default:
        assert(0 && "a type that has no null");
    }
}

static enum km_status read_setting(const struct km_yaml *value, const struct km_setting *setting,
                                   enum km_settings_mode mode, void *target,
                                   const struct km_settings_context *context, struct km_error *error)
{
    void *field = (char *)target + setting->offset;
    uint64_t number = 0;
    const char *text = NULL;
    enum km_status status;
    if (setting->nullable && setting->type != KM_SETTING_CUSTOM && km_yaml_is_null(value)) {
        clear(setting, field);
        return KM_OK;
    }
    switch (setting->type) {
    case KM_SETTING_BOOL:
        return read_bool(value, field, error);
    case KM_SETTING_U32:
        status = km_settings_u64(value, &setting->range, UINT32_MAX, &number, error);
        if (status == KM_OK)
            *(uint32_t *)field = (uint32_t)number;
        return status;
    case KM_SETTING_U64:
        return km_settings_u64(value, &setting->range, UINT64_MAX, field, error);
    case KM_SETTING_NUMBER:
        return km_settings_number(value, &setting->range, field, error);
    case KM_SETTING_STRING:
        status = km_settings_text(value, "text", &text, error);
        if (status == KM_OK)
            *(const char **)field = km_arena_strdup(context->arena, text);
        return status;
    case KM_SETTING_CHOICE:
        status = km_settings_check_name(value, setting->registry, error);
        if (status == KM_OK)
            *(const char **)field = km_registry_find(setting->registry, value->text)->name;
        return status;
    case KM_SETTING_ENUM:
        return read_enum(value, setting->names, field, error);
    case KM_SETTING_SECTION:
        return km_settings_read(value, setting->table, setting->partial ? KM_SETTINGS_PARTIAL : mode, field,
                                NULL, context, error);
    case KM_SETTING_CUSTOM:
        return setting->read(value, field, context, error);
    }
    return KM_OK;
}

static enum km_status fail_unknown_key(const struct km_yaml *value, const struct km_setting *table,
                                       const struct km_settings_context *context, struct km_error *error)
{
    struct km_text more = {0};
    struct km_suggestion suggestion = {.word = value->key};
    for (; table->key; table++)
        km_suggest_offer(&suggestion, table->key);
    enum km_status status;
    if (context->explain_unknown && context->explain_unknown(value->key, &more))
        status = km_yaml_fail_key(value, error, "unknown key; %s", km_text_c(&more));
    else if (suggestion.best)
        status = km_yaml_fail_key(value, error, "unknown key; did you mean \"%s\"?", suggestion.best);
    else
        status = km_yaml_fail_key(value, error, "unknown key");
    km_text_release(&more);
    return status;
}

static enum km_status refuse_unknown_keys(const struct km_yaml *mapping, const struct km_setting *table,
                                          const struct km_settings_context *context, struct km_error *error)
{
    for (size_t i = 0; i < mapping->count; i++) {
        const struct km_yaml *value = mapping->items[i];
        const struct km_setting *setting = table;
        while (setting->key && strcmp(setting->key, value->key) != 0)
            setting++;
        if (!setting->key)
            return fail_unknown_key(value, table, context, error);
    }
    return KM_OK;
}

enum km_status km_settings_read(const struct km_yaml *mapping, const struct km_setting *table,
                                enum km_settings_mode mode, void *target, uint64_t *given,
                                const struct km_settings_context *context, struct km_error *error)
{
    if (given)
        *given = 0;
    /* A section whose every line is commented out reads as null. */
    if (mapping->kind != KM_YAML_MAPPING && !(km_yaml_is_null(mapping) && mapping->parent))
        return fail_expected(mapping, "a mapping", "", error);
    enum km_status status = refuse_unknown_keys(mapping, table, context, error);
    for (size_t i = 0; status == KM_OK && table[i].key; i++) {
        const struct km_yaml *value = km_yaml_get(mapping, table[i].key);
        if (value) {
            assert(!given || i < 64);
            if (given)
                *given |= (uint64_t)1 << i;
            status = read_setting(value, &table[i], mode, target, context, error);
        } else if (mode == KM_SETTINGS_WHOLE && !table[i].optional) {
            status = km_yaml_fail_missing(mapping, table[i].key, error);
        }
    }
    return status;
}
