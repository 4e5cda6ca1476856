/* One question to the queueing models: a discipline with its parameters, solved by the file that knows it. */
#ifndef KM_QUEUEING_QUEUE_MODEL_H
#define KM_QUEUEING_QUEUE_MODEL_H

#include "queueing/answer.h"
#include "queueing/bulk/dynamic.h"
#include "queueing/servers.h"
#include "queueing/token_law.h"

#include <math.h>

enum km_discipline {
    KM_DISCIPLINE_MG1,             /* a, c; patience_s */
    KM_DISCIPLINE_DYNAMIC,         /* k1 .. k4; batch_cap */
    KM_DISCIPLINE_FIXED,           /* k1 .. k4; batch_size */
    KM_DISCIPLINE_ELASTIC_DYNAMIC, /* as dynamic */
    KM_DISCIPLINE_ELASTIC_FIXED,   /* as fixed */
    KM_DISCIPLINE_GGC,             /* servers, service_s, arrival_cv, service_cv: no tokens */
};

/* "mg1", "dynamic", "fixed", "elastic_dynamic", "elastic_fixed", "ggc"; NULL ends it. */
extern const char *const km_discipline_names[];

struct km_queue_model {
    enum km_discipline discipline;
    double rate_per_s;
    double a_s, c_s;
    double k1_s, k2_s, k3_s, k4_s;
    const struct km_token_law *tokens; /* borrowed */
    uint64_t batch_cap;                /* KM_NO_CAP: none */
    uint64_t batch_size;
    double patience_s; /* HUGE_VAL: for ever */
    uint32_t servers;
    double service_s, arrival_cv, service_cv;
};

/* Everything but discipline, rate, service and tokens at "none"; of ggc M/M/1. */
#define KM_QUEUE_MODEL_NONE                                                                                  \
    {                                                                                                        \
        .batch_cap = KM_NO_CAP, .patience_s = HUGE_VAL, .servers = 1, .arrival_cv = 1, .service_cv = 1       \
    }

/* The question of discipline ggc. */
struct km_servers km_queue_model_servers(const struct km_queue_model *model);
/* `tail` may be NULL. Statuses as in queueing/answer.h. */
enum km_status km_queue_model_solve(const struct km_queue_model *model, const struct km_wait_tail *tail,
                                    struct km_queue_answer *out, struct km_error *error);

#endif
