/* What a report says about the groups of a fleet. */
#include "answer/describe.h"

static struct km_report_group_latency whole(const struct km_latency_summary *latency)
{
    return (struct km_report_group_latency){latency->mean_s, latency->p50_s, latency->p99_s};
}

static struct km_report_group_latency part(const struct km_group_latency *latency)
{
    return (struct km_report_group_latency){latency->mean_s, latency->p50_s, latency->p99_s};
}

static const char *layout_of(const struct km_setup *setup, struct km_arena *arena)
{
    struct km_text layout = {0};
    km_layout_describe(&setup->cost_config.layout, &layout);
    const char *text = km_arena_strdup(arena, km_text_c(&layout));
    km_text_release(&layout);
    return text;
}

static struct km_report_group describe_group(const struct km_setup *setup, const struct km_run_result *result,
                                             uint32_t index, struct km_arena *arena)
{
    const struct km_group_result *ran = &result->simulation.groups[index];
    const struct km_run_group *used = &result->groups[index];
    const struct km_latency_summary *latency = result->summary.latency;
    bool alone = result->simulation.group_count == 1;
    return (struct km_report_group){
        .device = setup->scenario->device.name,
        .layout = layout_of(setup, arena),
        .gpus_per_replica = used->gpus_per_replica,
        .least_replicas = ran->least_replicas,
        .most_replicas = ran->most_replicas,
        .mean_replicas = ran->mean_replicas,
        .replica_seconds = ran->replica_seconds,
        .gpu_seconds = used->gpu_seconds,
        .scale_ups = ran->scale_ups,
        .scale_downs = ran->scale_downs,
        .requests = ran->completed,
        .prompt_tokens = ran->prompt_tokens,
        .output_tokens = ran->output_tokens,
        .preemptions = ran->preemptions,
        .steps = ran->work.steps,
        .kv_capacity_blocks = ran->capacity_blocks,
        .kv_peak_blocks = ran->work.peak_blocks,
        .max_model_len = setup->scenario->engine.max_model_len,
        .most_model_len = setup->most_model_len,
        .ttft = alone ? whole(&latency[KM_TTFT]) : part(&ran->ttft),
        .tpot = alone ? whole(&latency[KM_TPOT]) : part(&ran->tpot),
        .e2e = alone ? whole(&latency[KM_E2E]) : part(&ran->e2e),
        .mfu = used->utilization.mfu,
        .mbu = used->utilization.mbu,
        .busy = used->utilization.busy,
    };
}

void km_describe_fleet(const struct km_fleet *fleet, const struct km_run_result *result,
                       struct km_arena *arena, struct km_report *report)
{
    struct km_report_group *groups = km_arena_alloc(arena, fleet->group_count * sizeof *groups);
    struct km_text layout = {0};
    const struct km_scaling_settings *scaling = &fleet->scenario->scaling;
    for (uint32_t i = 0; i < fleet->group_count; i++) {
        uint32_t replicas = fleet->groups[i].scenario->cluster.replicas;
        groups[i] = describe_group(&fleet->groups[i], result, i, arena);
        km_text_puts(&layout, i == 0 ? "" : " + ");
        if (scaling->policy && scaling->group == i)
            km_text_printf(&layout, "%u to %u replicas by %s x %s", scaling->min_replicas,
                           scaling->max_replicas, scaling->policy, groups[i].layout);
        else
            km_text_printf(&layout, "%u replica%s x %s", replicas, replicas > 1 ? "s" : "", groups[i].layout);
        if (fleet->group_count > 1)
            km_text_printf(&layout, " on %s", groups[i].device);
    }
    report->device = fleet->group_count == 1 ? fleet->scenario->device.name : NULL;
    report->layout = km_arena_strdup(arena, km_text_c(&layout));
    report->router = fleet->scenario->cluster.router;
    report->gpu_seconds = result->gpu_seconds;
    report->groups = groups;
    report->group_count = fleet->group_count;
    km_text_release(&layout);
}
