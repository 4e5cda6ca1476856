/* Settings: a section of a configuration file declared as a table, read into a struct and written back by the
 * same table.
 *
 * A table is an array of `struct km_setting` ended by one without a key. Each entry says the key, what it may
 * hold, where it goes in the target struct, and one line of documentation. Reading starts from whatever the
 * struct holds (its defaults), refuses unknown keys, wrong types and values out of range with one error that
 * names the place and the dotted path, and reports a required key that is missing. Entries are read in the
 * order of the table, whatever the order of the file.
 *
 * Integers are decimal digits, "_" allowed between digits (8_192). Numbers add a fraction and an exponent
 * (4.8e12); infinities and NaN are refused. Booleans are true and false. Text in quotes is never a number. */
#ifndef KM_BASE_SETTINGS_H
#define KM_BASE_SETTINGS_H

#include "base/error.h"
#include "base/memory.h"
#include "base/registry.h"
#include "base/text.h"
#include "base/yaml.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum km_setting_type {
    KM_SETTING_BOOL,    /* bool */
    KM_SETTING_U32,     /* uint32_t */
    KM_SETTING_U64,     /* uint64_t */
    KM_SETTING_NUMBER,  /* double */
    KM_SETTING_STRING,  /* const char *, in the context's arena; never empty */
    KM_SETTING_CHOICE,  /* const char *: name of an entry of `registry` (the registry's own string) */
    KM_SETTING_ENUM,    /* an enum (of int's size): position in `names` */
    KM_SETTING_SECTION, /* a mapping read by `table` into the struct at `offset` */
    KM_SETTING_CUSTOM,  /* read() and write() do it */
};

/* Bounds of a number; use the macros below. */
struct km_range {
    double min, max;
    bool has_min, has_max;
    bool open_min, open_max; /* the bound itself is outside */
    bool or_zero;            /* 0 is allowed besides */
    const double *scales; /* factors that a value out of range may lack ("did you mean 450e9?"), the likeliest
                             first, ended by 0; NULL = none */
};
#define KM_AT_LEAST(a)   .range = {.min = (a), .has_min = true}
#define KM_ABOVE(a)      .range = {.min = (a), .has_min = true, .open_min = true}
#define KM_BETWEEN(a, b) .range = {.min = (a), .max = (b), .has_min = true, .has_max = true}
/* What physics or the trade allows, and the units that a slip may have left out. */
#define KM_LIMITS(a, b, units)                                                                               \
    .range = {.min = (a), .max = (b), .has_min = true, .has_max = true, .scales = (units)}
#define KM_ZERO_OR(a, b, units)                                                                              \
    .range = {.min = (a), .max = (b), .has_min = true, .has_max = true, .or_zero = true, .scales = (units)}
#define KM_ABOVE_UP_TO(a, b)                                                                                 \
    .range = {.min = (a), .max = (b), .has_min = true, .has_max = true, .open_min = true}

extern const double km_scales_mega[];  /* bytes of caches: mega, kilo, giga */
extern const double km_scales_giga[];  /* bytes, bytes/s: giga, tera, mega */
extern const double km_scales_tera[];  /* FLOP/s: tera, giga, peta */
extern const double km_scales_micro[]; /* seconds: micro, milli, nano */

struct km_settings_context {
    struct km_arena *arena; /* strings and arrays read live here */
    const char *folder;     /* of the file read: where its relative paths start; "" = the current one */
    /* What else an unknown key may be: appends a sentence for the message and returns true, or returns false.
     * NULL = nothing. */
    bool (*explain_unknown)(const char *key, struct km_text *out);
};

struct km_setting {
    const char *key; /* NULL ends the table */
    enum km_setting_type type;
    size_t offset;
    struct km_range range;                  /* U32, U64, NUMBER; integers are >= 0 anyway */
    bool optional;                          /* may be absent; the struct's value stays */
    bool nullable;                          /* null reads as 0 or NULL, and 0 or NULL is written as null */
    bool partial;                           /* SECTION: no key in it is required (it overrides defaults) */
    const char *doc;                        /* one line: meaning; the unit is in the key */
    const struct km_entry *const *registry; /* CHOICE */
    const char *const *names;               /* ENUM: NULL-terminated */
    const struct km_setting *table;         /* SECTION; CUSTOM: keys of its mapping, for the list only */
    /* CUSTOM: `field` is the target struct + offset. write() appends one JSON value; NULL = not written. */
    enum km_status (*read)(const struct km_yaml *value, void *field,
                           const struct km_settings_context *context, struct km_error *error);
    void (*write)(const void *field, struct km_text *out);
    bool (*absent)(const void *field); /* optional, any type: true = it is not written */
};

enum km_settings_mode {
    KM_SETTINGS_WHOLE,   /* every key without `optional` must be there */
    KM_SETTINGS_PARTIAL, /* none must */
};

/* Read `mapping` into `target`. `given`, unless NULL, gets bit i for the i-th entry present (tables with it
 * have at most 64). */
enum km_status km_settings_read(const struct km_yaml *mapping, const struct km_setting *table,
                                enum km_settings_mode mode, void *target, uint64_t *given,
                                const struct km_settings_context *context, struct km_error *error);

/* One value by itself, as the table's reader would: for lists and keys made of patterns. */
enum km_status km_settings_number(const struct km_yaml *value, const struct km_range *range, double *out,
                                  struct km_error *error);
enum km_status km_settings_u64(const struct km_yaml *value, const struct km_range *range, uint64_t limit,
                               uint64_t *out, struct km_error *error);
/* The text of a scalar that is not null or empty; `what` ("a name", "a path") for the message. */
enum km_status km_settings_text(const struct km_yaml *value, const char *what, const char **out,
                                struct km_error *error);
/* "unknown name ...; did you mean ...?" at `value`; `best` may be NULL, then `known` lists the names. */
enum km_status km_settings_unknown_name(const struct km_yaml *value, const char *best, const char *known,
                                        struct km_error *error);
/* Refuse a name that is not in the registry. */
enum km_status km_settings_check_name(const struct km_yaml *value, const struct km_entry *const *registry,
                                      struct km_error *error);

/* The struct as a JSON object, keys in the order of the table. Appends. */
void km_settings_write_json(const struct km_setting *table, const void *target, struct km_text *out);
void km_settings_write_number(double value, struct km_text *out); /* shortest text that reads back the same */
void km_settings_write_string(const char *value, struct km_text *out); /* quoted; NULL = null */

/* What a setting may hold, in words: "an integer >= 1", "one of a, b, c", "true or false". For messages and
 * documentation. */
void km_setting_describe(const struct km_setting *setting, struct km_text *out);
/* The whole table as lines "prefix.key  <what it holds>  doc", sections inlined. Appends. */
void km_settings_list(const struct km_setting *table, const char *prefix, struct km_text *out);

#endif
