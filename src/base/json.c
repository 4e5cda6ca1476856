#include "base/json.h"

#include "base/file.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include "base/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct member {
    const cJSON *value;
};

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->value->string, ((const struct member *)b)->value->string);
}

/* The second of two members with one key, or NULL. Sorted, so that a hostile object costs n log n. */
static const cJSON *duplicate_key(const cJSON *object)
{
    size_t count = (size_t)cJSON_GetArraySize(object), n = 0;
    if (count < 2)
        return NULL;
    struct member *sorted = km_alloc(count * sizeof *sorted);
    const cJSON *child, *found = NULL;
    cJSON_ArrayForEach(child, object) sorted[n++].value = child;
    qsort(sorted, n, sizeof *sorted, compare_keys);
    for (size_t i = 1; i < n && !found; i++)
        if (strcmp(sorted[i - 1].value->string, sorted[i].value->string) == 0)
            found = sorted[i].value;
    free(sorted);
    return found;
}

static enum km_status check(const struct km_json *json, const cJSON *value, struct km_error *error)
{
    if (cJSON_IsNumber(value) && !isfinite(value->valuedouble))
        return km_json_fail(json, value, error, "number out of range");
    if (cJSON_IsObject(value)) {
        const cJSON *twice = duplicate_key(value);
        if (twice)
            return km_json_fail(json, twice, error, "the key appears twice");
    }
    const cJSON *child;
    cJSON_ArrayForEach(child, value)
    {
        enum km_status status = check(json, child, error);
        if (status != KM_OK)
            return status;
    }
    return KM_OK;
}

/* Takes over `text`. */
static enum km_status parse(char *text, size_t bytes, const char *path, struct km_json *out,
                            struct km_error *error)
{
    *out = (struct km_json){.text = text, .bytes = bytes, .path = km_strdup(path ? path : "")};
    size_t offset;
    int line, column;
    enum km_status status = KM_OK;
    const char *fault = km_json_scan(text, bytes, KM_JSON_DEPTH, SIZE_MAX, &offset);
    if (!fault) {
        const char *end = text;
        out->root = cJSON_ParseWithLengthOpts(text, bytes, &end, 0);
        if (!out->root) { /* what the scanner leaves to cJSON: unpaired surrogates */
            fault = "cannot be read as JSON";
            offset = (size_t)(end - text);
        }
    }
    if (fault) {
        km_json_line_column(text, offset, &line, &column);
        status = km_fail(error, KM_BAD_INPUT, out->path, line, column, "%s", fault);
    } else {
        status = check(out, out->root, error);
    }
    if (status != KM_OK)
        km_json_release(out);
    return status;
}

/* Python's words outside strings, each in as many bytes, so that positions stay. */
static void replace_words(char *text, size_t bytes)
{
    static const struct {
        const char *word, *instead;
    } words[] = {{"Infinity", "1e308   "}, {"NaN", "\"\" "}};
    bool in_string = false;
    for (size_t i = 0; i < bytes; i++) {
        if (in_string && text[i] == '\\') {
            i++;
            continue;
        }
        if (text[i] == '"')
            in_string = !in_string;
        for (size_t w = 0; !in_string && w < sizeof words / sizeof *words; w++) {
            const size_t length = strlen(words[w].word);
            if (bytes - i < length || memcmp(text + i, words[w].word, length) != 0)
                continue;
            memcpy(text + i, words[w].instead, length);
            i += length - 1;
            break;
        }
    }
}

enum km_status km_json_read_python(const char *path, struct km_json *out, struct km_error *error)
{
    char *text;
    size_t bytes;
    *out = (struct km_json){0};
    enum km_status status = km_file_read(path, KM_JSON_LIMIT_BYTES, &text, &bytes, error);
    if (status != KM_OK)
        return status;
    replace_words(text, bytes);
    return parse(text, bytes, path, out, error);
}

enum km_status km_json_read(const char *path, struct km_json *out, struct km_error *error)
{
    char *text;
    size_t bytes;
    *out = (struct km_json){0};
    enum km_status status = km_file_read(path, KM_JSON_LIMIT_BYTES, &text, &bytes, error);
    return status == KM_OK ? parse(text, bytes, path, out, error) : status;
}

enum km_status km_json_parse(const char *text, size_t bytes, const char *path, struct km_json *out,
                             struct km_error *error)
{
    *out = (struct km_json){0};
    if (bytes > KM_JSON_LIMIT_BYTES)
        return km_fail(error, KM_BAD_INPUT, path, 0, 0, "larger than %zu bytes", KM_JSON_LIMIT_BYTES);
    char *copy = km_alloc(bytes + 1);
    memcpy(copy, text, bytes);
    return parse(copy, bytes, path, out, error);
}

enum km_status km_json_parse_python(const char *text, size_t bytes, const char *path, struct km_json *out,
                                    struct km_error *error)
{
    *out = (struct km_json){0};
    if (bytes > KM_JSON_LIMIT_BYTES)
        return km_fail(error, KM_BAD_INPUT, path, 0, 0, "larger than %zu bytes", KM_JSON_LIMIT_BYTES);
    char *copy = km_alloc(bytes + 1);
    memcpy(copy, text, bytes);
    replace_words(copy, bytes);
    return parse(copy, bytes, path, out, error);
}

void km_json_release(struct km_json *json)
{
    cJSON_Delete(json->root);
    free(json->text);
    free(json->path);
    *json = (struct km_json){0};
}

const cJSON *km_json_get(const cJSON *object, const char *key)
{
    if (!cJSON_IsObject(object))
        return NULL;
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNull(value) ? NULL : value;
}

/* Walk in document order to `value`, counting values and writing the keys on the way ("a.b[2]"). */
static bool find(const cJSON *from, const cJSON *value, size_t *count, struct km_text *keys)
{
    if (from == value)
        return true;
    size_t length = keys->length;
    int index = 0;
    const cJSON *child;
    cJSON_ArrayForEach(child, from)
    {
        ++*count;
        if (cJSON_IsObject(from))
            km_text_printf(keys, "%s%s", length ? "." : "", child->string);
        else
            km_text_printf(keys, "[%d]", index++);
        if (find(child, value, count, keys))
            return true;
        keys->length = length;
    }
    return false;
}

static void locate(const struct km_json *json, const cJSON *value, int *line, int *column,
                   struct km_text *keys)
{
    size_t count = 0, offset;
    *line = *column = 0;
    km_text_puts(keys, "");
    if (!json->root || !find(json->root, value, &count, keys))
        return;
    km_json_scan(json->text, json->bytes, KM_JSON_DEPTH, count, &offset);
    km_json_line_column(json->text, offset, line, column);
}

void km_json_position(const struct km_json *json, const cJSON *value, int *line, int *column)
{
    struct km_text keys = {0};
    locate(json, value, line, column, &keys);
    km_text_release(&keys);
}

__attribute__((format(printf, 5, 0))) static enum km_status fail(const struct km_json *json,
                                                                 const cJSON *value, const char *member,
                                                                 struct km_error *error, const char *format,
                                                                 va_list args)
{
    char message[720];
    vsnprintf(message, sizeof message, format, args);
    struct km_text keys = {0};
    int line, column;
    locate(json, value, &line, &column, &keys);
    keys.bytes[keys.length] = '\0';
    if (member)
        km_text_printf(&keys, "%s%s", keys.length ? "." : "", member);
    enum km_status status = km_fail(error, KM_BAD_INPUT, json->path, line, column, "%s%s%s", km_text_c(&keys),
                                    keys.length ? ": " : "", message);
    km_text_release(&keys);
    return status;
}

enum km_status km_json_fail(const struct km_json *json, const cJSON *value, struct km_error *error,
                            const char *format, ...)
{
    va_list args;
    va_start(args, format);
    enum km_status status = fail(json, value, NULL, error, format, args);
    va_end(args);
    return status;
}

enum km_status km_json_fail_member(const struct km_json *json, const cJSON *object, const char *key,
                                   struct km_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    enum km_status status = fail(json, object, key, error, format, args);
    va_end(args);
    return status;
}

/* "got ..." in an error: the value as the user wrote it, shortened. */
static enum km_status unexpected(const struct km_json *json, const cJSON *value, struct km_error *error,
                                 const char *expected)
{
    if (cJSON_IsObject(value) || cJSON_IsArray(value))
        return km_json_fail(json, value, error, "expected %s, got %s", expected,
                            cJSON_IsArray(value) ? "an array" : "an object");
    char *written = cJSON_PrintUnformatted(value);
    if (!written)
        km_out_of_memory();
    enum km_status status = km_json_fail(json, value, error, "expected %s, got %.60s%s", expected, written,
                                         strlen(written) > 60 ? "..." : "");
    cJSON_free(written);
    return status;
}

enum km_status km_json_value_integer(const struct km_json *json, const cJSON *value, int64_t min, int64_t max,
                                     int64_t *out, struct km_error *error)
{
    double v = value->valuedouble;
    if (!cJSON_IsNumber(value) || v != floor(v) || v < (double)min || v > (double)max) {
        char expected[96];
        snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)min, (long long)max);
        return unexpected(json, value, error, expected);
    }
    *out = (int64_t)v;
    return KM_OK;
}

enum km_status km_json_value_number(const struct km_json *json, const cJSON *value, double min, double max,
                                    double *out, struct km_error *error)
{
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= min && value->valuedouble <= max)) {
        char expected[96];
        snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
        return unexpected(json, value, error, expected);
    }
    *out = value->valuedouble;
    return KM_OK;
}

/* The member, or NULL with *status saying whether its absence is an error. */
static const cJSON *member(const struct km_json *json, const cJSON *object, const char *key,
                           enum km_json_need need, enum km_status *status, struct km_error *error)
{
    const cJSON *value = km_json_get(object, key);
    *status = KM_OK;
    if (!value && need == KM_JSON_REQUIRED)
        *status = km_json_fail_member(json, object, key, error, "missing");
    return value;
}

enum km_status km_json_integer(const struct km_json *json, const cJSON *object, const char *key,
                               enum km_json_need need, int64_t min, int64_t max, int64_t *out,
                               struct km_error *error)
{
    enum km_status status;
    const cJSON *value = member(json, object, key, need, &status, error);
    return value ? km_json_value_integer(json, value, min, max, out, error) : status;
}

enum km_status km_json_u32(const struct km_json *json, const cJSON *object, const char *key,
                           enum km_json_need need, uint32_t min, uint32_t max, uint32_t *out,
                           struct km_error *error)
{
    int64_t wide = *out;
    enum km_status status = km_json_integer(json, object, key, need, min, max, &wide, error);
    *out = (uint32_t)wide;
    return status;
}

enum km_status km_json_number(const struct km_json *json, const cJSON *object, const char *key,
                              enum km_json_need need, double min, double max, double *out,
                              struct km_error *error)
{
    enum km_status status;
    const cJSON *value = member(json, object, key, need, &status, error);
    return value ? km_json_value_number(json, value, min, max, out, error) : status;
}

enum km_status km_json_bool(const struct km_json *json, const cJSON *object, const char *key,
                            enum km_json_need need, bool *out, struct km_error *error)
{
    enum km_status status;
    const cJSON *value = member(json, object, key, need, &status, error);
    if (!value)
        return status;
    if (!cJSON_IsBool(value))
        return unexpected(json, value, error, "true or false");
    *out = cJSON_IsTrue(value);
    return KM_OK;
}

enum km_status km_json_string(const struct km_json *json, const cJSON *object, const char *key,
                              enum km_json_need need, const char **out, struct km_error *error)
{
    enum km_status status;
    const cJSON *value = member(json, object, key, need, &status, error);
    if (!value)
        return status;
    if (!cJSON_IsString(value))
        return unexpected(json, value, error, "a string");
    *out = value->valuestring;
    return KM_OK;
}

enum km_status km_json_array(const struct km_json *json, const cJSON *object, const char *key,
                             enum km_json_need need, const cJSON **out, struct km_error *error)
{
    enum km_status status;
    const cJSON *value = member(json, object, key, need, &status, error);
    if (!value)
        return status;
    if (!cJSON_IsArray(value))
        return unexpected(json, value, error, "an array");
    *out = value;
    return KM_OK;
}

enum km_status km_json_object(const struct km_json *json, const cJSON *object, const char *key,
                              enum km_json_need need, const cJSON **out, struct km_error *error)
{
    enum km_status status;
    const cJSON *value = member(json, object, key, need, &status, error);
    if (!value)
        return status;
    if (!cJSON_IsObject(value))
        return unexpected(json, value, error, "an object");
    *out = value;
    return KM_OK;
}

enum km_status km_json_known_keys(const struct km_json *json, const cJSON *object, const char *const *keys,
                                  struct km_error *error)
{
    const cJSON *child;
    cJSON_ArrayForEach(child, object)
    {
        const char *const *known = keys;
        while (*known && strcmp(*known, child->string) != 0)
            known++;
        if (!*known)
            return km_json_fail(json, child, error, "unknown key");
    }
    return KM_OK;
}
