#include "queueing/queue_system.h"

#include "queueing/fixed.h"
#include "queueing/mg1_impatient.h"

const char *const km_discipline_names[] = {"mg1",           "dynamic", "fixed", "elastic_dynamic",
                                           "elastic_fixed", NULL};

enum km_status km_queue_system_solve(const struct km_queue_system *system, const struct km_wait_tail *tail,
                                     struct km_queue_answer *out, struct km_error *error)
{
    enum km_discipline discipline = system->discipline;
    bool impatient = !(system->patience_s >= HUGE_VAL);
    if (discipline == KM_DISCIPLINE_MG1) {
        struct km_mg1 queue = {system->rate_per_s, system->a_s, system->c_s, system->tokens};
        if (impatient)
            return km_mg1_impatient_solve(&queue, system->patience_s, tail, out, error);
        return km_mg1_solve(&queue, tail, out, error);
    }
    *out = km_queue_answer_blank();
    km_wait_tail_blank(tail);
    if (impatient)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "patience: known for discipline mg1 only");
    bool elastic = discipline == KM_DISCIPLINE_ELASTIC_DYNAMIC || discipline == KM_DISCIPLINE_ELASTIC_FIXED;
    struct km_batch_law law = {system->k1_s, system->k2_s, system->k3_s,
                               system->k4_s, elastic,      system->tokens};
    if (discipline == KM_DISCIPLINE_DYNAMIC || discipline == KM_DISCIPLINE_ELASTIC_DYNAMIC)
        return km_dynamic_solve(&law, system->rate_per_s, system->batch_cap, tail, out, error);
    return km_fixed_solve(&law, system->rate_per_s, system->batch_size, tail, out, NULL, error);
}
