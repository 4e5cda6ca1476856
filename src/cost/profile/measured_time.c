#include "cost/profile/measured_lookup.h"

static enum km_origin origin_of(const struct km_profile_answer *answer)
{
    return answer->outside ? KM_ORIGIN_EXTRAPOLATED
           : answer->exact ? KM_ORIGIN_MEASURED
                           : KM_ORIGIN_INTERPOLATED;
}

bool km_measured_time_of(struct km_measured *m, uint32_t source, enum km_profile_class class,
                         const double *at, double ideal_s, double *time_s, enum km_origin *origin)
{
    struct km_profile_answer answer;
    if (ideal_s <= 0.0 || !km_profile_lookup(&m->sources[source].profile, class, at, &answer))
        return false;
    *time_s = ideal_s / answer.value + m->sources[source].gap_s;
    *origin = origin_of(&answer);
    m->by_stand_in |= m->sources[source].stand_in;
    m->by_supplement |= source > 0;
    return true;
}

bool km_measured_time(struct km_measured *m, enum km_profile_class class, const double *at, double ideal_s,
                      double *time_s, enum km_origin *origin)
{
    for (uint32_t i = 0; i < m->source_count; i++)
        if (km_measured_time_of(m, i, class, at, ideal_s, time_s, origin))
            return true;
    return false;
}

struct km_measured_parts km_measured_begin(struct km_measured *m)
{
    const struct km_measured_parts before = {m->by_stand_in, m->by_supplement};
    m->by_stand_in = m->by_supplement = false;
    return before;
}

void km_measured_end(struct km_measured *m, struct km_measured_parts before,
                     struct km_measured_answer *answer)
{
    answer->stand_in = m->by_stand_in;
    answer->supplement = m->by_supplement;
    m->by_stand_in |= before.stand_in;
    m->by_supplement |= before.supplement;
}

/* What kernels of another program say, never less than the engine's description. Operators that others
 * contain (0) stay so. */
void km_measured_say(const struct km_measured_answer *answer, double *time_s, enum km_origin *origin,
                     bool *supplement)
{
    enum km_op_kind kind = answer->op->kind;
    bool engine_counts = answer->stand_in && (kind == KM_OP_STREAM || kind == KM_OP_ATTENTION);
    if (engine_counts && answer->time_s > 0.0 && answer->time_s < *time_s)
        return;
    *time_s = answer->time_s;
    *origin = answer->origin;
    *supplement = answer->supplement;
}
