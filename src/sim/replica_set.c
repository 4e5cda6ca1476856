#include "sim/replica_set.h"

#include "base/memory.h"
#include "base/simtime.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static uint32_t ranks_of(const struct km_replica_set *set, uint32_t group)
{
    return set->config->groups[group].ranks ? set->config->groups[group].ranks : 1;
}

/* KV blocks of a replica of the group, all ranks together. */
static uint64_t capacity_of(const struct km_replica_set *set, uint32_t group)
{
    return set->templates[group].kv.capacity_blocks * ranks_of(set, group);
}

/* --- routing ------------------------------------------------------------------------------------------- */

static void count_replica(const void *context, uint32_t number, uint64_t *waiting, uint64_t *running)
{
    const struct km_replica_set *set = context;
    struct km_replica_load load;
    km_lockstep_load(set->slots[number].replica, &load);
    *waiting = load.waiting;
    *running = load.running;
}

static uint64_t all_groups(const struct km_replica_set *set)
{
    return UINT64_MAX >> (64 - set->config->group_count);
}

uint32_t km_replica_set_route(struct km_replica_set *set, const struct km_request *request)
{
    uint64_t able = 0;
    if (set->config->group_count == 1)
        return km_pools_route(&set->pools, all_groups(set), request);
    for (uint32_t g = 0; g < set->config->group_count; g++)
        if (!km_lockstep_refuses(set->slots[set->groups[g].witness].replica, request))
            able |= (uint64_t)1 << g;
    return km_pools_route(&set->pools, able ? able : all_groups(set), request);
}

void km_replica_set_sent(struct km_replica_set *set, uint32_t number)
{
    km_pools_count(&set->pools, number, 1);
}

/* --- what replicas did --------------------------------------------------------------------------------- */

void km_replica_set_ended(struct km_replica_set *set, enum km_outcome outcome, const struct km_record *record,
                          uint64_t now_ps)
{
    struct km_replica_slot *slot = &set->slots[record->replica];
    struct km_replica_group *group = &set->groups[slot->group];
    km_pools_count(&set->pools, record->replica, -1);
    if (now_ps > set->last_end_ps)
        set->last_end_ps = now_ps;
    slot->deeds.preemptions += record->preemptions;
    if (outcome != KM_COMPLETED)
        return;
    group->completed++;
    group->output_tokens += record->output_tokens;
    uint64_t ttft_ps, e2e_ps, tpot_ps;
    km_record_latency(record, KM_TTFT, &ttft_ps);
    km_record_latency(record, KM_E2E, &e2e_ps);
    slot->deeds.completed++;
    slot->deeds.prompt_tokens += record->prompt_tokens;
    slot->deeds.output_tokens += record->output_tokens;
    slot->deeds.ttft_ps += ttft_ps;
    slot->deeds.e2e_ps += e2e_ps;
    if (!group->ttft)
        return;
    km_sketch_add(group->ttft, ttft_ps, 1);
    km_sketch_add(group->e2e, e2e_ps, 1);
    if (km_record_latency(record, KM_TPOT, &tpot_ps))
        km_sketch_add(group->tpot, tpot_ps, 1);
}

static void add_work(struct km_work *sum, const struct km_work *part)
{
    sum->steps += part->steps;
    sum->prompt_steps += part->prompt_steps;
    sum->tokens += part->tokens;
    sum->sampled += part->sampled;
    sum->prefill_pairs += part->prefill_pairs;
    sum->prefill_pairs_windowed += part->prefill_pairs_windowed;
    sum->decode_pairs += part->decode_pairs;
    sum->decode_pairs_windowed += part->decode_pairs_windowed;
    sum->weight_bytes += part->weight_bytes;
    sum->busy_s += part->busy_s;
    sum->prompt_busy_s += part->prompt_busy_s;
    sum->block_seconds += part->block_seconds;
    sum->peak_blocks += part->peak_blocks;
    sum->events += part->events;
}

static void add_deeds(struct km_deeds *sum, const struct km_deeds *part)
{
    sum->completed += part->completed;
    sum->prompt_tokens += part->prompt_tokens;
    sum->output_tokens += part->output_tokens;
    sum->preemptions += part->preemptions;
    sum->ttft_ps += part->ttft_ps;
    sum->e2e_ps += part->e2e_ps;
}

/* The replica goes at `now_ps`: its slot is free, what it did is the group's. Returns the blocks still held.
 */
static uint64_t retire(struct km_replica_set *set, uint32_t number, uint64_t now_ps)
{
    struct km_replica_slot *slot = &set->slots[number];
    struct km_replica_group *group = &set->groups[slot->group];
    struct km_work work = {0};
    uint64_t used_blocks = 0;
    uint64_t paid_ps = now_ps > slot->paid_from_ps ? now_ps - slot->paid_from_ps : 0;
    if (slot->replica) {
        km_lockstep_work(slot->replica, &work);
        struct km_replica_load load;
        km_lockstep_load(slot->replica, &load);
        used_blocks = load.used_blocks;
        km_lockstep_destroy(slot->replica);
    }
    if (set->config->replica_ended) {
        double completed = (double)slot->deeds.completed, paid_s = km_s_from_ps(paid_ps);
        const struct km_replica_result result = {
            .replica = number,
            .group = slot->group,
            .start_ps = slot->paid_from_ps,
            .end_ps = slot->paid_from_ps + paid_ps,
            .completed = slot->deeds.completed,
            .prompt_tokens = slot->deeds.prompt_tokens,
            .output_tokens = slot->deeds.output_tokens,
            .preemptions = slot->deeds.preemptions,
            .steps = work.steps,
            .peak_blocks = work.peak_blocks,
            .capacity_blocks = capacity_of(set, slot->group),
            .ttft_mean_s = completed > 0 ? (double)slot->deeds.ttft_ps * 1e-12 / completed : (double)NAN,
            .e2e_mean_s = completed > 0 ? (double)slot->deeds.e2e_ps * 1e-12 / completed : (double)NAN,
            .busy = paid_s > 0 ? work.busy_s / paid_s : (double)NAN,
        };
        set->config->replica_ended(set->config->context, &result);
    }
    if (work.peak_blocks > slot->peak_blocks)
        slot->peak_blocks = work.peak_blocks;
    work.peak_blocks = 0; /* counted by slot: km_replica_set_finish() */
    add_work(&group->work, &work);
    add_deeds(&group->deeds, &slot->deeds);
    group->paid_ps += paid_ps;
    slot->replica = NULL;
    slot->deeds = (struct km_deeds){0};
    slot->busy_s = 0.0;
    slot->state = KM_REPLICA_OFF;
    return used_blocks;
}

/* --- coming and going ---------------------------------------------------------------------------------- */

/* The group's size has changed. */
static void note_size(struct km_replica_set *set, uint32_t index, uint64_t now_ps)
{
    struct km_replica_group *group = &set->groups[index];
    uint32_t active = group->starting + group->serving;
    if (active < group->least)
        group->least = active;
    if (active > group->most)
        group->most = active;
    if (set->config->resized) {
        const struct km_group_size size = {now_ps, index, group->starting, group->serving, group->draining};
        set->config->resized(set->config->context, &size);
    }
}

static uint32_t free_slot(struct km_replica_set *set, uint32_t group)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (set->slots[i].state == KM_REPLICA_OFF && set->slots[i].group == group)
            return i;
    set->slots = km_grow(set->slots, &set->slot_capacity, (size_t)set->count + 1, sizeof *set->slots);
    set->slots[set->count] = (struct km_replica_slot){.group = group};
    return set->count++;
}

static void begin_serving(struct km_replica_set *set, uint32_t number)
{
    struct km_replica_slot *slot = &set->slots[number];
    struct km_replica_config config = set->templates[slot->group];
    config.index = number;
    slot->replica = km_lockstep_create(&config, ranks_of(set, slot->group));
    slot->state = KM_REPLICA_SERVING;
    if (set->groups[slot->group].serving++ == 0)
        set->groups[slot->group].witness = number;
    km_pools_join(&set->pools, number, slot->group);
}

void km_replica_set_serve(struct km_replica_set *set, uint32_t number, uint64_t now_ps)
{
    assert(set->slots[number].state == KM_REPLICA_STARTING);
    km_heap_remove(&set->starts, number);
    set->groups[set->slots[number].group].starting--;
    begin_serving(set, number);
    note_size(set, set->slots[number].group, now_ps);
}

void km_replica_set_start(struct km_replica_set *set, uint32_t group, uint64_t now_ps, uint64_t ready_ps)
{
    uint32_t number = free_slot(set, group);
    set->slots[number].state = KM_REPLICA_STARTING;
    set->slots[number].paid_from_ps = now_ps;
    set->groups[group].starting++;
    set->groups[group].scale_ups++;
    note_size(set, group, now_ps);
    km_heap_push(&set->starts, ready_ps, number, number);
}

/* Of the group's starting replicas the one that would be ready last; the number of slots when there is none.
 */
static uint32_t last_to_start(const struct km_replica_set *set, uint32_t group)
{
    const struct km_heap_entry *last = NULL;
    for (size_t i = 0; i < set->starts.count; i++) {
        const struct km_heap_entry *entry = &set->starts.entries[i];
        if (set->slots[entry->item].group == group &&
            (!last || entry->key > last->key || (entry->key == last->key && entry->tie > last->tie)))
            last = entry;
    }
    return last ? last->item : set->count;
}

void km_replica_set_stop(struct km_replica_set *set, uint32_t group_index, uint64_t now_ps)
{
    struct km_replica_group *group = &set->groups[group_index];
    uint32_t chosen = last_to_start(set, group_index);
    if (chosen < set->count) {
        km_heap_remove(&set->starts, chosen);
        group->starting--;
        retire(set, chosen, now_ps);
    } else {
        for (uint32_t i = 0; i < set->count; i++)
            if (set->slots[i].group == group_index && set->slots[i].state == KM_REPLICA_SERVING &&
                (chosen == set->count || set->pools.outstanding[i] <= set->pools.outstanding[chosen]))
                chosen = i;
        assert(chosen < set->count && group->serving > 1);
        set->slots[chosen].state = KM_REPLICA_DRAINING;
        group->serving--;
        group->draining++;
        km_pools_leave(&set->pools, chosen);
        for (uint32_t i = 0; chosen == group->witness; i++)
            if (set->slots[i].group == group_index && set->slots[i].state == KM_REPLICA_SERVING)
                group->witness = i;
    }
    group->scale_downs++;
    note_size(set, group_index, now_ps);
    if (set->slots[chosen].state == KM_REPLICA_DRAINING)
        km_replica_set_reschedule(set, chosen, now_ps);
}

void km_replica_set_reschedule(struct km_replica_set *set, uint32_t number, uint64_t now_ps)
{
    struct km_replica_slot *slot = &set->slots[number];
    km_heap_remove(&set->turns, number);
    if (slot->state == KM_REPLICA_DRAINING && set->pools.outstanding[number] == 0 &&
        !km_lockstep_computes(slot->replica)) {
        set->groups[slot->group].draining--;
        retire(set, number, now_ps);
        note_size(set, slot->group, now_ps);
        return;
    }
    if (slot->state == KM_REPLICA_DRAINING && km_lockstep_idle(slot->replica))
        km_lockstep_drain(slot->replica, now_ps); /* it waits for company that never comes */
    uint64_t next_ps = km_lockstep_next(slot->replica);
    if (next_ps != KM_PS_NEVER)
        km_heap_push(&set->turns, next_ps, number, number);
}

/* --- beginning and end --------------------------------------------------------------------------------- */

void km_replica_set_init(struct km_replica_set *set, const struct km_simulation_config *config,
                         void (*ended)(void *context, enum km_outcome outcome, const struct km_record *record,
                                       uint64_t now_ps),
                         void *context)
{
    uint32_t count = config->group_count, first = 0;
    assert(count >= 1 && count <= KM_MAX_GROUPS);
    *set = (struct km_replica_set){.config = config};
    set->templates = km_alloc(count * sizeof *set->templates);
    set->groups = km_alloc(count * sizeof *set->groups);
    km_pools_init(&set->pools, config->router, config->seed, count_replica, set);
    for (uint32_t g = 0; g < count; g++) {
        set->templates[g] = config->groups[g].replica;
        set->templates[g].metrics = config->metrics;
        set->templates[g].ended = ended;
        set->templates[g].context = context;
        set->templates[g].stepped = config->stepped;
        set->templates[g].step_context = config->context;
        set->groups[g].least = set->groups[g].most = config->groups[g].replicas;
        bool scaled = config->scaling && config->scaling->group == g;
        first += config->groups[g].replicas;
        set->pools.most_accepting += scaled ? config->scaling->max_replicas : config->groups[g].replicas;
        if (count > 1) { /* the run's own metrics are those of a single group */
            set->groups[g].ttft = km_sketch_create();
            set->groups[g].tpot = km_sketch_create();
            set->groups[g].e2e = km_sketch_create();
        }
    }
    set->slots = km_alloc(first * sizeof *set->slots);
    set->slot_capacity = first;
    for (uint32_t g = 0; g < count; g++)
        for (uint32_t i = 0; i < config->groups[g].replicas; i++) {
            set->slots[set->count++] = (struct km_replica_slot){.group = g};
            begin_serving(set, set->count - 1);
        }
    for (uint32_t g = 0; g < count; g++)
        note_size(set, g, 0);
}

void km_replica_set_release(struct km_replica_set *set)
{
    km_pools_release(&set->pools);
    for (uint32_t g = 0; g < set->config->group_count; g++) {
        km_sketch_destroy(set->groups[g].ttft);
        km_sketch_destroy(set->groups[g].tpot);
        km_sketch_destroy(set->groups[g].e2e);
    }
    km_heap_release(&set->turns);
    km_heap_release(&set->starts);
    free(set->slots);
    free(set->groups);
    free(set->templates);
}

static struct km_group_latency latency(const struct km_sketch *sketch)
{
    if (!sketch)
        return (struct km_group_latency){(double)NAN, (double)NAN, (double)NAN};
    return (struct km_group_latency){km_sketch_mean_ps(sketch) * 1e-12,
                                     km_sketch_quantile_ps(sketch, 0.5) * 1e-12,
                                     km_sketch_quantile_ps(sketch, 0.99) * 1e-12};
}

/* Replicas paid on average; exactly their number when it never changed. */
static double mean_replicas(km_u128 paid_ps, uint64_t span_ps)
{
    if (span_ps == 0)
        return (double)NAN;
    return paid_ps % span_ps == 0 ? (double)(paid_ps / span_ps) : (double)paid_ps / (double)span_ps;
}

void km_replica_set_finish(struct km_replica_set *set, struct km_simulation_result *out)
{
    uint64_t end_ps = set->last_end_ps;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct km_lockstep *replica = set->slots[i].replica;
        uint64_t until_ps = replica ? km_lockstep_busy_until_ps(replica) : 0;
        end_ps = until_ps > end_ps ? until_ps : end_ps;
    }
    km_metrics_until(set->config->metrics, end_ps);
    for (uint32_t i = 0; i < set->count; i++) {
        struct km_replica_slot *slot = &set->slots[i];
        if (slot->state != KM_REPLICA_OFF)
            out->used_blocks += retire(set, i, end_ps);
        set->groups[slot->group].work.peak_blocks += slot->peak_blocks;
        set->groups[slot->group].capacity_blocks += capacity_of(set, slot->group);
    }
    out->group_count = set->config->group_count;
    for (uint32_t g = 0; g < out->group_count; g++) {
        const struct km_replica_group *group = &set->groups[g];
        out->groups[g] = (struct km_group_result){
            .completed = group->deeds.completed,
            .prompt_tokens = group->deeds.prompt_tokens,
            .output_tokens = group->deeds.output_tokens,
            .preemptions = group->deeds.preemptions,
            .work = group->work,
            .capacity_blocks = group->capacity_blocks,
            .replica_seconds = (double)group->paid_ps * 1e-12,
            .mean_replicas = mean_replicas(group->paid_ps, end_ps),
            .least_replicas = group->least,
            .most_replicas = group->most,
            .scale_ups = group->scale_ups,
            .scale_downs = group->scale_downs,
            .ttft = latency(group->ttft),
            .tpot = latency(group->tpot),
            .e2e = latency(group->e2e),
        };
        add_work(&out->work, &group->work);
        out->capacity_blocks += group->capacity_blocks;
    }
}
