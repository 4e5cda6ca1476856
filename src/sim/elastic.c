#include "sim/elastic.h"

#include "base/simtime.h"

#include <math.h>

void km_elastic_init(struct km_elastic *elastic, const struct km_scaling_settings *settings)
{
    *elastic = (struct km_elastic){.settings = settings, .look_ps = settings ? 0 : KM_PS_NEVER};
    if (settings)
        elastic->scaler = km_scaler_create(settings);
}

void km_elastic_release(struct km_elastic *elastic)
{
    km_scaler_destroy(elastic->scaler);
}

void km_elastic_arrived(struct km_elastic *elastic, const struct km_request *request)
{
    elastic->arrived_requests++;
    elastic->arrived_prompt_tokens += request->prompt_tokens;
}

uint64_t km_elastic_next(const struct km_elastic *elastic, const struct km_replica_set *set)
{
    uint64_t start_ps = km_heap_key(&set->starts);
    return start_ps < elastic->look_ps ? start_ps : elastic->look_ps;
}

/* Output tokens a request had on average, of those completed so far, who alone are known. */
static double mean_output_tokens(const struct km_replica_set *set)
{
    double completed = 0.0, tokens = 0.0;
    for (uint32_t g = 0; g < set->config->group_count; g++) {
        completed += (double)set->groups[g].completed;
        tokens += (double)set->groups[g].output_tokens;
    }
    return completed > 0.0 ? tokens / completed : 0.0;
}

static void observe(const struct km_elastic *elastic, struct km_replica_set *set, uint64_t now_ps,
                    struct km_scaling_view *out)
{
    const struct km_replica_group *group = &set->groups[elastic->settings->group];
    const struct km_replica_config *config = &set->templates[elastic->settings->group];
    double busy_s = 0.0, serving = group->serving;
    uint64_t used_blocks = 0;
    *out = (struct km_scaling_view){
        .now_s = km_s_from_ps(now_ps),
        .since_last_s = km_s_from_ps(now_ps - elastic->last_look_ps),
        .serving = group->serving,
        .starting = group->starting,
        .arrived_tokens = (double)elastic->arrived_prompt_tokens +
                          (double)elastic->arrived_requests * mean_output_tokens(set),
    };
    for (uint32_t i = 0; i < set->count; i++) {
        struct km_replica_slot *slot = &set->slots[i];
        struct km_replica_load load;
        if (slot->group != elastic->settings->group || slot->state != KM_REPLICA_SERVING)
            continue;
        km_lockstep_load(slot->replica, &load);
        out->running += load.running;
        out->waiting += set->pools.outstanding[i] - load.running;
        used_blocks += load.used_blocks;
        busy_s += load.busy_s - slot->busy_s;
        slot->busy_s = load.busy_s;
    }
    out->sequences = (double)out->running / (serving * config->batching.max_num_seqs);
    out->kv_cache = (double)used_blocks / (serving * (double)config->kv.capacity_blocks);
    if (out->since_last_s > 0.0) /* the last step was counted whole when it was submitted */
        out->busy = fmin(1.0, busy_s / (serving * out->since_last_s));
}

static void look(struct km_elastic *elastic, struct km_replica_set *set, uint64_t now_ps)
{
    const struct km_scaling_settings *settings = elastic->settings;
    struct km_replica_group *group = &set->groups[settings->group];
    struct km_scaling_view view;
    observe(elastic, set, now_ps, &view);
    uint32_t wanted = km_scaler_look(elastic->scaler, &view);
    while (group->serving + group->starting < wanted)
        km_replica_set_start(set, settings->group, now_ps,
                             km_ps_after(now_ps, km_ps_from_s(settings->startup_s)));
    while (group->serving + group->starting > wanted)
        km_replica_set_stop(set, settings->group, now_ps);
    double next_s = km_scaler_next_s(elastic->scaler, view.now_s);
    elastic->last_look_ps = now_ps;
    elastic->look_ps = next_s < km_s_from_ps(KM_PS_LIMIT) ? km_ps_from_s(next_s) : KM_PS_NEVER;
    if (elastic->look_ps <= now_ps)
        elastic->look_ps = now_ps + 1;
    elastic->arrived_requests = elastic->arrived_prompt_tokens = 0;
}

void km_elastic_act(struct km_elastic *elastic, struct km_replica_set *set)
{
    uint64_t now_ps = km_elastic_next(elastic, set);
    if (set->starts.count > 0 && set->starts.entries[0].key == now_ps)
        km_replica_set_serve(set, set->starts.entries[0].item, now_ps);
    else
        look(elastic, set, now_ps);
}
