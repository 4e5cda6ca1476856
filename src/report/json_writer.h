/* Writes JSON text: members of the outermost object a line each, everything inside them on that line.
 *
 * Numbers are the shortest decimals that read back as the same double; what is not finite becomes null.
 * Strings are escaped by RFC 8259 (bytes above 0x7f pass through: the inputs were checked to be UTF-8). A key
 * is NULL inside an array. */
#ifndef KM_REPORT_JSON_WRITER_H
#define KM_REPORT_JSON_WRITER_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct km_json_writer {
    struct km_text *out; /* borrowed; appended to */
    unsigned depth;
    bool filled; /* something stands before in the innermost object or array */
};

void km_json_put_open(struct km_json_writer *writer, const char *key, char bracket);        /* '{' or '[' */
void km_json_put_close(struct km_json_writer *writer, char bracket);                        /* '}' or ']' */
void km_json_put_string(struct km_json_writer *writer, const char *key, const char *value); /* NULL: null */
void km_json_put_number(struct km_json_writer *writer, const char *key, double value);
void km_json_put_count(struct km_json_writer *writer, const char *key, uint64_t value);
void km_json_put_bool(struct km_json_writer *writer, const char *key, bool value);
void km_json_put_null(struct km_json_writer *writer, const char *key);
/* `json` is a JSON value already. */
void km_json_put_raw(struct km_json_writer *writer, const char *key, const char *json);

#endif
