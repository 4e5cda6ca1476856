#include "scenario/scenario.h"

#include "batching/batching.h"
#include "cost/cost.h"
#include "engine/flags.h"
#include "executor/executor.h"
#include "kv/kv.h"
#include "scenario/lookup.h"
#include "scenario/profile_choice.h"
#include "scenario/sections.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_ENGINE "vllm-0.26"

/* --- tables -------------------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct km_scenario, member)

/* A section that others read: kept as it stands. */
static enum km_status keep_section(const struct km_yaml *value, void *field,
                                   const struct km_settings_context *context, struct km_error *error)
{
    (void)context;
    if (value->kind != KM_YAML_MAPPING)
        return km_yaml_fail(value, error, "expected a mapping");
    *(const struct km_yaml **)field = value;
    return KM_OK;
}

static const struct km_setting root_section[] = {
    {"model", KM_SETTING_STRING, AT(model_name),
     .doc = "an LLM (kingman list models) or the path of a config.json"},
    {"cluster", KM_SETTING_SECTION, 0, .table = km_cluster_section, .doc = "what it runs on"},
    {"precision", KM_SETTING_SECTION, AT(precision), .table = km_precision_section, .optional = true,
     .doc = "number formats; the checkpoint's by default"},
    {"engine", KM_SETTING_SECTION, AT(engine), .table = km_engine_settings, .optional = true, .partial = true,
     .doc = "an engine description and what to change in it"},
    {"cost", KM_SETTING_SECTION, 0, .table = km_cost_section, .optional = true, .doc = "cost model"},
    {"workload", KM_SETTING_SECTION, AT(workload), .table = km_workload_section, .doc = "the requests"},
    {"prediction", KM_SETTING_SECTION, AT(prediction), .table = km_prediction_section, .optional = true,
     .absent = km_prediction_absent, .doc = "what is predicted of a request when it arrives"},
    {"executor", KM_SETTING_CUSTOM, 0, .optional = true, .read = km_executor_section_read,
     .write = km_executor_section_write,
     .doc = "what runs a step: a name, or {name: ..., and its own settings}"},
    {"autoscaling", KM_SETTING_CUSTOM, AT(scaling), .optional = true, .read = km_scaling_read,
     .write = km_scaling_write, .table = km_scaling_section,
     .doc = "replicas that come and go; null = a fleet of fixed size"},
    {"slo", KM_SETTING_CUSTOM, 0, .optional = true, .read = km_slo_read, .write = km_slo_write,
     .doc =
         "targets: <metric>_<mean or percentile>_s, min_goodput_per_s, deadline_s; classes: {name: {...}}"},
    {"economics", KM_SETTING_SECTION, AT(economics), .table = km_economics_section, .optional = true,
     .doc = "prices, power of the site, carbon"},
    {"search", KM_SETTING_CUSTOM, AT(search), .optional = true, .read = keep_section,
     .doc = "kingman plan: keys and the values to choose from"},
    {"sweep", KM_SETTING_CUSTOM, AT(sweep), .optional = true, .read = keep_section,
     .doc = "kingman sweep: keys and the values to go through"},
    {"seed", KM_SETTING_U64, AT(seed), .optional = true, .doc = "of every random stream"},
    {0},
};

/* --- checks -------------------------------------------------------------------------------------------- */

/* A name the engine table keeps as text: from the scenario or from the engine description. */
static enum km_status check_choice(const struct km_yaml *root, const char *section, const char *key,
                                   const char **name, const struct km_entry *const *registry,
                                   const char *engine, struct km_error *error)
{
    const struct km_entry *entry = km_registry_find(registry, *name);
    if (entry) {
        *name = entry->name;
        return KM_OK;
    }
    const struct km_yaml *value = km_yaml_get(km_yaml_get(km_yaml_get(root, "engine"), section), key);
    if (value)
        return km_settings_check_name(value, registry, error);
    return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "engine %s: %s.%s: unknown name \"%s\"", engine, section,
                   key, *name);
}

/* What is stated for the policy alone, by its own table. */
static enum km_status read_policy_settings(const struct km_batching_policy *policy,
                                           struct km_policy_settings *out,
                                           const struct km_settings_context *context, struct km_error *error)
{
    out->table = policy->settings;
    if (!policy->settings)
        return out->stated
                   ? km_yaml_fail(out->stated, error, "%s has no settings of its own", policy->entry.name)
                   : KM_OK;
    void *values = km_arena_alloc(context->arena, policy->settings_bytes);
    memcpy(values, policy->defaults, policy->settings_bytes);
    out->values = values;
    return out->stated ? km_settings_read(out->stated, policy->settings, KM_SETTINGS_WHOLE, values, NULL,
                                          context, error)
                       : KM_OK;
}

static enum km_status check_engine(const struct km_yaml *root, struct km_scenario *s,
                                   const struct km_settings_context *context, struct km_error *error)
{
    struct km_engine *e = &s->engine;
    enum km_status status =
        check_choice(root, "batching", "policy", &e->policy, km_batching_registry, e->name, error);
    if (status == KM_OK)
        status = check_choice(root, "kv", "manager", &e->kv_manager, km_kv_registry, e->name, error);
    if (status == KM_OK)
        status = km_scenario_apply_defaults(root, s, error);
    if (status != KM_OK)
        return status;
    /* As in vLLM, prefix caching is a setting of the paged cache. Who names another manager gets that one. */
    if (e->enable_prefix_caching && strcmp(e->kv_manager, "paged") == 0)
        e->kv_manager = "prefix";
    e->enable_prefix_caching = strcmp(e->kv_manager, "prefix") == 0;
    const struct km_batching_policy *policy = km_batching_find(e->policy);
    status = read_policy_settings(policy, &e->policy_settings, context, error);
    if (status != KM_OK)
        return status;
    bool one_size = policy && policy->traits & KM_BATCHING_ONE_SIZE;
    if (one_size && e->batch_size == 0)
        return km_scenario_refuse(root, "engine.batching.policy", error, "%s needs batch_size", e->policy);
    if (one_size && e->batch_size > e->max_num_seqs)
        return km_scenario_refuse(root, "engine.batching.batch_size", error,
                                  "%u is more than max_num_seqs, %u", e->batch_size, e->max_num_seqs);
    if (policy && policy->traits & KM_BATCHING_BY_LENGTH && !km_prediction_predicts(&s->prediction))
        return km_scenario_refuse(root, "engine.batching.policy", error, "%s needs prediction.output_tokens",
                                  e->policy);
    if (e->max_num_batched_tokens < e->max_num_seqs) /* as vLLM's SchedulerConfig */
        return km_scenario_refuse(root, "engine.batching.max_num_batched_tokens", error,
                                  "%u is less than max_num_seqs, %u", e->max_num_batched_tokens,
                                  e->max_num_seqs);
    return KM_OK;
}

/* What needs the model, too; as vLLM's SchedulerConfig and ModelConfig. */
static enum km_status check_lengths(const struct km_yaml *root, struct km_scenario *s, struct km_error *error)
{
    struct km_engine *e = &s->engine;
    uint32_t positions = s->model.max_position_embeddings;
    if (e->max_model_len > positions)
        return km_scenario_refuse(root, "engine.max_model_len", error,
                                  "%u is more than the max_position_embeddings of %s, %u", e->max_model_len,
                                  s->model.name, positions);
    if (e->max_model_len == 0)
        e->max_model_len = positions;
    if (!e->disable_hybrid_kv_cache_manager) {
        const struct km_layout layout = km_scenario_layout(s);
        e->block_size = km_kv_block_size(&s->model, &s->precision, &layout, e->block_size);
    }
    if (!e->enable_chunked_prefill && e->max_num_batched_tokens < e->max_model_len)
        return km_scenario_refuse(root, "engine.batching.max_num_batched_tokens", error,
                                  "without chunked prefill, %u is too little for max_model_len, %u",
                                  e->max_num_batched_tokens, e->max_model_len);
    if (e->long_prefill_token_threshold > e->max_model_len)
        return km_scenario_refuse(root, "engine.batching.long_prefill_token_threshold", error,
                                  "%u is more than max_model_len, %u", e->long_prefill_token_threshold,
                                  e->max_model_len);
    return KM_OK;
}

/* --- reading ------------------------------------------------------------------------------------------- */

enum km_status km_scenario_read_sections(const struct km_yaml *root, struct km_scenario *scenario,
                                         const struct km_settings_context *context, struct km_error *error)
{
    const struct km_precision served = scenario->precision;
    enum km_status status =
        km_settings_read(root, root_section, KM_SETTINGS_WHOLE, scenario, NULL, context, error);
    if (status == KM_OK)
        km_precision_follow(km_yaml_get(root, "precision"), &served, &scenario->precision);
    if (status == KM_OK)
        status = km_workload_section_check(km_yaml_get(root, "workload"), &scenario->workload, error);
    if (status == KM_OK)
        status = km_engine_check_frontend(km_yaml_get(root, "engine"), error);
    if (status == KM_OK)
        status = check_engine(root, scenario, context, error);
    return status;
}

/* km_lookup(), and a path stays the one found: it is relative to the scenario's folder, the resolved scenario
 * may lie elsewhere. */
static enum km_status find(enum km_lookup_kind kind, struct km_yaml *value,
                           const struct km_settings_context *context, const char **path,
                           struct km_error *error)
{
    enum km_status status = km_lookup(kind, value, context->folder, context->arena, path, error);
    if (status == KM_OK && km_lookup_is_path(kind, value->text))
        value->text = *path;
    return status;
}

/* The three descriptions behind the names; the sections override what they say. */
static enum km_status read_descriptions(const struct km_yaml *root, struct km_scenario *s,
                                        const struct km_settings_context *context, struct km_error *error)
{
    struct km_yaml *model = km_yaml_get(root, "model"), *cluster = km_yaml_get(root, "cluster");
    struct km_yaml *device = km_yaml_get(cluster, "device");
    struct km_yaml *engine = km_yaml_get(km_yaml_get(root, "engine"), "name");
    const char *path;
    if (!model)
        return km_yaml_fail_missing(root, "model", error);
    if (!cluster)
        return km_yaml_fail_missing(root, "cluster", error);
    if (!device)
        return km_yaml_fail_missing(cluster, "device", error);
    enum km_status status = find(KM_LOOKUP_MODEL, model, context, &path, error);
    if (status == KM_OK)
        status = km_model_read(path, context->arena, &s->model, error);
    if (status == KM_OK)
        status = find(KM_LOOKUP_DEVICE, device, context, &path, error);
    if (status == KM_OK)
        status = km_device_read(path, context->arena, &s->device, error);
    if (status != KM_OK)
        return status;
    if (engine) {
        status = find(KM_LOOKUP_ENGINE, engine, context, &path, error);
    } else {
        path = km_lookup_find(KM_LOOKUP_ENGINE, DEFAULT_ENGINE, context->folder, context->arena);
        if (!path)
            return km_yaml_fail(root, error, "cannot find the default engine description, " DEFAULT_ENGINE);
    }
    if (status == KM_OK)
        status = km_engine_read(path, context->arena, &s->engine, error);
    return status;
}

/* A named profile, or the device's best for the engine when the cost model wants one; without any, roofline.
 */
static enum km_status find_profile(const struct km_yaml *root, struct km_scenario *s,
                                   const struct km_settings_context *context, struct km_error *error)
{
    const struct km_yaml *named = km_yaml_get(km_yaml_get(root, "cost"), "profile");
    if (s->profile)
        return km_lookup(KM_LOOKUP_PROFILE, named, context->folder, context->arena, &s->profile, error);
    if (strcmp(s->cost_model, "profile") != 0)
        return KM_OK;
    enum km_status status =
        km_profile_choose(s->device.name, s->engine.name, context->arena, &s->profile, error);
    s->no_profile = status == KM_OK && !s->profile;
    if (s->no_profile)
        s->cost_model = "roofline";
    return status;
}

/* A token's experts differ. */
static enum km_status check_experts(const struct km_yaml *root, const struct km_scenario *s,
                                    struct km_error *error)
{
    const uint32_t distinct = s->model.distinct_experts;
    bool any = false;
    for (uint32_t i = 0; distinct && i < s->model.layer_count; i++) {
        const struct km_layer *layer = &s->model.layers[i];
        if (layer->mlp != KM_MLP_MOE)
            continue;
        any = true;
        if (distinct < layer->experts_per_token || distinct > layer->experts)
            return km_scenario_refuse(
                root, "cost.distinct_experts", error,
                "%u is not between the %u experts of a token and the %u of a layer of %s", distinct,
                layer->experts_per_token, layer->experts, s->model.name);
    }
    if (distinct && !any)
        return km_scenario_refuse(root, "cost.distinct_experts", error, "%s has no routed experts",
                                  s->model.name);
    return KM_OK;
}

static enum km_status check_linear(const struct km_yaml *root, const struct km_scenario *s,
                                   struct km_error *error)
{
    const struct km_linear_law *law = &s->linear;
    bool stated = law->k1 > 0 || law->k2 > 0 || law->k3 > 0 || law->k4 > 0;
    bool wanted = strcmp(s->cost_model, "linear") == 0;
    if (wanted && !stated)
        return km_scenario_refuse(root, "cost.model", error, "linear needs k1, k2, k3 or k4 above 0");
    if (!wanted && stated)
        return km_scenario_refuse(root, "cost.model", error, "k1 to k4 belong to linear, not to %s",
                                  s->cost_model);
    return KM_OK;
}

const struct km_scenario km_scenario_defaults = {
    .cluster = {.replicas = 1,
                .tensor_parallel_size = 1,
                .pipeline_parallel_size = 1,
                .data_parallel_size = 1,
                .prefill_context_parallel_size = 1,
                .decode_context_parallel_size = 1,
                .kv_parallel_size = 1,
                .router = "round_robin"},
    .cost_model = "roofline",
    .time_scale = 1,
    .time_error = -1,
    .economics = KM_ECONOMICS_DEFAULTS,
    .executor = "simulated",
    .workload = {.process = KM_ARRIVAL_TRACE,
                 .rate_scale = 1,
                 .bootstrap_length = 1,
                 .prompt_tokens_scale = 1,
                 .output_tokens_scale = 1},
    .seed = 1,
};

/* A scenario with replicas of one kind. */
static enum km_status read_tree(const struct km_yaml *root, struct km_scenario *s,
                                const struct km_settings_context *context, struct km_error *error)
{
    enum km_status status = read_descriptions(root, s, context, error);
    if (status != KM_OK)
        return status;
    s->precision = km_precision_served(&s->model.precision);
    s->weight_only = km_precision_widen(&s->device, &s->precision);
    const struct km_precision widened = s->precision;
    status = km_scenario_read_sections(root, s, context, error);
    s->weight_only = s->weight_only && s->precision.weights == widened.weights &&
                     s->precision.activations == widened.activations;
    if (status == KM_OK)
        status = check_lengths(root, s, error);
    if (status == KM_OK)
        status = km_plan_check(root, s, error);
    if (status == KM_OK)
        status = check_experts(root, s, error);
    if (status == KM_OK)
        status = check_linear(root, s, error);
    if (status == KM_OK)
        status = find_profile(root, s, context, error);
    return status;
}

/* The scenario of all groups is that of the first, and knows them all. */
static enum km_status read_groups(struct km_yaml *const *trees, uint32_t count, struct km_scenario *s,
                                  const struct km_settings_context *context, struct km_error *error)
{
    s->groups = km_arena_alloc(&s->arena, count * sizeof *s->groups);
    enum km_status status = KM_OK;
    for (uint32_t i = 0; status == KM_OK && i < count; i++) {
        s->groups[i] = km_scenario_defaults;
        s->groups[i].path = s->path;
        status = read_tree(trees[i], &s->groups[i], context, error);
    }
    if (status != KM_OK)
        return status;
    struct km_scenario whole = s->groups[0];
    whole.arena = s->arena;
    whole.groups = s->groups;
    whole.group_count = count;
    *s = whole;
    return KM_OK;
}

enum km_status km_scenario_override(struct km_yaml *root, const struct km_override *override,
                                    struct km_arena *arena, struct km_error *error)
{
    static const char *const sections[] = {"sweep", "search"};
    const char *label = km_arena_printf(arena, "--set %s=%s", override->key, override->value);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        size_t length = strlen(sections[i]);
        if (strncmp(override->key, sections[i], length) != 0 || override->key[length] != '.')
            continue;
        struct km_yaml *section = km_yaml_get(root, sections[i]);
        enum km_status status = KM_OK;
        if (!section || km_yaml_is_null(section)) {
            status = km_yaml_set(root, sections[i], "{}", label, arena, error);
            section = km_yaml_get(root, sections[i]);
        }
        return status == KM_OK
                   ? km_yaml_set(section, override->key + length + 1, override->value, label, arena, error)
                   : status;
    }
    return km_yaml_override(root, override->key, override->value, label, arena, error);
}

static enum km_status read_file(const char *path, const struct km_override *overrides, size_t override_count,
                                struct km_scenario *s, struct km_error *error)
{
    const struct km_settings_context context = {.arena = &s->arena,
                                                .folder = km_lookup_folder(path, &s->arena),
                                                .explain_unknown = km_engine_flag_explain};
    struct km_yaml *root, **trees;
    uint32_t groups = 0;
    enum km_status status = km_yaml_read(path, &s->arena, &root, error);
    if (status == KM_OK && root->kind != KM_YAML_MAPPING)
        status = km_yaml_fail(root, error, "expected a mapping with model, cluster, workload");
    for (size_t i = 0; status == KM_OK && i < override_count; i++)
        status = km_scenario_override(root, &overrides[i], &s->arena, error);
    if (status == KM_OK)
        status = km_cluster_split(root, &s->arena, &trees, &groups, error);
    if (status == KM_OK)
        status =
            groups ? read_groups(trees, groups, s, &context, error) : read_tree(root, s, &context, error);
    if (status == KM_OK)
        status = km_cluster_check(root, s, error);
    if (status == KM_OK)
        status = km_scaling_check(root, s, error);
    return status;
}

enum km_status km_scenario_read(const char *path, const struct km_override *overrides, size_t override_count,
                                struct km_scenario *out, struct km_error *error)
{
    *out = km_scenario_defaults;
    out->path = km_arena_strdup(&out->arena, path);
    enum km_status status = read_file(path, overrides, override_count, out, error);
    if (status != KM_OK)
        km_scenario_release(out);
    return status;
}

void km_scenario_release(struct km_scenario *scenario)
{
    km_arena_release(&scenario->arena);
    *scenario = (struct km_scenario){0};
}

const char *km_scenario_cost_name(const struct km_scenario *scenario, struct km_arena *arena)
{
    if (strcmp(scenario->cost_model, "profile") != 0)
        return scenario->cost_model;
    const char *slash = strrchr(scenario->profile, '/');
    const char *file = slash ? slash + 1 : scenario->profile, *dot = strrchr(file, '.');
    return km_arena_printf(arena, "profile %.*s", dot ? (int)(dot - file) : (int)strlen(file), file);
}

void km_scenario_share_profiles(struct km_scenario *scenario, struct km_profile_store *store)
{
    scenario->profiles = store;
    for (uint32_t i = 0; i < scenario->group_count; i++)
        scenario->groups[i].profiles = store;
}

void km_scenario_write_json(const struct km_scenario *scenario, struct km_text *out)
{
    km_settings_write_json(root_section, scenario, out);
}

void km_scenario_list_settings(struct km_text *out)
{
    km_settings_list(root_section, "", out);
}
