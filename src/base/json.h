/* JSON: a strict reader over cJSON whose errors name file, line, column and key.
 *
 * The text is first checked against RFC 8259 by our own scanner (exact position of a syntax error, no
 * trailing text, at most KM_JSON_DEPTH levels, valid UTF-8, no NUL in a string), then parsed by cJSON; an
 * object with the same key twice is refused, and so is a number beyond a double. cJSON keeps no positions:
 * when an error is to be told, the value's place in document order is counted in the tree and the text is
 * scanned again up to it, so reading costs nothing for it.
 *
 * Values are plain `const cJSON *`: walk arrays with cJSON_ArrayForEach. `null` counts as absent everywhere.
 */
#ifndef KM_BASE_JSON_H
#define KM_BASE_JSON_H

#include "base/error.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_JSON_LIMIT_BYTES ((size_t)64 << 20) /* larger files are refused */
#define KM_JSON_DEPTH       64                 /* deeper nesting is refused */

struct km_json {
    cJSON *root;  /* owned */
    char *text;   /* owned, terminated */
    size_t bytes; /* of text */
    char *path;   /* owned; "" when the text came from no file */
};

/* Read a file, or parse `bytes` of `text` (copied; `path`, which may be NULL, only names it in errors). On
 * failure nothing is left to release. */
enum km_status km_json_read(const char *path, struct km_json *out, struct km_error *error);
/* The same for files that Python wrote: Infinity, -Infinity and NaN, which JSON does not have, may stand where
 * nobody looks. Read, the first two are huge and the last is no number. */
enum km_status km_json_read_python(const char *path, struct km_json *out, struct km_error *error);
enum km_status km_json_parse_python(const char *text, size_t bytes, const char *path, struct km_json *out,
                                    struct km_error *error);
enum km_status km_json_parse(const char *text, size_t bytes, const char *path, struct km_json *out,
                             struct km_error *error);
void km_json_release(struct km_json *json);

/* The member of an object, NULL when absent, null, or when `object` is no object. Keys are case-sensitive. */
const cJSON *km_json_get(const cJSON *object, const char *key);

/* Line and column (from 1) where `value`, a node of this document, begins; 0, 0 when it is none of it. */
void km_json_position(const struct km_json *json, const cJSON *value, int *line, int *column);

/* Fill `error` with KM_BAD_INPUT at `value`: "file:line:column: a.b[2].c: message". */
enum km_status km_json_fail(const struct km_json *json, const cJSON *value, struct km_error *error,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The same for a member that is absent: the object's position, the member's name. */
enum km_status km_json_fail_member(const struct km_json *json, const cJSON *object, const char *key,
                                   struct km_error *error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

enum km_json_need {
    KM_JSON_OPTIONAL, /* an absent member leaves *out as it was: put the default there first */
    KM_JSON_REQUIRED, /* an absent member is an error */
};

/* Typed getters of a member. Nothing is converted: a number in quotes is an error, and so is 1.5 for an
 * integer. Strings are borrowed until the document is released. Integers are exact up to 2^53, the largest
 * limit allowed. */
enum km_status km_json_integer(const struct km_json *json, const cJSON *object, const char *key,
                               enum km_json_need need, int64_t min, int64_t max, int64_t *out,
                               struct km_error *error);
enum km_status km_json_u32(const struct km_json *json, const cJSON *object, const char *key,
                           enum km_json_need need, uint32_t min, uint32_t max, uint32_t *out,
                           struct km_error *error);
enum km_status km_json_number(const struct km_json *json, const cJSON *object, const char *key,
                              enum km_json_need need, double min, double max, double *out,
                              struct km_error *error);
enum km_status km_json_bool(const struct km_json *json, const cJSON *object, const char *key,
                            enum km_json_need need, bool *out, struct km_error *error);
enum km_status km_json_string(const struct km_json *json, const cJSON *object, const char *key,
                              enum km_json_need need, const char **out, struct km_error *error);
/* An absent optional array or object leaves *out as it was (usually NULL). */
enum km_status km_json_array(const struct km_json *json, const cJSON *object, const char *key,
                             enum km_json_need need, const cJSON **out, struct km_error *error);
enum km_status km_json_object(const struct km_json *json, const cJSON *object, const char *key,
                              enum km_json_need need, const cJSON **out, struct km_error *error);

/* The same checks on a value in hand (an array's element, say). */
enum km_status km_json_value_integer(const struct km_json *json, const cJSON *value, int64_t min, int64_t max,
                                     int64_t *out, struct km_error *error);
enum km_status km_json_value_number(const struct km_json *json, const cJSON *value, double min, double max,
                                    double *out, struct km_error *error);

/* Refuse a member whose key is in none of the NULL-terminated `keys` (for our own formats; not for Hugging
 * Face files, which carry many keys that do not concern us). */
enum km_status km_json_known_keys(const struct km_json *json, const cJSON *object, const char *const *keys,
                                  struct km_error *error);

#endif
