/* A scenario: everything one question needs, read from YAML, resolved (defaults included) and checked.
 *
 * Names are looked up in ./models and ./configs, then beside the binary's source tree, then in the install
 * prefix; relative paths start at the scenario's own folder, then the current one. */
#ifndef KM_SCENARIO_SCENARIO_H
#define KM_SCENARIO_SCENARIO_H

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/yaml.h"
#include "cost/cost.h"
#include "economics/economics.h"
#include "engine/engine.h"
#include "hardware/device.h"
#include "metrics/metrics.h"
#include "model/layout.h"
#include "model/model.h"
#include "prediction/prediction.h"
#include "scaling/scaling.h"
#include "workload/workload.h"

#define KM_MAX_REPLICAS 65536 /* of all groups together */

struct km_cluster {
    uint32_t replicas;                                     /* of this group */
    uint32_t tensor_parallel_size, pipeline_parallel_size; /* these and what follows: model/layout.h */
    uint32_t data_parallel_size;
    bool enable_expert_parallel;
    uint32_t prefill_context_parallel_size;
    enum km_context_method context_parallel_method;
    uint32_t decode_context_parallel_size, kv_parallel_size;
    const char *router; /* routing registry name; of all groups */
};

struct km_scenario {
    struct km_arena arena; /* owns every string and array below */
    const char *path;
    const char *model_name, *device_name;
    struct km_model model;
    struct km_device device; /* node and links already overridden by `cluster.node` */
    struct km_cluster cluster;
    /* Replicas that differ, each kind as a scenario of its own (without groups), which differs in device,
     * cluster, precision, engine and profile. Where there are groups, what this struct says of those is what
     * the first group says: walk them by km_scenario_group(). */
    struct km_scenario *groups;    /* [group_count] */
    uint32_t group_count;          /* 0 = replicas of one kind */
    struct km_precision precision; /* of the run: the checkpoint's unless stated */
    /* The device lacks products in the checkpoint's format: its weights are widened on the way, and `precision` has
     * wider activations. Not where the file states another precision. */
    bool weight_only;
    struct km_engine engine;
    const char *cost_model;            /* cost registry name */
    const char *profile;               /* path, or NULL */
    bool no_profile;                   /* cost model `profile` was asked for: there is none of the device, and
                                          cost_model is roofline instead */
    struct km_profile_store *profiles; /* borrowed; NULL: each run reads the profile itself */
    struct km_linear_law linear;       /* of cost model linear */
    double time_scale;                 /* of every step */
    enum km_power_state power_state;   /* of products bound by arithmetic */
    double time_error;                 /* relative, of step times; -1 = not stated */
    struct km_workload_settings workload;
    struct km_prediction prediction;          /* of output lengths */
    const char *executor;                     /* executor registry name */
    void *executor_settings;                  /* its own table's struct; NULL = its defaults */
    struct km_scaling_settings scaling;       /* of one group; policy NULL = none */
    struct km_slo_term slo[KM_MAX_SLO_TERMS]; /* [slo_count] of all requests, then class by class */
    uint32_t slo_count;
    struct km_economics economics;
    uint64_t seed;
    /* Sections about many runs, not this one, as they stand in the file: src/planner reads them. NULL =
     * absent. */
    const struct km_yaml *search, *sweep;
};

struct km_override {
    const char *key, *value; /* "a.b.c", YAML text */
};

/* Put an override into the tree of a file. What follows "sweep." or "search." is one key of that section, an
 * axis (scenario/axes.h), dots and all: "sweep.engine.kv.manager" is the axis over engine.kv.manager. */
enum km_status km_scenario_override(struct km_yaml *root, const struct km_override *override,
                                    struct km_arena *arena, struct km_error *error);

/* Read, override, resolve and check. On failure nothing is left to free. */
enum km_status km_scenario_read(const char *path, const struct km_override *overrides, size_t override_count,
                                struct km_scenario *out, struct km_error *error);
void km_scenario_release(struct km_scenario *scenario);
/* For who makes many runs: profiles are taken from `store` (cost/profile/store.h) from now on. */
void km_scenario_share_profiles(struct km_scenario *scenario, struct km_profile_store *store);

/* The kinds of replicas: the groups, or the scenario itself. */
uint32_t km_scenario_group_count(const struct km_scenario *scenario);
const struct km_scenario *km_scenario_group(const struct km_scenario *scenario, uint32_t index);

/* The parallel layout of one replica. */
struct km_layout km_scenario_layout(const struct km_scenario *scenario);

/* "roofline", "profile h200-sxm": the cost model, and of a profile its file's name. In `arena` or static. */
const char *km_scenario_cost_name(const struct km_scenario *scenario, struct km_arena *arena);

/* The resolved scenario as a JSON object, keys in the order of the tables. Appends to `out`. */
void km_scenario_write_json(const struct km_scenario *scenario, struct km_text *out);

/* Every key a scenario may have, one a line: dotted path, what it may hold, meaning. Appends. */
void km_scenario_list_settings(struct km_text *out);

/* "fp8 weights, widened to bf16 ...", in `arena`; NULL unless weight_only. */
const char *km_scenario_weight_only(const struct km_scenario *scenario, struct km_arena *arena);

#endif
