#include "scenario/run.h"

#include "batching/batching.h"
#include "scenario/remedy.h"

#include <math.h>

enum km_status km_setup_memory(const struct km_scenario *scenario, struct km_memory_map *out,
                               struct km_error *error)
{
    const struct km_layout layout = km_setup_layout(scenario);
    const struct km_memory_limits limits = km_setup_limits(scenario);
    enum km_status status = km_layout_check(&scenario->model, &layout, error);
    if (status == KM_OK)
        km_memory_map(&scenario->model, &scenario->precision, &layout, &limits, out);
    return status;
}

bool km_setup_graphs_fit(const struct km_scenario *scenario, const struct km_memory_map *map, double *largest)
{
    const struct km_engine *engine = &scenario->engine;
    const double device_bytes = scenario->device.memory_bytes;
    *largest = fmax(0.0, floor((1.0 - map->graph_bytes / device_bytes) * 1e3) / 1e3);
    return engine->graph_size_count == 0 || engine->num_gpu_blocks_override > 0 || map->graphs_in_budget ||
           map->budget_bytes + map->graph_bytes <= device_bytes;
}

static enum km_status refuse_graphs(const struct km_scenario *scenario, const struct km_memory_map *map,
                                    double largest, struct km_error *error)
{
    return km_fail(
        error, KM_NO, NULL, 0, 0,
        "captured graphs of %.2f GiB do not fit beside the budget of %.1f GiB of the %.1f GiB of %s; "
        "gpu_memory_utilization may be at most %g, not %g",
        map->graph_bytes / KM_GIB, map->budget_bytes / KM_GIB, scenario->device.memory_bytes / KM_GIB,
        scenario->device.name, largest, scenario->engine.gpu_memory_utilization);
}

static enum km_status refuse_memory(const struct km_scenario *scenario, const struct km_memory_map *map,
                                    struct km_error *error)
{
    const struct km_layout layout = km_setup_layout(scenario);
    struct km_remedy fit;
    struct km_text would = {0};
    km_remedy_find(scenario, &fit);
    km_remedy_describe(&fit, &would);
    enum km_status status = km_fail(
        error, KM_NO, NULL, 0, 0,
        "%s does not fit on %u x %s: weights %.1f GiB + activations %.1f + state %.1f + other %.1f leave "
        "no KV block of the budget of %.1f GiB a GPU (%.1f x gpu_memory_utilization %g); %s",
        scenario->model.name, km_layout_ranks(&layout), scenario->device.name, map->weight_bytes / KM_GIB,
        map->activation_bytes / KM_GIB, map->state_bytes / KM_GIB,
        (km_memory_others(map) - map->activation_bytes - map->state_bytes) / KM_GIB,
        map->budget_bytes / KM_GIB, scenario->device.memory_bytes / KM_GIB,
        scenario->engine.gpu_memory_utilization, km_text_c(&would));
    km_text_release(&would);
    return status;
}

static enum km_status create_executors(struct km_setup *setup, struct km_error *error)
{
    const struct km_executor_config config = {.model = setup->cost_config.model,
                                              .engine = setup->cost_config.engine,
                                              .layout = setup->cost_config.layout,
                                              .settings = setup->scenario->executor_settings,
                                              .cost = setup->cost,
                                              .cost_config = &setup->cost_config};
    setup->priced = km_executor_find("simulated");
    setup->executor = km_executor_find(setup->scenario->executor);
    enum km_status status = setup->priced->create(&config, &setup->priced_state, error);
    setup->executor_state = setup->priced_state;
    if (status == KM_OK && setup->executor != setup->priced)
        status = setup->executor->create(&config, &setup->executor_state, error);
    return status;
}

enum km_status km_setup_create(const struct km_scenario *scenario, struct km_setup *out,
                               struct km_error *error)
{
    *out = (struct km_setup){.scenario = scenario};
    enum km_status status = km_setup_memory(scenario, &out->memory, error);
    if (status != KM_OK)
        return status;
    uint32_t override = scenario->engine.num_gpu_blocks_override, data = scenario->cluster.data_parallel_size;
    out->rank_blocks = override ? override : out->memory.blocks / data;
    out->blocks = out->rank_blocks * data;
    if (out->blocks == 0)
        return refuse_memory(scenario, &out->memory, error);
    out->most_model_len = km_setup_most_model_len(scenario, &out->memory.groups, out->rank_blocks);
    double largest;
    if (!km_setup_graphs_fit(scenario, &out->memory, &largest))
        return refuse_graphs(scenario, &out->memory, largest, error);
    out->kv_manager = km_kv_find(scenario->engine.kv_manager);
    out->cost_config = (struct km_cost_config){
        .model = &scenario->model,
        .precision = scenario->precision,
        .layout = km_setup_layout(scenario),
        .device = &scenario->device,
        .engine = &scenario->engine,
        .profile = scenario->profile,
        .profiles = scenario->profiles,
        .linear = scenario->linear,
        .time_scale = scenario->time_scale,
        .power_state = scenario->power_state,
    };
    out->cost = km_cost_find(scenario->cost_model);
    return create_executors(out, error);
}

void km_setup_release(struct km_setup *setup)
{
    if (setup->executor != setup->priced && setup->executor_state)
        setup->executor->destroy(setup->executor_state);
    if (setup->priced_state)
        setup->priced->destroy(setup->priced_state);
    *setup = (struct km_setup){0};
}

uint32_t km_setup_window(const struct km_model *model)
{
    uint32_t window = 0;
    for (uint32_t i = 0; i < model->layer_count; i++)
        if (model->layers[i].window > window)
            window = model->layers[i].window;
    return window;
}
