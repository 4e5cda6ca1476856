#include "queueing/queue_model.h"

#include "queueing/bulk/fixed.h"
#include "queueing/single/mg1_impatient.h"

const char *const km_discipline_names[] = {"mg1",           "dynamic", "fixed", "elastic_dynamic",
                                           "elastic_fixed", "ggc",     NULL};

struct km_servers km_queue_model_servers(const struct km_queue_model *model)
{
    return (struct km_servers){.rate_per_s = model->rate_per_s,
                               .service_s = model->service_s,
                               .servers = model->servers,
                               .arrival_cv = model->arrival_cv,
                               .service_cv = model->service_cv};
}

enum km_status km_queue_model_solve(const struct km_queue_model *model, const struct km_wait_tail *tail,
                                    struct km_queue_answer *out, struct km_error *error)
{
    enum km_discipline discipline = model->discipline;
    bool impatient = !(model->patience_s >= HUGE_VAL);
    if (discipline == KM_DISCIPLINE_MG1) {
        struct km_mg1 queue = {model->rate_per_s, model->a_s, model->c_s, model->tokens};
        if (impatient)
            return km_mg1_impatient_solve(&queue, model->patience_s, tail, out, error);
        return km_mg1_solve(&queue, tail, out, error);
    }
    *out = km_queue_answer_blank();
    km_wait_tail_blank(tail);
    if (impatient)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "patience: known for discipline mg1 only");
    if (discipline == KM_DISCIPLINE_GGC) {
        struct km_servers queue = km_queue_model_servers(model);
        return km_servers_solve(&queue, tail, out, error);
    }
    bool elastic = discipline == KM_DISCIPLINE_ELASTIC_DYNAMIC || discipline == KM_DISCIPLINE_ELASTIC_FIXED;
    struct km_batch_law law = {model->k1_s, model->k2_s, model->k3_s, model->k4_s, elastic, model->tokens};
    if (discipline == KM_DISCIPLINE_DYNAMIC || discipline == KM_DISCIPLINE_ELASTIC_DYNAMIC)
        return km_dynamic_solve(&law, model->rate_per_s, model->batch_cap, tail, out, error);
    return km_fixed_solve(&law, model->rate_per_s, model->batch_size, tail, out, NULL, error);
}
