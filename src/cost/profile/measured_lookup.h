/* What the parts of the measured cost model share: measured.c opens the sources, measured_time.c asks them,
 * measured_rows.c answers for operators of rows and measured_attention.c for attention, and remember it. For those files alone. */
#ifndef KM_COST_PROFILE_MEASURED_LOOKUP_H
#define KM_COST_PROFILE_MEASURED_LOOKUP_H

#include "cost/profile/measured.h"

struct km_measured_answer {
    const struct km_op *op;
    double rows, time_s;
    enum km_origin origin;
    bool found;
    bool stand_in;   /* kernels of another program than the engine had a part in it */
    bool supplement; /* rows of the supplement had */
};

struct km_measured_attention_answer {
    struct km_measured_answer answer;
    struct km_attention_load load;
};

struct km_measured_source {
    struct km_profile profile;
    double gap_s;  /* between kernels, where rows are bare kernel times */
    bool stand_in; /* kernels of another program than the engine */
};

#define KM_MEASURED_SOURCES 3

/* A product measured rested and under continuous load. */
struct km_measured_rise {
    double weights, activations, log_n, log_k, log_m, rise;
};

struct km_measured {
    struct km_measured_source sources[KM_MEASURED_SOURCES]; /* the profile, its supplement, that one's */
    uint32_t source_count;
    const struct km_cost_config *config;
    bool attention_writes_kv, moe_includes_router, moe_includes_shared;
    bool whole_experts;              /* routed MLPs are taken as a whole */
    bool by_stand_in, by_supplement; /* of the answers since these were cleared */
    struct km_measured_rise *rises; /* [rise_count] of the first source of each format that has both tables */
    size_t rise_count;
    struct km_power_use power;
    struct km_measured_answer *remembered;         /* by operator and rows */
    struct km_measured_attention_answer *attended; /* by operator and load */
};

/* Seconds of an operator whose least time is `ideal_s`, and how certain; false when no table answers. The
 * first source with rows of its names and formats answers; km_measured_time_of asks one source alone. */
bool km_measured_time(struct km_measured *measured, enum km_profile_class class, const double *at,
                      double ideal_s, double *time_s, enum km_origin *origin);
bool km_measured_time_of(struct km_measured *measured, uint32_t source, enum km_profile_class class,
                         const double *at, double ideal_s, double *time_s, enum km_origin *origin);

/* Who had a part in an answer. An answer may need others meanwhile: what had been noted is put aside and back. */
struct km_measured_parts {
    bool stand_in, supplement;
};
struct km_measured_parts km_measured_begin(struct km_measured *measured);
void km_measured_end(struct km_measured *measured, struct km_measured_parts before,
                     struct km_measured_answer *answer);
/* Give an answer that was found. */
void km_measured_say(const struct km_measured_answer *answer, double *time_s, enum km_origin *origin,
                     bool *supplement);

#define KM_MEASURED_REMEMBERED 4096u /* answers of each kind; a power of two */

/* fp16 and bf16 run at one rate: a table of one answers for the other. */
static inline double km_measured_sibling(double dtype)
{
    return dtype == KM_BF16 ? KM_FP16 : dtype == KM_FP16 ? KM_BF16 : dtype;
}

/* Latent attention, by its own tables; false when they have nothing to say. */
bool km_measured_look_up_latent(struct km_measured *measured, const struct km_op *op,
                                const struct km_attention_load *load, double *time_s, enum km_origin *origin);

#endif
