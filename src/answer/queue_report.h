/* What `kingman queue` prints: tables for a person, JSON for a program. All append. */
#ifndef KM_ANSWER_QUEUE_REPORT_H
#define KM_ANSWER_QUEUE_REPORT_H

#include "queueing/single/token_limit.h"
#include "scenario/queue_point.h"

struct km_queue_sweep {
    const char *parameter; /* "rate", "max_tokens" or "servers" */
    size_t count;
    const double *values; /* [count] */
    const struct km_queue_point *points;
};

void km_queue_text(const struct km_queue_section *section, const struct km_queue_point *point,
                   struct km_text *out);
void km_queue_sweep_text(const struct km_queue_section *section, const struct km_queue_sweep *sweep,
                         struct km_text *out);
void km_queue_limit_text(const struct km_token_limit *limit, struct km_text *out);

/* {"schema", "queue", "theory", "simulation"}; with a sweep {"schema", "queue", "sweep": {"parameter",
 * "points": [{"value", "theory", "simulation"}]}}; with a limit also "best_limit".
 * The theory of ggc has besides "bound_wait_s" and "formula" (the mean wait's: km_servers_formula_names). What is undefined is null.
 * Either of point and sweep is NULL; limit may be. */
void km_queue_json(const struct km_queue_section *section, const struct km_queue_point *point,
                   const struct km_queue_sweep *sweep, const struct km_token_limit *limit,
                   struct km_text *out);

#endif
