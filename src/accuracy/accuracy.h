/* How far the cost models were from measurements.
 *
 * A *point* is one measured metric of one configuration and what kingman predicts for it
 * (configs/accuracy/points.csv; its README says where they come from). A *row* sums points up that agree in
 * some of these dims, by quantiles of predicted / measured:
 *
 *   device, engine (a program, whatever the version), format of the weights, kind of model (dense, moe, mla),
 * cost model (roofline, profile), metric (throughput, tpot, ttft, e2e)
 *
 * Who wants to know how far a prediction may be off asks for the closest row: all dims, then without the
 * engine, then without the kind, too, the format, the device. Cost model and metric always agree. The first
 * row of at least KM_ACCURACY_LEAST_POINTS points is the answer. Quantiles are those of the sample, linear
 * between its values (Hyndman and Fan 1996, "Sample quantiles in statistical packages", Am. Statist. 50(4),
 * type 7). Points that a constant was fitted to are listed and left out. */
#ifndef KM_ACCURACY_ACCURACY_H
#define KM_ACCURACY_ACCURACY_H

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_ACCURACY_LEAST_POINTS 8u

enum km_accuracy_dim {
    KM_ACCURACY_DEVICE,
    KM_ACCURACY_ENGINE,
    KM_ACCURACY_FORMAT,
    KM_ACCURACY_KIND,
    KM_ACCURACY_COST,
    KM_ACCURACY_METRIC,
    KM_ACCURACY_DIMS,
};
/* throughput, tpot, ttft, e2e; NULL-terminated */
extern const char *const km_accuracy_metrics[];
#define KM_ACCURACY_METRICS 4u

const char *km_accuracy_dim_name(enum km_accuracy_dim dim); /* "device", ...: the columns of the file */
bool km_accuracy_dim_find(const char *name, enum km_accuracy_dim *out);

/* What a point or row is of; NULL = any. */
struct km_accuracy_key {
    const char *of[KM_ACCURACY_DIMS];
};

struct km_accuracy_point {
    struct km_accuracy_key key;
    const char *config;   /* points of one share a run */
    const char *profile;  /* the cost model's; "" = none */
    const char *source;   /* who measured it */
    const char *left_out; /* why it does not count; "" where it does */
    double measured,
        predicted; /* above 0, in the same unit; a prediction of NAN: there is none, see left_out */
};

struct km_accuracy {
    struct km_arena arena;            /* owns everything */
    struct km_accuracy_point *points; /* [count] in the file's order */
    size_t count;
};

/* KM_BAD_INPUT with the place: a column is missing, a number is none, a point without a prediction or reason.
 */
enum km_status km_accuracy_read(const char *path, struct km_accuracy *out, struct km_error *error);
void km_accuracy_release(struct km_accuracy *accuracy); /* fine on a zeroed one */

struct km_accuracy_row {
    struct km_accuracy_key key;
    const char *profile; /* of all its points; NULL = none, or several */
    const char *sources; /* "inferencex, nim" */
    uint32_t points;
    double median, p10, p90; /* of predicted / measured; NAN without points */
};

/* The points that count and agree with `key` in all that it states; an engine's name agrees with its program.
 * Strings live in `arena`. */
void km_accuracy_sum(const struct km_accuracy *accuracy, const struct km_accuracy_key *key,
                     struct km_arena *arena, struct km_accuracy_row *out);

/* All rows by the dims that `by` has, in the order of the dims' words. The array lives in `arena`. */
size_t km_accuracy_rows(const struct km_accuracy *accuracy, const bool by[KM_ACCURACY_DIMS],
                        struct km_arena *arena, struct km_accuracy_row **out);

/* How close a row is; each is coarser than the one before. */
enum km_accuracy_level {
    KM_ACCURACY_SAME,
    KM_ACCURACY_ANY_ENGINE,
    KM_ACCURACY_ANY_KIND,
    KM_ACCURACY_ANY_FORMAT,
    KM_ACCURACY_ANY_DEVICE,
    KM_ACCURACY_NONE, /* there are too few points of this cost model and metric */
};

struct km_accuracy_answer {
    struct km_accuracy_key asked;
    enum km_accuracy_level level;
    struct km_accuracy_row row; /* without points where the level is NONE */
};

/* The closest row. `asked` states every dim. All strings of the answer live in `arena`. */
void km_accuracy_closest(const struct km_accuracy *accuracy, const struct km_accuracy_key *asked,
                         struct km_arena *arena, struct km_accuracy_answer *out);
const char *km_accuracy_level_name(enum km_accuracy_level level); /* "same", "any_engine", ... */
bool km_accuracy_same_row(const struct km_accuracy_answer *a, const struct km_accuracy_answer *b);

/* "validated: 26 points of h200-sxm, vllm, bf16, dense", "not validated on mi300x, ...; closest: ...".
 * Appends. */
void km_accuracy_describe(const struct km_accuracy_answer *answer, struct km_text *out);

#endif
