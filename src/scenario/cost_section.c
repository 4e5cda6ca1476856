#include "cost/cost.h"
#include "scenario/sections.h"

#include <stddef.h>

#define AT(member) offsetof(struct km_scenario, member)

/* null = -1: not stated */
static enum km_status read_time_error(const struct km_yaml *value, void *field,
                                      const struct km_settings_context *context, struct km_error *error)
{
    static const struct km_range range = {.min = 0, .max = 0.9, .has_min = true, .has_max = true};
    (void)context;
    double *time_error = field;
    *time_error = -1;
    return km_yaml_is_null(value) ? KM_OK : km_settings_number(value, &range, time_error, error);
}

static void write_time_error(const void *field, struct km_text *out)
{
    const double *time_error = field;
    if (*time_error < 0)
        km_text_puts(out, "null");
    else
        km_settings_write_number(*time_error, out);
}

static const char *const power_states[] = {
    [KM_POWER_AUTO] = "auto", [KM_POWER_BURST] = "burst", [KM_POWER_SUSTAINED] = "sustained", NULL};

const struct km_setting km_cost_section[] = {
    {"model", KM_SETTING_CHOICE, AT(cost_model), .registry = km_cost_registry, .optional = true,
     .doc = "time of a step"},
    {"k1", KM_SETTING_NUMBER, AT(linear.k1), KM_LIMITS(0, KM_TIME_LIMIT_S, km_scales_micro), .optional = true,
     .doc = "linear: seconds a request"},
    {"k2", KM_SETTING_NUMBER, AT(linear.k2), KM_LIMITS(0, KM_TIME_LIMIT_S, km_scales_micro), .optional = true,
     .doc = "linear: seconds a batch"},
    {"k3", KM_SETTING_NUMBER, AT(linear.k3), KM_LIMITS(0, KM_TIME_LIMIT_S, km_scales_micro), .optional = true,
     .doc = "linear: seconds a request and output token"},
    {"k4", KM_SETTING_NUMBER, AT(linear.k4), KM_LIMITS(0, KM_TIME_LIMIT_S, km_scales_micro), .optional = true,
     .doc = "linear: seconds a batch and output token"},
    {"profile", KM_SETTING_STRING, AT(profile), .optional = true, .nullable = true,
     .doc = "a measured profile (kingman list profiles) or its path; null = the device's, of the engine if "
            "there is "
            "one; without any, roofline"},
    {"power_state", KM_SETTING_ENUM, AT(power_state), .names = power_states, .optional = true,
     .doc = "do products bound by arithmetic slow down under a power limit? auto = with the device's recent "
            "work"},
    {"distinct_experts", KM_SETTING_U32, AT(model.distinct_experts), KM_AT_LEAST(0), .optional = true,
     .nullable = true,
     .doc = "a layer's routed experts among which tokens choose, if not among all of them alike (null)"},
    {"time_scale", KM_SETTING_NUMBER, AT(time_scale), KM_BETWEEN(1e-3, 1e3), .optional = true,
     .doc = "what if every step, the host's part included, took so many times as long?"},
    {"time_error", KM_SETTING_CUSTOM, AT(time_error), .optional = true, .read = read_time_error,
     .write = write_time_error,
     .doc = "relative error of step times, for the planner's second interval; null = as validated"},
    {0},
};
