#include "answer/describe.h"
#include "scenario/accuracy_key.h"

enum km_status km_describe_accuracy(const struct km_scenario *scenario, struct km_arena *arena,
                                    const struct km_accuracy_answer **out, size_t *count,
                                    struct km_error *error)
{
    struct km_accuracy accuracy;
    const uint32_t groups = km_scenario_group_count(scenario);
    struct km_accuracy_answer *answers =
        km_arena_alloc(arena, groups * KM_ACCURACY_METRICS * sizeof *answers);
    enum km_status status = km_scenario_read_accuracy(&accuracy, error);
    if (status != KM_OK)
        return status;
    *count = 0;
    *out = answers;
    for (uint32_t g = 0; g < groups; g++) {
        const struct km_scenario *group = km_scenario_group(scenario, g);
        for (uint32_t m = 0; m < KM_ACCURACY_METRICS; m++) {
            struct km_accuracy_key key;
            km_scenario_accuracy_key(group, km_accuracy_metrics[m], &key);
            km_accuracy_closest(&accuracy, &key, arena, &answers[(*count)++]);
        }
    }
    km_accuracy_release(&accuracy);
    return KM_OK;
}
