/* YAML with positions: a file (or a text in memory) as a tree of nodes that know where they stand.
 *
 * The part of YAML a configuration needs: one document of mappings, sequences and scalars. Anchors, aliases,
 * tags and further documents are refused, nesting and size are limited, keys are plain scalars and appear
 * once. JSON is YAML too. Types are not guessed here: a scalar is its text, and the reader of a setting knows
 * what it wants (base/settings.h).
 *
 * Every node carries its own file name, so that trees of several origins can be merged (km_yaml_override) and
 * each error still names the right place. */
#ifndef KM_BASE_YAML_H
#define KM_BASE_YAML_H

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

#define KM_YAML_LIMIT_BYTES ((size_t)1 << 20) /* of a file */
#define KM_YAML_LIMIT_DEPTH 32
#define KM_YAML_LIMIT_KEYS  1024 /* of one mapping: keys are compared pairwise */

enum km_yaml_kind { KM_YAML_SCALAR, KM_YAML_SEQUENCE, KM_YAML_MAPPING };

struct km_yaml {
    enum km_yaml_kind kind;
    bool quoted;      /* scalar: written in quotes or as a block, hence text even if it looks like a number */
    const char *text; /* scalar: terminated, without NUL inside */
    struct km_yaml **items; /* [count] of a sequence or mapping, in the order of the file */
    size_t count;

    const char *file; /* where it begins; line and column from 1, 0 = unknown */
    int line, column;

    struct km_yaml *parent; /* NULL at the root */
    const char *key;        /* in a mapping: its key and where that stands (in `key_file`) */
    const char *key_file;
    int key_line, key_column;
    size_t index; /* in a sequence: from 0 */
};

/* Read a whole file. The tree lives in `arena`; an empty document is a plain scalar "". */
enum km_status km_yaml_read(const char *path, struct km_arena *arena, struct km_yaml **out,
                            struct km_error *error);
/* The same from memory, under `name` in messages. Without `positions` every line and column is 0 (a flag's
 * value). */
enum km_status km_yaml_parse(const char *text, size_t bytes, const char *name, bool positions,
                             struct km_arena *arena, struct km_yaml **out, struct km_error *error);

/* Put `value` at the dotted path `key` below the mapping `root`, making mappings on the way and replacing
 * what was there. A part that starts with a digit belongs to the part before it ("slo.ttft_p99.9_s"). `label`
 * ("--set a.b=c") is the file name of everything new. */
enum km_status km_yaml_override(struct km_yaml *root, const char *key, const char *value, const char *label,
                                struct km_arena *arena, struct km_error *error);

/* Put `value` under `key` as it stands, dots and all, into a mapping. */
enum km_status km_yaml_set(struct km_yaml *mapping, const char *key, const char *value, const char *label,
                           struct km_arena *arena, struct km_error *error);

/* The value of `key`; NULL when absent or when `mapping` is NULL or no mapping. */
struct km_yaml *km_yaml_get(const struct km_yaml *mapping, const char *key);
bool km_yaml_is_null(const struct km_yaml *node); /* plain and empty, ~ or null */

/* The value as YAML on one line ("[1, 2]", "{from: 1, to: 4}", "8192"), which reads back as the same tree.
 * Appends. */
void km_yaml_write(const struct km_yaml *node, struct km_text *out);

/* Dotted path from the root: "engine.batching.policy", "values[3]"; "" at the root. Cut with "..." if it does
 * not fit. */
void km_yaml_path(const struct km_yaml *node, char *out, size_t size);
/* What stands there, for messages: `"8k"`, `a mapping`, `a list`, `nothing`; long text is cut. */
void km_yaml_describe(const struct km_yaml *node, char *out, size_t size);

/* km_fail() with KM_BAD_INPUT at the node (or at its key), the message led by its path. */
enum km_status km_yaml_fail(const struct km_yaml *node, struct km_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
enum km_status km_yaml_fail_key(const struct km_yaml *node, struct km_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* `mapping` lacks `key`: "engine.key: missing", at the mapping. */
enum km_status km_yaml_fail_missing(const struct km_yaml *mapping, const char *key, struct km_error *error);

#endif
