/* What must hold of every run, whatever the scenario. Everything is computed again from the rows, the
 * resolved scenario and first principles, and compared with what the result JSON says. */
#ifndef KM_TESTS_CAMPAIGN_LAWS_H
#define KM_TESTS_CAMPAIGN_LAWS_H

#include "campaign/run.h"

/* What is wrong: the law's name, a colon, and the numbers. */
struct complaint {
    char text[512]; /* "" = nothing */
};

/* Keeps the first. Returns false, always. */
bool complain(struct complaint *complaint, const char *law, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Of one run that ended well. `json`: run->json, parsed. */
void laws_of_rows(const struct run *run, struct complaint *out); /* conservation, order of time */
void laws_of_latency(const struct run *run, const cJSON *json,
                     struct complaint *out); /* means, quantiles, classes */
void laws_of_system(const struct run *run, const cJSON *json,
                    struct complaint *out); /* Little, KV, busy, fleet */
void laws_of_bill(const struct run *run, const cJSON *json, struct complaint *out);
void laws_of_slo(const struct run *run, const cJSON *json, struct complaint *out);
void laws_of_text(const struct run *run, struct complaint *out); /* no nan, no inf */

/* All of them. */
void laws_hold(const struct run *run, struct complaint *out);
/* A refusal is one line with a reason. */
void laws_of_refusal(const struct run *run, struct complaint *out);

/* Do two runs say the same, in rows, JSON, table and CSV? `what` names the law. */
bool same_runs(const struct run *a, const struct run *b, const char *what, struct complaint *out);

/* A run's span: from its first arrival to its last completion, and to the end of its last request that was
 * let in, which may have left after that. */
struct span {
    uint64_t first_ps, last_ps, end_ps;
    bool known; /* something completed */
};
struct span span_of(const struct run *run);

/* --- helpers of the laws ------------------------------------------------------------------------------- */

/* At a dotted path; NAN where it is null, and a complaint where there is nothing. */
double json_number(const cJSON *json, const char *path, struct complaint *out);
/* Within `relative` of each other, or both undefined. */
bool agree(double is, double should, double relative);
/* The number at `path` is `should`. */
bool expect(const cJSON *json, const char *path, double should, const char *law, struct complaint *out);

#endif
