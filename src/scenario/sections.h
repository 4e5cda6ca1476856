/* Readers and writers of the scenario's sections that a plain table cannot express; private to this folder
 * and its tests. They are custom hooks of base/settings.h: `field` is what the comment says. */
#ifndef KM_SCENARIO_SECTIONS_H
#define KM_SCENARIO_SECTIONS_H

#include "base/settings.h"
#include "scenario/scenario.h"

/* Longest time a scenario may state (KM_PS_LIMIT rounded down: 53 days). */
#define KM_TIME_LIMIT_S 4.6e6

/* What a scenario says before its sections are read. */
extern const struct km_scenario km_scenario_defaults;

/* A distribution: a number (constant) or {distribution: name, parameters...}. `file:` is refused when the
 * context has no folder. */
extern const struct km_setting km_distribution_settings[];
enum km_status km_distribution_read(const struct km_yaml *value, bool tokens, struct km_distribution *out,
                                    const struct km_settings_context *context, struct km_error *error);
void km_distribution_write(const struct km_distribution *distribution, struct km_text *out);

/* struct km_workload_settings; the table reads single keys, check() what they mean together. */
extern const struct km_setting km_workload_section[];
enum km_status km_workload_section_check(const struct km_yaml *mapping, struct km_workload_settings *workload,
                                         struct km_error *error);

/* struct km_scenario: slo[] and slo_count. */
enum km_status km_slo_read(const struct km_yaml *value, void *field,
                           const struct km_settings_context *context, struct km_error *error);
void km_slo_write(const void *field, struct km_text *out);

/* struct km_precision. follow(): weights that are stated draw along what is not: the mixers' weights, and,
 * when they are 16 or 32 bits wide, activations, embeddings and a cache that is as wide. `served` is the
 * precision before reading, `stated` the section or NULL. */
extern const struct km_setting km_precision_section[];
/* Weight-only quantisation where the device has no products in the format of a checkpoint in fp8 or four bits of
 * float: true, with wider activations. */
bool km_precision_widen(const struct km_device *device, struct km_precision *precision);
void km_precision_follow(const struct km_yaml *stated, const struct km_precision *served,
                         struct km_precision *precision);

/* struct km_scenario: cluster, device_name and the device's node. */
extern const struct km_setting km_cluster_section[];
/* struct km_scenario: cost model, linear law, profile, time scale. */
extern const struct km_setting km_cost_section[];
/* One tree for each of `cluster.groups`: the scenario with the group's keys laid over it, and no groups. They
 * live in `arena`; *count is 0 when there are no groups. */
enum km_status km_cluster_split(const struct km_yaml *root, struct km_arena *arena, struct km_yaml ***trees,
                                uint32_t *count, struct km_error *error);
/* What holds for all groups together. */
enum km_status km_cluster_check(const struct km_yaml *root, const struct km_scenario *scenario,
                                struct km_error *error);

/* struct km_scenario: executor and executor_settings. */
enum km_status km_executor_section_read(const struct km_yaml *value, void *field,
                                        const struct km_settings_context *context, struct km_error *error);
void km_executor_section_write(const void *field, struct km_text *out);

/* struct km_prediction; not written where nothing is predicted. */
extern const struct km_setting km_prediction_section[];
bool km_prediction_absent(const void *field);

extern const struct km_setting km_scaling_section[];
/* struct km_scenario.scaling; absent or null: a fleet of fixed size. */
enum km_status km_scaling_read(const struct km_yaml *value, void *field,
                               const struct km_settings_context *context, struct km_error *error);
void km_scaling_write(const void *field, struct km_text *out);
/* What the section means together, and with the groups. */
enum km_status km_scaling_check(const struct km_yaml *root, const struct km_scenario *scenario,
                                struct km_error *error);

/* Can the device multiply the formats? */
enum km_status km_precision_check(const struct km_yaml *root, const struct km_scenario *scenario,
                                  struct km_error *error);
/* Can the model be laid out so, and the device multiply its formats? */
enum km_status km_plan_check(const struct km_yaml *root, const struct km_scenario *scenario,
                             struct km_error *error);

/* Refuse the setting at the dotted path `key`: at its place if it is given, else at the nearest section that
 * is. */
enum km_status km_scenario_refuse(const struct km_yaml *root, const char *key, struct km_error *error,
                                  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* engine_defaults.c; `engine` as read, `model` and `device` known. */
enum km_status km_scenario_apply_defaults(const struct km_yaml *root, struct km_scenario *scenario,
                                          struct km_error *error);

/* Everything but looking up model, device and engine, whose values are the defaults already in `scenario`.
 * With a context without a folder no file is touched. */
enum km_status km_scenario_read_sections(const struct km_yaml *root, struct km_scenario *scenario,
                                         const struct km_settings_context *context, struct km_error *error);

#endif
