/* What a scenario runs on: devices, layouts, replicas, the router, and groups of replicas that differ. */
#include "routing/routing.h"
#include "scenario/sections.h"
#include "sim/simulation.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define AT(member) offsetof(struct km_scenario, member)

static const char *const context_methods[] = {"ring", "ulysses", NULL}; /* enum km_context_method */

/* Replicas of one kind: keys of `cluster` and of each of its groups. */
#define REPLICA_SETTINGS                                                                                     \
    {"device", KM_SETTING_STRING, AT(device_name),                                                           \
     .doc = "a device description (kingman list devices) or its path"},                                      \
        {"replicas",           KM_SETTING_U32,                                                               \
         AT(cluster.replicas), KM_BETWEEN(1, KM_MAX_REPLICAS),                                               \
         .optional = true,     .doc = "independent copies of the model"},                                    \
        {"tensor_parallel_size", KM_SETTING_U32,   AT(cluster.tensor_parallel_size),                         \
         KM_BETWEEN(1, 1024),    .optional = true, .doc = "GPUs that share each layer"},                     \
        {"pipeline_parallel_size",     KM_SETTING_U32,   AT(cluster.pipeline_parallel_size),                 \
         KM_BETWEEN(1, KM_MAX_STAGES), .optional = true, .doc = "stages of consecutive layers"},             \
        {"data_parallel_size",                                                                               \
         KM_SETTING_U32,                                                                                     \
         AT(cluster.data_parallel_size),                                                                     \
         KM_BETWEEN(1, 1024),                                                                                \
         .optional = true,                                                                                   \
         .doc = "ranks that each attend for a share of the batch, around shared experts"},                   \
        {"enable_expert_parallel", KM_SETTING_BOOL, AT(cluster.enable_expert_parallel), .optional = true,    \
         .doc = "spread whole experts over the tensor and data ranks, instead of slices of each"},           \
        {"prefill_context_parallel_size",                                                                    \
         KM_SETTING_U32,                                                                                     \
         AT(cluster.prefill_context_parallel_size),                                                          \
         KM_BETWEEN(1, 1024),                                                                                \
         .optional = true,                                                                                   \
         .doc = "groups of ranks that share the tokens of a prompt"},                                        \
        {"context_parallel_method", KM_SETTING_ENUM,  AT(cluster.context_parallel_method),                   \
         .names = context_methods,  .optional = true, .doc = "how they attend to each other's tokens"},      \
        {"decode_context_parallel_size",                                                                     \
         KM_SETTING_U32,                                                                                     \
         AT(cluster.decode_context_parallel_size),                                                           \
         KM_BETWEEN(1, 1024),                                                                                \
         .optional = true,                                                                                   \
         .doc = "tensor ranks with the same KV heads that share out their tokens"},                          \
        {"kv_parallel_size",                                                                                 \
         KM_SETTING_U32,                                                                                     \
         AT(cluster.kv_parallel_size),                                                                       \
         KM_BETWEEN(1, 1024),                                                                                \
         .optional = true,                                                                                   \
         .doc = "groups of ranks with all weights and a share of the KV cache each (KVP)"},                  \
    {                                                                                                        \
        "node", KM_SETTING_SECTION, AT(device.node), .table = km_node_settings, .optional = true,            \
                                                     .partial = true,                                        \
                                                     .doc = "overrides the device's usual server"            \
    }

/* Groups differ in what is laid over the scenario's own keys: km_cluster_split(). */
static const struct km_setting group_settings[] = {REPLICA_SETTINGS, {0}};

static const struct km_setting group_precision[] = {
    {"precision", KM_SETTING_SECTION, AT(precision), .table = km_precision_section, .optional = true,
     .doc = "as the scenario's, for this group"},
    {0},
};
static const struct km_setting group_cost[] = {
    {"cost", KM_SETTING_SECTION, 0, .table = km_cost_section, .optional = true,
     .doc = "as the scenario's, for this group"},
    {0},
};
static const struct km_setting group_engine[] = {
    {"engine", KM_SETTING_SECTION, AT(engine), .table = km_engine_settings, .optional = true, .partial = true,
     .doc = "as the scenario's, for this group"},
    {0},
};

/* By then the groups have been taken out of the tree; what is left is none. */
static enum km_status no_groups(const struct km_yaml *value, void *field,
                                const struct km_settings_context *context, struct km_error *error)
{
    (void)field;
    (void)context;
    return km_yaml_is_null(value) ? KM_OK : km_yaml_fail(value, error, "expected a list of mappings");
}

/* `section` of the group unless it is as the first group's, which is the scenario's own. */
static void write_difference(const struct km_setting *section, const struct km_scenario *first,
                             const struct km_scenario *group, struct km_text *out)
{
    struct km_text a = {0}, b = {0};
    km_settings_write_json(section, first, &a);
    km_settings_write_json(section, group, &b);
    if (strcmp(km_text_c(&a), km_text_c(&b)) != 0) { /* "{...}" without its braces */
        km_text_puts(out, ", ");
        km_text_append(out, km_text_c(&b) + 1, b.length - 2);
    }
    km_text_release(&a);
    km_text_release(&b);
}

static void write_groups(const void *field, struct km_text *out)
{
    const struct km_scenario *s = field;
    if (s->group_count == 0) {
        km_text_puts(out, "null");
        return;
    }
    for (uint32_t i = 0; i < s->group_count; i++) {
        struct km_text group = {0};
        km_settings_write_json(group_settings, &s->groups[i], &group);
        km_text_puts(out, i == 0 ? "[" : ", ");
        km_text_append(out, km_text_c(&group), group.length - 1);
        write_difference(group_precision, &s->groups[0], &s->groups[i], out);
        write_difference(group_engine, &s->groups[0], &s->groups[i], out);
        write_difference(group_cost, &s->groups[0], &s->groups[i], out);
        km_text_puts(out, "}");
        km_text_release(&group);
    }
    km_text_puts(out, "]");
}

const struct km_setting km_cluster_section[] = {
    REPLICA_SETTINGS,
    {"router", KM_SETTING_CHOICE, AT(cluster.router), .registry = km_routing_registry, .optional = true,
     .doc = "which replica serves a request"},
    {"groups", KM_SETTING_CUSTOM, 0, .optional = true, .read = no_groups, .write = write_groups,
     .table = group_settings,
     .doc =
         "replicas that differ: a list of mappings with keys of cluster, and precision, engine, cost, laid "
         "over the scenario's own"},
    {0},
};

/* --- groups -------------------------------------------------------------------------------------------- */

/* Sections beside `cluster` that a group may change. */
static bool is_section(const char *key)
{
    return strcmp(key, "precision") == 0 || strcmp(key, "engine") == 0 || strcmp(key, "cost") == 0;
}

/* A tree that can be changed; errors still name the places and paths of the original. */
static struct km_yaml *copy(const struct km_yaml *node, struct km_arena *arena)
{
    struct km_yaml *out = km_arena_alloc(arena, sizeof *out);
    *out = *node;
    if (node->count == 0)
        return out;
    out->items = km_arena_alloc(arena, node->count * sizeof *out->items);
    for (size_t i = 0; i < node->count; i++)
        out->items[i] = copy(node->items[i], arena);
    return out;
}

static size_t find(const struct km_yaml *mapping, const char *key)
{
    size_t i = 0;
    while (i < mapping->count && strcmp(mapping->items[i]->key, key) != 0)
        i++;
    return i;
}

static void remove_key(struct km_yaml *mapping, const char *key)
{
    size_t at = find(mapping, key);
    if (at == mapping->count)
        return;
    mapping->count--;
    for (size_t i = at; i < mapping->count; i++)
        mapping->items[i] = mapping->items[i + 1];
}

/* Put a value in its place, or lay a mapping over the mapping that is there. */
static void lay(struct km_yaml *into, struct km_yaml *value, struct km_arena *arena)
{
    size_t at = find(into, value->key);
    if (at < into->count && into->items[at]->kind == KM_YAML_MAPPING && value->kind == KM_YAML_MAPPING) {
        for (size_t i = 0; i < value->count; i++)
            lay(into->items[at], value->items[i], arena);
        return;
    }
    if (at == into->count) {
        struct km_yaml **items = km_arena_alloc(arena, (into->count + 1) * sizeof(struct km_yaml *));
        for (size_t i = 0; i < into->count; i++)
            items[i] = into->items[i];
        into->items = items;
        into->count++;
    }
    into->items[at] = value;
}

static enum km_status check_group(const struct km_yaml *group, struct km_error *error)
{
    if (group->kind != KM_YAML_MAPPING)
        return km_yaml_fail(group, error, "expected a mapping");
    for (size_t i = 0; i < group->count; i++) {
        const char *key = group->items[i]->key;
        if (strcmp(key, "router") == 0 || strcmp(key, "groups") == 0)
            return km_yaml_fail_key(group->items[i], error, "belongs to the cluster, not to a group");
    }
    return KM_OK;
}

enum km_status km_cluster_split(const struct km_yaml *root, struct km_arena *arena, struct km_yaml ***trees,
                                uint32_t *count, struct km_error *error)
{
    const struct km_yaml *list = km_yaml_get(km_yaml_get(root, "cluster"), "groups");
    *count = 0;
    if (!list || km_yaml_is_null(list))
        return KM_OK;
    if (list->kind != KM_YAML_SEQUENCE || list->count == 0)
        return km_yaml_fail(list, error, "expected a list of mappings");
    if (list->count > KM_MAX_GROUPS)
        return km_yaml_fail(list, error, "more than %d groups", KM_MAX_GROUPS);
    *trees = km_arena_alloc(arena, list->count * sizeof **trees);
    for (size_t i = 0; i < list->count; i++) {
        enum km_status status = check_group(list->items[i], error);
        if (status != KM_OK)
            return status;
        struct km_yaml *tree = copy(root, arena), *group = copy(list->items[i], arena);
        struct km_yaml *cluster = km_yaml_get(tree, "cluster");
        remove_key(cluster, "groups");
        for (size_t j = 0; j < group->count; j++) {
            struct km_yaml *value = group->items[j];
            lay(is_section(value->key) ? tree : cluster, value, arena);
        }
        (*trees)[i] = tree;
    }
    *count = (uint32_t)list->count;
    return KM_OK;
}

enum km_status km_cluster_check(const struct km_yaml *root, const struct km_scenario *s,
                                struct km_error *error)
{
    uint64_t replicas = 0;
    for (uint32_t i = 0; i < km_scenario_group_count(s); i++)
        replicas += km_scenario_group(s, i)->cluster.replicas;
    if (replicas > KM_MAX_REPLICAS)
        return km_scenario_refuse(root, "cluster.groups", error, "%llu replicas are more than %d",
                                  (unsigned long long)replicas, KM_MAX_REPLICAS);
    return KM_OK;
}
