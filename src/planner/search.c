#include "planner/search.h"

#include "base/settings.h"
#include "base/suggest.h"

#include <string.h>

static const char *const objectives[KM_OBJECTIVE_COUNT] = {
    [KM_OBJECTIVE_GPUS] = "gpus",
    [KM_OBJECTIVE_USD_PER_HOUR] = "usd_per_hour",
    [KM_OBJECTIVE_USD_PER_MILLION_TOKENS] = "usd_per_million_tokens",
    [KM_OBJECTIVE_ENERGY] = "energy",
};
static const char *const reserved[] = {"objective",  "max_gpus", "rent", "rate_scale",
                                       "rate_per_s", "top",      NULL};

const char *km_objective_name(enum km_objective objective)
{
    return objectives[objective];
}

const struct km_yaml *km_search_value_at(const struct km_axis *axis, uint32_t value)
{
    bool list = axis->at->kind == KM_YAML_SEQUENCE && value < axis->at->count;
    return list ? axis->at->items[value] : axis->at;
}

static enum km_status read_objective(const struct km_yaml *node, enum km_objective *out,
                                     struct km_error *error)
{
    const char *name;
    enum km_status status = km_settings_text(node, "an objective", &name, error);
    if (status != KM_OK)
        return status;
    struct km_suggestion suggestion = {.word = name};
    for (int i = 0; i < KM_OBJECTIVE_COUNT; i++) {
        if (strcmp(name, objectives[i]) == 0) {
            *out = (enum km_objective)i;
            return KM_OK;
        }
        km_suggest_offer(&suggestion, objectives[i]);
    }
    return km_settings_unknown_name(node, suggestion.best,
                                    "gpus, usd_per_hour, usd_per_million_tokens, energy", error);
}

static enum km_status read_rent(const struct km_yaml *node, bool *out, struct km_error *error)
{
    const char *name;
    enum km_status status = km_settings_text(node, "what is rented", &name, error);
    if (status != KM_OK)
        return status;
    *out = strcmp(name, "node") == 0;
    if (*out || strcmp(name, "gpu") == 0)
        return KM_OK;
    struct km_suggestion suggestion = {.word = name};
    km_suggest_offer(&suggestion, "gpu");
    km_suggest_offer(&suggestion, "node");
    return km_settings_unknown_name(node, suggestion.best, "gpu, node", error);
}

static enum km_status read_count(const struct km_yaml *section, const char *key, uint64_t most, uint32_t *out,
                                 struct km_error *error)
{
    const struct km_yaml *node = km_yaml_get(section, key);
    const struct km_range range = {.min = 1, .max = (double)most, .has_min = true, .has_max = true};
    uint64_t value;
    if (!node)
        return KM_OK;
    enum km_status status = km_settings_u64(node, &range, most, &value, error);
    if (status == KM_OK)
        *out = (uint32_t)value;
    return status;
}

static const struct km_range load_range = {.min = 1e-9, .max = 1e9, .has_min = true, .has_max = true};

static enum km_status read_load(const struct km_yaml *section, struct km_search *out, struct km_error *error)
{
    const struct km_yaml *scale = km_yaml_get(section, "rate_scale");
    const struct km_yaml *rate = km_yaml_get(section, "rate_per_s");
    enum km_status status = KM_OK;
    if (scale && rate)
        return km_yaml_fail_key(rate, error, "rate_scale already says what must be sustained");
    if (scale)
        status = km_settings_number(scale, &load_range, &out->rate_scale, error);
    if (rate)
        status = km_settings_number(rate, &load_range, &out->rate_per_s, error);
    return status;
}

enum km_status km_search_loads(const struct km_scenario *scenario, struct km_arena *arena, const char **key,
                               const char *const **values, uint32_t *count, struct km_error *error)
{
    static const char *const keys[] = {"search.rate_per_s", "search.rate_scale"};
    *count = 0;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const struct km_yaml *list = km_yaml_get(scenario->search, strchr(keys[k], '.') + 1);
        if (!list || list->kind != KM_YAML_SEQUENCE)
            continue;
        if (list->count == 0 || list->count > KM_SEARCH_LIMIT_LOADS)
            return km_yaml_fail(list, error, "expected 1 to %u loads", KM_SEARCH_LIMIT_LOADS);
        const char **texts = km_arena_alloc(arena, list->count * sizeof *texts);
        for (size_t i = 0; i < list->count; i++) {
            const struct km_yaml *item = list->items[i];
            double load;
            enum km_status status = km_settings_number(item, &load_range, &load, error);
            if (status != KM_OK)
                return status;
            texts[i] = km_arena_strdup(arena, item->text);
        }
        *key = keys[k];
        *values = texts;
        *count = (uint32_t)list->count;
        return KM_OK;
    }
    return KM_OK;
}

static bool is_within(const char *key, const char *section)
{
    size_t length = strlen(section);
    return strncmp(key, section, length) == 0 && (key[length] == '.' || key[length] == '\0');
}

static enum km_status check_axis(const struct km_axis *axis, struct km_error *error)
{
    static const char *const questions[] = {"workload", "slo",      "seed",     "search",
                                            "sweep",    "executor", "economics"};
    if (is_within(axis->key, "cluster.groups") || is_within(axis->key, "scaling"))
        return km_yaml_fail_key(axis->at, error,
                                "kingman plan compares clusters of equal replicas and a fixed size");
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        if (is_within(axis->key, questions[i]))
            return km_yaml_fail_key(axis->at, error,
                                    "part of the question, not of a plan; kingman sweep varies it");
    return KM_OK;
}

/* The size of the layout that the key names; NULL when it names none. */
static uint32_t *layout_size(struct km_layout *layout, const char *key)
{
    if (strcmp(key, "cluster.tensor_parallel_size") == 0)
        return &layout->tensor_parallel;
    if (strcmp(key, "cluster.pipeline_parallel_size") == 0)
        return &layout->pipeline_parallel;
    return NULL;
}

/* `divisors`: every size up to a node that the model can be split by, all else as in the scenario. Where the
 * model itself is an axis every size is tried, and each plan judged by its own model. */
static enum km_status expand_divisors(const struct km_scenario *scenario, bool model_varies,
                                      struct km_arena *arena, struct km_axis *axis, struct km_error *error)
{
    struct km_layout layout = km_scenario_layout(scenario);
    uint32_t *size = layout_size(&layout, axis->key), most = scenario->device.node.gpus_per_node, count = 0;
    if (!size)
        return km_yaml_fail(axis->at, error,
                            "divisors are those of tensor_parallel_size or pipeline_parallel_size");
    const char **values = km_arena_alloc(arena, most * sizeof *values);
    struct km_layout_problem problem;
    for (*size = 1; *size <= most; ++*size)
        if (model_varies || km_layout_possible(&scenario->model, &layout, &problem))
            values[count++] = km_arena_printf(arena, "%u", *size);
    if (count == 0)
        return km_yaml_fail(axis->at, error, "%s cannot be split by any size up to a node of %u",
                            scenario->model.name, most);
    axis->values = values;
    axis->count = count;
    return KM_OK;
}

static enum km_status read_axes(const struct km_scenario *scenario, struct km_arena *arena,
                                struct km_search *out, struct km_error *error)
{
    const struct km_yaml *section = scenario->search;
    enum km_status status = km_axes_read(section, reserved, arena, &out->axes, error);
    if (status != KM_OK)
        return status;
    struct km_axis *axes = km_arena_alloc(arena, (out->axes.count + 1) * sizeof *axes);
    bool model_varies = km_yaml_get(section, "model") != NULL;
    out->axes.points = 1;
    out->replicas_free = true;
    for (uint32_t i = 0; status == KM_OK && i < out->axes.count; i++) {
        axes[i] = out->axes.axes[i];
        status = check_axis(&axes[i], error);
        if (status == KM_OK && axes[i].count == 1 && strcmp(axes[i].values[0], "divisors") == 0)
            status = expand_divisors(scenario, model_varies, arena, &axes[i], error);
        if (strcmp(axes[i].key, "cluster.replicas") == 0)
            out->replicas_free = false;
        out->axes.points *= axes[i].count;
        if (status == KM_OK && out->axes.points > KM_SEARCH_LIMIT_POINTS)
            status = km_yaml_fail(section, error, "spans more than %u plans", KM_SEARCH_LIMIT_POINTS);
    }
    out->axes.axes = axes;
    return status;
}

enum km_status km_search_read(const struct km_scenario *scenario, struct km_arena *arena,
                              struct km_search *out, struct km_error *error)
{
    const struct km_yaml *section = scenario->search;
    *out = (struct km_search){
        .objective = KM_OBJECTIVE_USD_PER_HOUR, .max_gpus = 16, .rate_scale = 1.0, .top = 5};
    const struct km_yaml *rent = km_yaml_get(section, "rent");
    const struct km_yaml *objective = km_yaml_get(section, "objective");
    enum km_status status = objective ? read_objective(objective, &out->objective, error) : KM_OK;
    if (status == KM_OK && rent)
        status = read_rent(rent, &out->rent_nodes, error);
    if (status == KM_OK)
        status = read_count(section, "max_gpus", 65536, &out->max_gpus, error);
    if (status == KM_OK)
        status = read_count(section, "top", KM_SEARCH_LIMIT_POINTS, &out->top, error);
    if (status == KM_OK)
        status = read_load(section, out, error);
    return status == KM_OK ? read_axes(scenario, arena, out, error) : status;
}
