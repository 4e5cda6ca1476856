/* The `queue:` section of a file, or the flags of the same names, as a question to the queueing models.
 *
 *   queue:
 *     discipline: mg1                (mg1, dynamic, fixed, elastic_dynamic, elastic_fixed or ggc)
 *     arrival_rate_per_s: 0.025
 *     service: {a: 0.0225, c: 0}     (mg1: S = a N + c; ggc: {mean_s, cv}; else {k1, k2, k3, k4}, absent = 0)
 *     output_tokens: {distribution: lognormal, mu: 7, sigma: 0.7, max: 1600}
 *     trace: FILE                    (instead: the output tokens of a recorded trace)
 *     batch_cap: 16                  (dynamic, elastic_dynamic; absent = everything buffered)
 *     batch_size: 8                  (fixed, elastic_fixed)
 *     patience_s: 60                 (mg1: who has waited that long leaves; absent = nobody)
 *     servers: 4                     (ggc; absent = 1)
 *     arrival_cv: 1.5                (ggc: coefficient of variation of the gaps; absent = 1, Poisson)
 *     wait_tail_s: [10, 40, 90]      (where P(W > t) is wanted; ggc: absent = [0])
 *
 * ggc has no tokens: its time in service is stated, of cv 1 (exponential) unless service says so.
 * A flag's value is what would stand in the file; mappings may be written a=0.0225,c=0 and lists 10,40,90. */
#ifndef KM_SCENARIO_QUEUE_SECTION_H
#define KM_SCENARIO_QUEUE_SECTION_H

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "queueing/queue_model.h"
#include "workload/distribution.h"

/* Keys of the section, for the flags. */
#define KM_QUEUE_KEYS 11
extern const char *const km_queue_keys[KM_QUEUE_KEYS];

struct km_queue_section {
    struct km_queue_model model;          /* its tokens are not set */
    struct km_distribution output_tokens; /* unset: ggc */
    const char *trace;                    /* path, or NULL */
    double *wait_tail_s;
    size_t wait_tail_count;
};

struct km_queue_flag {
    const char *name;  /* "--batch-cap" */
    const char *value; /* NULL = not given */
};

/* `path` may be NULL; `flags` belong to km_queue_keys and override the file. Everything lives in `arena`. */
enum km_status km_queue_section_read(const char *path, const struct km_queue_flag flags[KM_QUEUE_KEYS],
                                     struct km_arena *arena, struct km_queue_section *out,
                                     struct km_error *error);
/* The section as a JSON object. Appends. */
void km_queue_section_write(const struct km_queue_section *section, struct km_text *out);

#endif
