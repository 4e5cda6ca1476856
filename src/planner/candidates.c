#include "planner/candidates.h"

#include "base/pool.h"
#include "base/settings.h"
#include "base/text.h"
#include "planner/model_len.h"
#include "scenario/bill.h"
#include "scenario/remedy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *km_fate_name(enum km_fate fate)
{
    static const char *const names[KM_FATE_COUNT] = {
        [KM_FATE_OPEN] = "open",
        [KM_FATE_INVALID] = "invalid",
        [KM_FATE_LAYOUT] = "layout",
        [KM_FATE_MEMORY] = "memory",
        [KM_FATE_BUDGET] = "budget",
        [KM_FATE_LATENCY] = "latency_bound",
        [KM_FATE_THROUGHPUT] = "throughput_bound",
        [KM_FATE_SLO] = "slo",
        [KM_FATE_BEATEN] = "beaten",
        [KM_FATE_HOLDS] = "holds",
    };
    return names[fate];
}

/* --- scenarios ------------------------------------------------------------------------------------------ */

size_t km_candidate_override_count(const struct km_candidate_source *source)
{
    return source->override_count + source->search->axes.count + 1;
}

size_t km_candidate_overrides(const struct km_candidate_source *source, uint64_t point, uint32_t replicas,
                              char digits[16], struct km_override *out)
{
    size_t count = source->override_count;
    if (count)
        memcpy(out, source->overrides, count * sizeof *out);
    km_axes_point(&source->search->axes, point, out + count);
    count += source->search->axes.count;
    if (replicas) {
        snprintf(digits, 16, "%u", replicas);
        out[count++] = (struct km_override){"cluster.replicas", digits};
    }
    return count;
}

static enum km_status read_scenario(const struct km_candidate_source *source, uint64_t point,
                                    uint32_t replicas, struct km_scenario *out, bool *lowered,
                                    struct km_error *error)
{
    char digits[16];
    struct km_override *overrides = km_alloc(km_candidate_override_count(source) * sizeof *overrides);
    size_t count = km_candidate_overrides(source, point, replicas, digits, overrides);
    enum km_status status = km_scenario_read(source->path, overrides, count, out, error);
    if (status == KM_OK)
        km_scenario_share_profiles(out, source->profiles);
    *lowered = status == KM_OK && km_model_len_lower(out, source->longest_tokens);
    free(overrides);
    return status;
}

enum km_status km_candidate_scenario(const struct km_candidate_source *source, uint64_t point,
                                     uint32_t replicas, struct km_scenario *out, struct km_error *error)
{
    bool lowered;
    return read_scenario(source, point, replicas, out, &lowered, error);
}

/* --- labels --------------------------------------------------------------------------------------------- */

/* What goes before a value, for keys whose last part says too little or too much; "" = the value alone. */
static const char *short_key(const char *key)
{
    static const struct {
        const char *key, *name;
    } names[] = {
        {"model", ""},
        {"cluster.device", ""},
        {"cluster.tensor_parallel_size", "TP "},
        {"cluster.pipeline_parallel_size", "PP "},
        {"cluster.data_parallel_size", "DP "},
        {"cluster.enable_expert_parallel", "EP "},
        {"cluster.replicas", "replicas "},
        {"engine.batching.policy", ""},
        {"engine.batching.max_num_seqs", "seqs "},
        {"engine.batching.max_num_batched_tokens", "tokens "},
        {"precision.weights", "weights "},
        {"precision.kv_cache", "kv "},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].key, key) == 0)
            return names[i].name;
    return NULL;
}

static const char *label_of(const struct km_search *search, const struct km_candidate *candidate,
                            struct km_arena *arena)
{
    struct km_text text = {0};
    struct km_override *values = km_alloc((search->axes.count + 1) * sizeof *values);
    km_axes_point(&search->axes, candidate->point, values);
    for (uint32_t i = 0; i < search->axes.count; i++) {
        if (search->axes.axes[i].count < 2)
            continue;
        const char *name = short_key(values[i].key), *dot = strrchr(values[i].key, '.');
        km_text_printf(&text, "%s%s%s%s", text.length ? ", " : "",
                       name ? name : (dot ? dot + 1 : values[i].key), name ? "" : " ", values[i].value);
    }
    if (candidate->max_model_len)
        km_text_printf(&text, "%smax_model_len %u", text.length ? ", " : "", candidate->max_model_len);
    const char *label = km_arena_strdup(arena, text.length ? km_text_c(&text) : "as stated");
    km_text_release(&text);
    free(values);
    return label;
}

/* --- reading -------------------------------------------------------------------------------------------- */

struct reading {
    const struct km_candidate_source *source;
    struct km_candidate *items;
    struct km_error *errors; /* [count] of those that fell */
};

static void fall(struct reading *reading, uint64_t i, enum km_fate fate)
{
    reading->items[i].fate = fate;
}

/* Numbers, and what would fit. */
static void tell_memory(struct reading *reading, uint64_t i, const struct km_scenario *scenario,
                        const struct km_memory_map *map)
{
    struct km_remedy fit;
    struct km_text would = {0};
    km_remedy_find(scenario, &fit);
    km_remedy_describe(&fit, &would);
    km_fail(&reading->errors[i], KM_NO, NULL, 0, 0,
            "weights %.1f GiB + %.1f others leave no KV block of %.1f GiB a GPU; %s",
            map->weight_bytes / KM_GIB, km_memory_others(map) / KM_GIB, map->budget_bytes / KM_GIB,
            km_text_c(&would));
    km_text_release(&would);
    fall(reading, i, KM_FATE_MEMORY);
}

static void tell_start(struct reading *reading, uint64_t i, const struct km_scenario *scenario)
{
    struct km_text why = {0};
    km_model_len_explain(scenario, reading->source->longest_tokens, &why);
    if (why.length) {
        km_fail(&reading->errors[i], KM_NO, NULL, 0, 0, "%s", km_text_c(&why));
        fall(reading, i, KM_FATE_MEMORY);
    }
    km_text_release(&why);
}

static void read_memory(struct reading *reading, uint64_t i, const struct km_scenario *scenario)
{
    struct km_candidate *candidate = &reading->items[i];
    struct km_memory_map map;
    struct km_fleet fleet;
    if (km_setup_memory(scenario, &map, &reading->errors[i]) != KM_OK) {
        fall(reading, i, KM_FATE_LAYOUT);
        return;
    }
    candidate->weight_bytes = map.weight_bytes;
    candidate->kv_bytes = map.kv_bytes;
    candidate->budget_bytes = map.budget_bytes;
    /* Ready it once: whatever a run of it would refuse is refused here. */
    enum km_status status = km_fleet_create(scenario, &fleet, &reading->errors[i]);
    if (status == KM_OK) {
        km_fleet_release(&fleet);
        tell_start(reading, i, scenario);
    } else if (status == KM_NO && map.blocks == 0)
        tell_memory(reading, i, scenario, &map);
    else
        fall(reading, i, status == KM_NO ? KM_FATE_MEMORY : KM_FATE_INVALID);
}

/* Replicas share a node, or take whole ones. */
static uint32_t replicas_per_node(const struct km_candidate *candidate)
{
    return candidate->gpus_per_node / candidate->gpus_per_replica;
}

static uint32_t nodes_per_replica(const struct km_candidate *candidate)
{
    return (candidate->gpus_per_replica + candidate->gpus_per_node - 1) / candidate->gpus_per_node;
}

uint32_t km_candidate_rented_gpus(const struct km_search *search, const struct km_candidate *candidate,
                                  uint32_t replicas)
{
    if (!search->rent_nodes)
        return replicas * candidate->gpus_per_replica;
    const uint32_t share = replicas_per_node(candidate);
    const uint32_t nodes = share ? (replicas + share - 1) / share : replicas * nodes_per_replica(candidate);
    return nodes * candidate->gpus_per_node;
}

/* Within max_gpus. */
static uint32_t most_replicas(const struct km_search *search, const struct km_candidate *candidate)
{
    if (!search->rent_nodes)
        return search->max_gpus / candidate->gpus_per_replica;
    const uint32_t nodes = search->max_gpus / candidate->gpus_per_node, share = replicas_per_node(candidate);
    return share ? nodes * share : nodes / nodes_per_replica(candidate);
}

static void read_one(void *context, uint64_t i)
{
    struct reading *reading = context;
    const struct km_search *search = reading->source->search;
    struct km_candidate *candidate = &reading->items[i];
    struct km_scenario scenario;
    candidate->point = i;
    bool lowered;
    if (read_scenario(reading->source, i, 0, &scenario, &lowered, &reading->errors[i]) != KM_OK) {
        fall(reading, i, KM_FATE_INVALID);
        return;
    }
    candidate->max_model_len = lowered ? scenario.engine.max_model_len : 0;
    const struct km_layout layout = km_scenario_layout(&scenario);
    snprintf(candidate->model, sizeof candidate->model, "%s", scenario.model.name);
    snprintf(candidate->device, sizeof candidate->device, "%s", scenario.device.name);
    struct km_text described = {0};
    km_layout_describe(&layout, &described);
    snprintf(candidate->layout, sizeof candidate->layout, "%s", km_text_c(&described));
    km_text_release(&described);
    candidate->gpus_per_replica = km_layout_ranks(&layout);
    candidate->gpus_per_node = scenario.device.node.gpus_per_node;
    candidate->usd_per_gpu_hour = km_gpu_price_usd_per_hour(&scenario, &scenario.device);
    candidate->idle_power_w = scenario.device.idle_power_w;
    candidate->least_replicas = search->replicas_free ? 1 : scenario.cluster.replicas;
    candidate->most_replicas = most_replicas(search, candidate);
    if (!search->replicas_free && candidate->most_replicas >= candidate->least_replicas)
        candidate->most_replicas = candidate->least_replicas;
    read_memory(reading, i, &scenario);
    if (candidate->fate == KM_FATE_OPEN && candidate->most_replicas < candidate->least_replicas) {
        km_fail(&reading->errors[i], KM_NO, NULL, 0, 0, "takes %u GPUs; max_gpus is %u",
                km_candidate_rented_gpus(search, candidate, candidate->least_replicas), search->max_gpus);
        fall(reading, i, KM_FATE_BUDGET);
    }
    km_scenario_release(&scenario);
}

/* --- what was meant and what was misspelt --------------------------------------------------------------- */

/* The axis whose override the error stands at; `count` when it is none's. */
static uint32_t guilty_axis(const struct km_axes *axes, const struct km_override *values,
                            const struct km_error *error)
{
    char label[sizeof error->file];
    for (uint32_t i = 0; i < axes->count; i++) {
        snprintf(label, sizeof label, "--set %s=%s", values[i].key, values[i].value);
        if (strcmp(label, error->file) == 0)
            return i;
    }
    return axes->count;
}

/* Sizes and formats are judged with everything else: a value that this model or device cannot take is a
 * candidate that falls, as long as it is a size or a format at all. */
static bool is_well_formed(const char *key, const char *value)
{
    if (strncmp(key, "precision.", 10) == 0) {
        enum km_dtype dtype;
        return km_dtype_find(value, &dtype);
    }
    size_t length = strlen(key);
    if (strncmp(key, "cluster.", 8) != 0 || length < 5 || strcmp(key + length - 5, "_size") != 0)
        return strcmp(key, "cluster.enable_expert_parallel") == 0;
    return strspn(value, "0123456789") == strlen(value) && strtoul(value, NULL, 10) > 0;
}

/* The scenario's reader refuses layouts as it does every other setting: the key tells them apart. */
static void tell_layouts(const struct reading *reading, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (reading->items[i].fate == KM_FATE_INVALID &&
            strncmp(reading->errors[i].message, "cluster.", 8) == 0)
            reading->items[i].fate = KM_FATE_LAYOUT;
}

/* A value that fails in every candidate that has it, by its own fault, was not meant. */
static enum km_status refuse_misspelt(const struct reading *reading, uint64_t count, struct km_error *error)
{
    const struct km_axes *axes = &reading->source->search->axes;
    struct km_override *values = km_alloc((axes->count + 1) * sizeof *values);
    enum km_status status = KM_OK;
    for (uint32_t a = 0; status == KM_OK && a < axes->count; a++)
        for (uint32_t v = 0; status == KM_OK && v < axes->axes[a].count; v++) {
            const struct km_error *first = NULL;
            bool good = false;
            for (uint64_t i = 0; i < count && !good; i++) {
                km_axes_point(axes, i, values);
                if (values[a].value != axes->axes[a].values[v])
                    continue;
                good = reading->items[i].fate != KM_FATE_INVALID;
                if (!good && guilty_axis(axes, values, &reading->errors[i]) == a)
                    first = first ? first : &reading->errors[i];
            }
            if (good || !first || is_well_formed(axes->axes[a].key, axes->axes[a].values[v]))
                continue;
            const struct km_yaml *at = km_search_value_at(&axes->axes[a], v);
            status =
                km_fail(error, KM_BAD_INPUT, at->file, at->line, at->column, "search: %s", first->message);
        }
    free(values);
    return status;
}

/* The first error that no axis is to blame for, when nothing at all could be read. */
static enum km_status refuse_all(const struct reading *reading, uint64_t count, struct km_error *error)
{
    const struct km_axes *axes = &reading->source->search->axes;
    struct km_override *values = km_alloc((axes->count + 1) * sizeof *values);
    const struct km_error *first = NULL;
    for (uint64_t i = 0; i < count; i++) {
        km_axes_point(axes, i, values);
        bool blameless = reading->items[i].fate == KM_FATE_INVALID &&
                         guilty_axis(axes, values, &reading->errors[i]) == axes->count;
        if (!blameless) {
            first = NULL;
            break;
        }
        first = first ? first : &reading->errors[i];
    }
    free(values);
    if (!first)
        return KM_OK;
    *error = *first;
    return first->status;
}

enum km_status km_candidates_create(const struct km_candidate_source *source, uint32_t workers,
                                    const struct km_watch *watch, struct km_candidates *out,
                                    struct km_error *error)
{
    *out = (struct km_candidates){.count = source->search->axes.points};
    out->items = km_arena_alloc(&out->arena, out->count * sizeof *out->items);
    struct reading reading = {source, out->items, km_alloc(out->count * sizeof(struct km_error))};
    km_pool_run_watched(workers, out->count, read_one, &reading, watch, "reading plans", NULL);
    enum km_status status = refuse_misspelt(&reading, out->count, error);
    if (status == KM_OK)
        status = refuse_all(&reading, out->count, error);
    tell_layouts(&reading, out->count);
    for (uint64_t i = 0; status == KM_OK && i < out->count; i++) {
        out->items[i].label = label_of(source->search, &out->items[i], &out->arena);
        out->items[i].reason = km_arena_strdup(&out->arena, reading.errors[i].message);
    }
    free(reading.errors);
    if (status != KM_OK)
        km_candidates_release(out);
    return status;
}

void km_candidates_release(struct km_candidates *candidates)
{
    for (uint64_t i = 0; i < candidates->count; i++)
        free(candidates->items[i].probe);
    km_arena_release(&candidates->arena);
    *candidates = (struct km_candidates){0};
}
