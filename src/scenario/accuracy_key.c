#include "scenario/accuracy_key.h"

#include "scenario/lookup.h"

static const char *kind_of(const struct km_model *model)
{
    const char *kind = "dense";
    for (uint32_t i = 0; i < model->layer_count; i++) {
        if (model->layers[i].mixer == KM_MLA)
            return "mla";
        if (model->layers[i].mlp == KM_MLP_MOE)
            kind = "moe";
    }
    return kind;
}

void km_scenario_accuracy_key(const struct km_scenario *scenario, const char *metric,
                              struct km_accuracy_key *out)
{
    *out = (struct km_accuracy_key){{
        [KM_ACCURACY_DEVICE] = scenario->device.name,
        [KM_ACCURACY_ENGINE] = scenario->engine.name,
        [KM_ACCURACY_FORMAT] = km_dtype_name(scenario->precision.weights),
        [KM_ACCURACY_KIND] = kind_of(&scenario->model),
        [KM_ACCURACY_COST] = scenario->cost_model,
        [KM_ACCURACY_METRIC] = metric,
    }};
}

enum km_status km_scenario_read_accuracy(struct km_accuracy *out, struct km_error *error)
{
    struct km_arena arena = {0};
    *out = (struct km_accuracy){0};
    const char *path = km_lookup_find(KM_LOOKUP_ACCURACY, "points", "", &arena);
    enum km_status status = path ? km_accuracy_read(path, out, error) : KM_OK;
    km_arena_release(&arena);
    return status;
}
