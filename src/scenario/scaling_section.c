/* The section `autoscaling`. */
#include "scaling/scaling.h"
#include "scenario/sections.h"

#include <stddef.h>
#include <stdio.h>

#define MOST_SCALED  4096 /* replicas of a group that comes and goes */
#define MOST_ENTRIES 1024

static const char *const metrics[] = {"sequences", "kv_cache", "busy", NULL}; /* enum km_scaling_metric */

#define ENTRY(member) offsetof(struct km_schedule_entry, member)
static const struct km_setting entry_settings[] = {
    {"at_s", KM_SETTING_NUMBER, ENTRY(at_s), KM_BETWEEN(0, KM_TIME_LIMIT_S),
     .doc = "from the first arrival, or from the beginning of a period"},
    {"replicas", KM_SETTING_U32, ENTRY(replicas), KM_BETWEEN(1, MOST_SCALED), .doc = "from then on"},
    {0},
};

static enum km_status read_schedule(const struct km_yaml *value, void *field,
                                    const struct km_settings_context *context, struct km_error *error)
{
    struct km_scaling_settings *s = field;
    s->schedule = NULL;
    s->schedule_count = 0;
    if (km_yaml_is_null(value))
        return KM_OK;
    if (value->kind != KM_YAML_SEQUENCE || value->count == 0)
        return km_yaml_fail(value, error, "expected a list of {at_s, replicas}");
    if (value->count > MOST_ENTRIES)
        return km_yaml_fail(value, error, "more than %d entries", MOST_ENTRIES);
    struct km_schedule_entry *entries = km_arena_alloc(context->arena, value->count * sizeof *entries);
    for (size_t i = 0; i < value->count; i++) {
        enum km_status status = km_settings_read(value->items[i], entry_settings, KM_SETTINGS_WHOLE,
                                                 &entries[i], NULL, context, error);
        if (status != KM_OK)
            return status;
    }
    s->schedule = entries;
    s->schedule_count = (uint32_t)value->count;
    return KM_OK;
}

static void write_schedule(const void *field, struct km_text *out)
{
    const struct km_scaling_settings *s = field;
    if (s->schedule_count == 0)
        km_text_puts(out, "null");
    for (uint32_t i = 0; i < s->schedule_count; i++) {
        km_text_puts(out, i == 0 ? "[" : ", ");
        km_settings_write_json(entry_settings, &s->schedule[i], out);
        if (i + 1 == s->schedule_count)
            km_text_puts(out, "]");
    }
}

#define AT(member) offsetof(struct km_scaling_settings, member)
const struct km_setting km_scaling_section[] = {
    {"policy", KM_SETTING_CHOICE, AT(policy), .registry = km_scaling_registry,
     .doc = "what decides how many replicas there are"},
    {"group", KM_SETTING_U32, AT(group), .optional = true,
     .doc = "whose replicas: position in cluster.groups, from 0"},
    {"min_replicas", KM_SETTING_U32, AT(min_replicas), KM_BETWEEN(1, MOST_SCALED), .optional = true,
     .doc = "never fewer that serve or start"},
    {"max_replicas", KM_SETTING_U32, AT(max_replicas), KM_BETWEEN(1, MOST_SCALED),
     .doc = "never more that serve or start"},
    {"startup_s", KM_SETTING_NUMBER, AT(startup_s), KM_BETWEEN(0, KM_TIME_LIMIT_S),
     .doc = "from the order to the first request a new replica takes; it is paid all the time"},
    {"interval_s", KM_SETTING_NUMBER, AT(interval_s), KM_BETWEEN(1e-3, KM_TIME_LIMIT_S), .optional = true,
     .doc = "between looks at the fleet"},
    {"scale_down_delay_s", KM_SETTING_NUMBER, AT(scale_down_delay_s), KM_BETWEEN(0, KM_TIME_LIMIT_S),
     .optional = true, .doc = "never fewer than were wanted at any look in so long"},
    {"tolerance", KM_SETTING_NUMBER, AT(tolerance), KM_BETWEEN(0, 1), .optional = true,
     .doc = "deviation from the target, as a share, that changes nothing"},
    {"target_requests", KM_SETTING_NUMBER, AT(target_requests), KM_BETWEEN(1e-3, 1e6), .optional = true,
     .nullable = true, .doc = "target_queue: requests a replica, waiting and running"},
    {"waiting_only", KM_SETTING_BOOL, AT(waiting_only), .optional = true,
     .doc = "target_queue: count only those that wait"},
    {"target_utilization", KM_SETTING_NUMBER, AT(target_utilization), KM_BETWEEN(1e-3, 1), .optional = true,
     .nullable = true, .doc = "target_utilization: share in use"},
    {"metric", KM_SETTING_ENUM, AT(metric), .names = metrics, .optional = true,
     .doc = "target_utilization: of max_num_seqs, of the KV cache, or of the time"},
    {"target_tokens_per_s", KM_SETTING_NUMBER, AT(target_tokens_per_s), KM_BETWEEN(1e-3, 1e9),
     .optional = true, .nullable = true, .doc = "predictive: tokens of prompts and outputs, a replica"},
    {"level_smoothing", KM_SETTING_NUMBER, AT(level_smoothing), KM_ABOVE_UP_TO(0, 1), .optional = true,
     .doc = "predictive: weight of the latest rate in the level"},
    {"trend_smoothing", KM_SETTING_NUMBER, AT(trend_smoothing), KM_BETWEEN(0, 1), .optional = true,
     .doc = "predictive: weight of the latest change in the trend"},
    {"schedule", KM_SETTING_CUSTOM, 0, .optional = true, .read = read_schedule, .write = write_schedule,
     .table = entry_settings, .doc = "schedule: a list of {at_s, replicas}"},
    {"period_s", KM_SETTING_NUMBER, AT(period_s), KM_ABOVE_UP_TO(0, KM_TIME_LIMIT_S), .optional = true,
     .nullable = true, .doc = "schedule: begin again after so long; null = never"},
    {0},
};

enum km_status km_scaling_read(const struct km_yaml *value, void *field,
                               const struct km_settings_context *context, struct km_error *error)
{
    struct km_scaling_settings *s = field;
    if (km_yaml_is_null(value))
        return KM_OK;
    *s = (struct km_scaling_settings){.min_replicas = 1,
                                      .interval_s = 15.0,
                                      .scale_down_delay_s = 300.0,
                                      .tolerance = 0.1,
                                      .level_smoothing = 0.2,
                                      .trend_smoothing = 0.05};
    return km_settings_read(value, km_scaling_section, KM_SETTINGS_WHOLE, s, NULL, context, error);
}

void km_scaling_write(const void *field, struct km_text *out)
{
    const struct km_scaling_settings *s = field;
    if (s->policy)
        km_settings_write_json(km_scaling_section, s, out);
    else
        km_text_puts(out, "null");
}

enum km_status km_scaling_check(const struct km_yaml *root, const struct km_scenario *scenario,
                                struct km_error *error)
{
    const struct km_scaling_settings *s = &scenario->scaling;
    const char *key;
    char path[64];
    if (!s->policy)
        return KM_OK;
    const char *problem = km_scaling_problem(s, &key);
    snprintf(path, sizeof path, "autoscaling.%s", key);
    if (problem)
        return km_scenario_refuse(root, path, error, "%s", problem);
    uint32_t groups = km_scenario_group_count(scenario);
    if (groups > 1 && !km_yaml_get(km_yaml_get(root, "autoscaling"), "group"))
        return km_scenario_refuse(root, "autoscaling.group", error, "needed where there are several groups");
    if (s->group >= groups)
        return km_scenario_refuse(root, "autoscaling.group", error, "%u is none of the %u, counted from 0",
                                  s->group, groups);
    uint32_t replicas = km_scenario_group(scenario, s->group)->cluster.replicas;
    if (replicas < s->min_replicas || replicas > s->max_replicas)
        return km_scenario_refuse(root, "autoscaling", error,
                                  "the fleet begins with %u replicas; expected min_replicas to max_replicas, "
                                  "%u to %u",
                                  replicas, s->min_replicas, s->max_replicas);
    return KM_OK;
}
