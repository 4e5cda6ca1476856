/* A profile: measured times of operators on one device (configs/profiles/README.md is its manual).
 *
 * Every operator class is one table; a row is a value for each dim of the class, a median in microseconds
 * (or, for classes that are no times, a plain value) and a spread. Rows are kept sorted, dim by dim in the
 * order of the class's schema, which makes a table a tree: all rows with one value of the first dim are
 * neighbours, and so on. Lookups walk that tree (km_profile_lookup). */
#ifndef KM_COST_PROFILE_PROFILE_H
#define KM_COST_PROFILE_PROFILE_H

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "hardware/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_PROFILE_SCHEMA    1
#define KM_PROFILE_DIMS      9        /* most dims a class has */
#define KM_PROFILE_MAX_NAMES 256u     /* words of open dims; more are refused */
#define KM_PROFILE_MAX_ROWS  1000000u /* more in one class are refused */

enum km_profile_class {
    KM_PROFILE_GEMM,
    KM_PROFILE_GEMM_SUSTAINED,
    KM_PROFILE_GROUPED_GEMM,
    KM_PROFILE_MOE,
    KM_PROFILE_PREFILL,
    KM_PROFILE_DECODE,
    KM_PROFILE_MIXED,
    KM_PROFILE_LATENT_DECODE,
    KM_PROFILE_LATENT_CHUNK,
    KM_PROFILE_LATENT_PREFILL,
    KM_PROFILE_SKEW,
    KM_PROFILE_STREAM,
    KM_PROFILE_COLLECTIVE,
    KM_PROFILE_SCALAR,
    KM_PROFILE_LAYER,
    KM_PROFILE_CLASSES,
};

enum km_profile_dim_kind {
    KM_DIM_SIZE,  /* a whole number >= 0: interpolated */
    KM_DIM_DTYPE, /* a number format (enum km_dtype): must match */
    KM_DIM_WORD,  /* one of `words` (its index), or with words NULL any name (interned): must match */
};

struct km_profile_dim {
    const char *name;
    enum km_profile_dim_kind kind;
    const char *const *words; /* NULL-terminated */
    bool optional;            /* may be left out: then `fallback` */
    double fallback;
    /* Name of a later dim that makes up for this one when a neighbour's rows stand in: a batch over half as
     * many KV heads keeps the device as busy as half the batch over all of them. NULL = none. */
    const char *shared_with;
};

struct km_profile_schema {
    const char *name;
    uint32_t dim_count;
    uint32_t block_dims; /* leading dims that a file states once for a block of rows */
    bool value;          /* no time: a number >= 0 */
    struct km_profile_dim dims[KM_PROFILE_DIMS];
};

extern const struct km_profile_schema km_profile_schemas[KM_PROFILE_CLASSES];

/* Positions of dims in a row, as in the schemas. */
enum { KM_GEMM_WEIGHTS, KM_GEMM_ACTIVATIONS, KM_GEMM_N, KM_GEMM_K, KM_GEMM_M };
enum {
    KM_GROUPED_WEIGHTS,
    KM_GROUPED_ACTIVATIONS,
    KM_GROUPED_EXPERTS,
    KM_GROUPED_TOP_K,
    KM_GROUPED_N,
    KM_GROUPED_K,
    KM_GROUPED_M
};
enum {
    KM_MOE_WEIGHTS,
    KM_MOE_ACTIVATIONS,
    KM_MOE_EXPERTS,
    KM_MOE_TOP_K,
    KM_MOE_RANKS,
    KM_MOE_HIDDEN,
    KM_MOE_WIDTH,
    KM_MOE_ROUTING,
    KM_MOE_M
};
/* How the tokens of a routed MLP's rows were spread over its experts. */
enum km_routing {
    KM_ROUTING_UNIFORM,  /* each token's experts drawn at random */
    KM_ROUTING_BALANCED, /* dealt out in turn: as many tokens for each, and as many experts hit as there can
                            be */
    KM_ROUTINGS
};
enum {
    KM_ATTENTION_HEAD_DIM,
    KM_ATTENTION_KV_DTYPE,
    KM_ATTENTION_HEADS,
    KM_ATTENTION_KV_HEADS,
    KM_ATTENTION_WINDOW
};
enum { KM_PREFILL_SEQUENCES = KM_ATTENTION_WINDOW + 1, KM_PREFILL_PAST, KM_PREFILL_TOKENS };
enum { KM_DECODE_BATCH = KM_ATTENTION_WINDOW + 1, KM_DECODE_CONTEXT };
enum {
    KM_MIXED_SPLIT = KM_ATTENTION_KV_HEADS + 1,
    KM_MIXED_TOKENS,
    KM_MIXED_PAST,
    KM_MIXED_BATCH,
    KM_MIXED_CONTEXT
};
/* May a mixed launch share the keys of one sequence out among multiprocessors? */
enum km_split {
    KM_SPLIT_UNSTATED, /* rows of launches of either kind */
    KM_SPLIT_NONE,     /* no: nothing ends before the longest sequence does */
    KM_SPLIT_ANY
};
/* Latent attention: heads attend to latents of `latent` values and `rope` rotary ones a token. */
enum { KM_LATENT_KV_DTYPE, KM_LATENT_HEADS, KM_LATENT_WIDTH, KM_LATENT_ROPE };
enum { KM_LATENT_BATCH = KM_LATENT_ROPE + 1, KM_LATENT_CONTEXT };
enum { KM_LATENT_PAST = KM_LATENT_ROPE + 1, KM_LATENT_TOKENS };
#define KM_LATENT_NOPE  128u /* of a head's key besides `rope`, where keys and values are made from latents */
#define KM_LATENT_VALUE 128u
enum { KM_SKEW_TOKENS, KM_SKEW_BATCH, KM_SKEW_PERCENT, KM_SKEW_CONTEXT };
enum { KM_STREAM_KIND, KM_STREAM_BYTES_PER_ROW, KM_STREAM_ROWS };
enum {
    KM_COLLECTIVE_KIND,
    KM_COLLECTIVE_IMPLEMENTATION,
    KM_COLLECTIVE_MODE,
    KM_COLLECTIVE_RANKS,
    KM_COLLECTIVE_BYTES
};

struct km_profile_row {
    double dims[KM_PROFILE_DIMS];
    double us; /* or the value, of a class that is no time */
    double spread_us;
    const void *origin; /* who adds a row may note where it came from: a node, a file and line */
    uint32_t line;
    uint32_t order; /* counts additions; set by km_profile_add */
};

struct km_profile_table {
    struct km_profile_row *rows; /* [count], sorted after km_profile_finish */
    double *answers;             /* [count] what a lookup interpolates; set by km_profile_bind */
    size_t count, capacity;
};

struct km_profile {
    struct km_arena arena;
    const char *path;       /* "" when it came from no file */
    const char *device;     /* name of a device description */
    const char *provenance; /* a JSON object */
    const char *kernels_of; /* program whose kernels these are; NULL = of whatever engine it is used for */
    /* name of a profile that answers what this one cannot (measured.h); NULL = none */
    const char *supplement;
    const char **names; /* [name_count] interned words of open dims */
    size_t name_count, name_capacity;
    struct km_profile_table tables[KM_PROFILE_CLASSES];
};

/* Read a profile, or parse `bytes` of `text` (`path`, which may be NULL, names it in errors). KM_BAD_INPUT
 * with the place for anything the manual does not allow. On failure nothing is left to release. */
enum km_status km_profile_read(const char *path, struct km_profile *out, struct km_error *error);
enum km_status km_profile_parse(const char *text, size_t bytes, const char *path, struct km_profile *out,
                                struct km_error *error);
void km_profile_release(struct km_profile *profile);

/* Building one row by row: start from a zeroed struct with path, device and provenance (borrowed), add rows,
 * finish. A row's values are those of the schema's dims; words by km_profile_word. */
void km_profile_add(struct km_profile *profile, enum km_profile_class class,
                    const struct km_profile_row *row);
/* The value of a word of a dim; false when it is none of them, or no name: letters, digits and _-.:/ and
 * spaces. */
bool km_profile_word(struct km_profile *profile, const struct km_profile_dim *dim, const char *word,
                     double *out);
/* Sort. False when two rows of a class have the same dims: the earlier and the later one added. */
struct km_profile_twins {
    enum km_profile_class class;
    struct km_profile_row first, second;
};
bool km_profile_finish(struct km_profile *profile, struct km_profile_twins *twins);
/* Rows with the same dims become one with their mean. */
void km_profile_merge(struct km_profile *profile);
enum km_profile_class km_profile_class_find(const char *name); /* KM_PROFILE_CLASSES when unknown */

/* As JSON, times with four digits. Appends. */
void km_profile_write(const struct km_profile *profile, struct km_text *out);

/* Set what lookups interpolate: for times the logarithm of the share of the device's roofline reached
 * (profile_roofline.h), for values the values. Rows of formats that the device has no rate for answer 1:
 * nobody can ask for them. */
void km_profile_bind(struct km_profile *profile, const struct km_device *device);

/* An interpolated answer. */
struct km_profile_answer {
    double value; /* share of the roofline, or the value of a class that is no time */
    bool exact;   /* a row of the table is just this */
    bool outside; /* some dim lies beyond the measured range: the edge's answer */
};

/* Look `at` (as a row's dims; sizes need not be whole) up. False when a word or format has no rows. At each
 * size dim the nearest smaller and larger measured values are taken, preferring ones whose rows also reach
 * around the dims that follow, and answers are interpolated linearly in log(1 + size) (shares: in their
 * logarithm).
 */
bool km_profile_lookup(const struct km_profile *profile, enum km_profile_class class, const double *at,
                       struct km_profile_answer *out);

/* What rows of two values of dim `level` (spans of a bound table that agree in all dims before it) say about
 * `at` between them, as the table's answers. False when they say nothing. */
struct km_profile_span {
    size_t first, end;
};
bool km_profile_predict(const struct km_profile_table *table, enum km_profile_class class, uint32_t level,
                        const struct km_profile_span *low, const struct km_profile_span *high,
                        const double *at, double *out);

/* A scalar's value; false when the profile has none of that name. */
bool km_profile_scalar(const struct km_profile *profile, const char *name, double *out);

#endif
