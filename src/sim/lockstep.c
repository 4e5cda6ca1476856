#include "sim/lockstep.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "routing/routing.h"
#include "sim/replica_state.h"

#include <stdlib.h>

/* A step of all ranks. */
struct joint {
    uint64_t number; /* as each rank counts its batches */
    struct km_placed_step placed;
    uint64_t sequences, tokens;
};

struct km_lockstep {
    struct km_replica **ranks; /* [count] */
    uint32_t count;
    /* What follows is of several ranks. */
    struct km_clock clock;
    struct joint *joints; /* ring of max_joints */
    uint32_t max_joints, first, in_flight;
    bool may_form;
    bool *dummy;       /* [count] had no batch in the latest step ... */
    uint64_t known_ps; /* ... and looked into its queue for the next one then */
    uint64_t frontend_free_ps;
    const struct km_router *balancer;
    void *balancer_state;
    uint32_t *numbers; /* [count] 0, 1, ...: the balancer's replicas */
    uint64_t steps, prompt_steps, peak_blocks, events;
    km_u128 prompt_busy_ps;
};

/* --- the balancer -------------------------------------------------------------------------------------- */

static void count_rank(const void *context, uint32_t rank, uint64_t *waiting, uint64_t *running)
{
    const struct km_lockstep *l = context;
    *waiting = l->ranks[rank]->waiting.count;
    *running = l->ranks[rank]->running.count;
}

static struct km_routing_view view_of(const struct km_lockstep *l)
{
    return (struct km_routing_view){.accepting = l->numbers,
                                    .accepting_count = l->count,
                                    .most_accepting = l->count,
                                    .counts = count_rank,
                                    .context = l};
}

static void observe(struct km_lockstep *l, uint64_t now_ps)
{
    const struct km_routing_view view = view_of(l);
    l->balancer->observe(l->balancer_state, &view, now_ps);
}

/* --- beginning and end --------------------------------------------------------------------------------- */

static void create_joint(struct km_lockstep *l, const struct km_replica_config *config)
{
    l->clock.stages = config->pace.stages;
    l->max_joints = km_pace_flights(&config->pace);
    l->joints = km_alloc(l->max_joints * sizeof *l->joints);
    l->dummy = km_alloc(l->count * sizeof *l->dummy);
    l->numbers = km_alloc(l->count * sizeof *l->numbers);
    l->balancer = km_routing_find("data_parallel");
    l->balancer_state = km_alloc(l->balancer->state_bytes);
    const struct km_routing_view view = view_of(l);
    for (uint32_t r = 0; r < l->count; r++) {
        l->numbers[r] = r;
        l->balancer->joined(l->balancer_state, &view, r);
    }
}

struct km_lockstep *km_lockstep_create(const struct km_replica_config *config, uint32_t ranks)
{
    struct km_lockstep *l = km_alloc(sizeof *l);
    struct km_replica_config own = *config;
    l->count = ranks;
    l->ranks = km_alloc(ranks * sizeof *l->ranks);
    for (uint32_t r = 0; r < ranks; r++) {
        own.ranks = ranks > 1 ? ranks : 0;
        own.rank = r;
        l->ranks[r] = km_replica_create(&own);
    }
    if (ranks > 1)
        create_joint(l, config);
    return l;
}

void km_lockstep_destroy(struct km_lockstep *l)
{
    if (!l)
        return;
    for (uint32_t r = 0; r < l->count; r++)
        km_replica_destroy(l->ranks[r]);
    if (l->balancer)
        l->balancer->release(l->balancer_state);
    free(l->balancer_state);
    free(l->numbers);
    free(l->dummy);
    free(l->joints);
    free(l->ranks);
    free(l);
}

/* --- arrivals ------------------------------------------------------------------------------------------ */

const char *km_lockstep_refuses(const struct km_lockstep *l, const struct km_request *request)
{
    return km_replica_refuses(l->ranks[0], request);
}

void km_lockstep_arrive(struct km_lockstep *l, struct km_request *request, uint64_t now_ps)
{
    if (l->count == 1) {
        km_replica_arrive(l->ranks[0], request, now_ps);
        return;
    }
    observe(l, now_ps);
    const struct km_routing_view view = view_of(l);
    struct km_replica *rank = l->ranks[l->balancer->route(l->balancer_state, &view, request)];
    rank->frontend_free_ps = l->frontend_free_ps;
    km_replica_arrive(rank, request, now_ps);
    l->frontend_free_ps = rank->frontend_free_ps;
}

void km_lockstep_drain(struct km_lockstep *l, uint64_t now_ps)
{
    for (uint32_t r = 0; r < l->count; r++) {
        km_replica_drain(l->ranks[r], now_ps);
        l->may_form |= l->ranks[r]->may_form;
    }
    l->clock.host_free_ps = l->clock.host_free_ps > now_ps ? l->clock.host_free_ps : now_ps;
}

/* --- when something happens ---------------------------------------------------------------------------- */

static struct joint *joint_at(const struct km_lockstep *l, uint32_t i)
{
    return &l->joints[(l->first + i) % l->max_joints];
}

static uint64_t next_turn_ps(const struct km_lockstep *l)
{
    if (l->may_form && l->in_flight < l->max_joints)
        return l->clock.host_free_ps;
    if (l->in_flight) {
        const struct km_placed_step *oldest = &joint_at(l, 0)->placed;
        return km_pace_processed_ps(oldest->end_ps, l->clock.host_free_ps, oldest->process_ps);
    }
    uint64_t wake_ps = KM_PS_NEVER;
    for (uint32_t r = 0; r < l->count; r++) {
        const uint64_t own_ps = km_replica_wakes_ps(l->ranks[r]);
        wake_ps = own_ps < wake_ps ? own_ps : wake_ps;
    }
    if (wake_ps == KM_PS_NEVER)
        return wake_ps;
    const uint64_t from_ps = wake_ps > l->clock.host_free_ps ? wake_ps : l->clock.host_free_ps;
    return km_ps_after(from_ps, l->ranks[0]->config.rank_wake_ps);
}

/* Who gives up first: *rank. While hosts wait they hear at once of clients that give up (*heard), else with
 * their next turn. */
static uint64_t next_leave_ps(const struct km_lockstep *l, uint32_t *rank, bool *heard)
{
    const bool idle = !l->in_flight && !l->may_form;
    uint64_t first_ps = KM_PS_NEVER;
    *rank = 0;
    *heard = false;
    for (uint32_t r = 0; r < l->count; r++) {
        const uint64_t patience_ps = km_replica_patience_ps(l->ranks[r]),
                       cancel_ps = idle ? km_heap_key(&l->ranks[r]->cancels) : KM_PS_NEVER;
        const uint64_t own_ps = cancel_ps < patience_ps ? cancel_ps : patience_ps;
        if (own_ps >= first_ps)
            continue;
        first_ps = own_ps;
        *rank = r;
        *heard = cancel_ps <= patience_ps;
    }
    return first_ps;
}

uint64_t km_lockstep_next(const struct km_lockstep *l)
{
    if (l->count == 1)
        return km_replica_next(l->ranks[0]);
    uint32_t rank;
    bool heard;
    const uint64_t turn_ps = next_turn_ps(l), leave_ps = next_leave_ps(l, &rank, &heard);
    return leave_ps < turn_ps ? leave_ps : turn_ps;
}

bool km_lockstep_idle(const struct km_lockstep *l)
{
    return l->count == 1 ? km_replica_idle(l->ranks[0]) : next_turn_ps(l) == KM_PS_NEVER;
}

bool km_lockstep_computes(const struct km_lockstep *l)
{
    return l->count == 1 ? km_replica_computes(l->ranks[0]) : l->in_flight > 0;
}

/* --- steps --------------------------------------------------------------------------------------------- */

/* The rank without a batch takes the results of its oldest one first: when it is there. */
static uint64_t ready_ps(const struct km_replica *rank)
{
    if (rank->flight_count == 0)
        return 0;
    const struct km_flight *oldest = &rank->flights[rank->flight_first];
    return km_ps_after(oldest->end_ps, oldest->process_ps);
}

static void longest(struct km_step_time *joint, const struct km_step_time *own, uint32_t stages)
{
    struct km_host_time *host = &joint->host;
    uint64_t before_ps = 0, own_ps = 0;
    for (uint32_t s = 0; s < stages; s++) {
        before_ps = km_ps_after(before_ps, joint->stage_ps[s]);
        own_ps = km_ps_after(own_ps, own->stage_ps[s]);
        joint->stage_ps[s] = own->stage_ps[s] > joint->stage_ps[s] ? own->stage_ps[s] : joint->stage_ps[s];
    }
    if (own_ps > before_ps)
        joint->power = own->power;
    host->form_ps = own->host.form_ps > host->form_ps ? own->host.form_ps : host->form_ps;
    host->launch_ps = own->host.launch_ps > host->launch_ps ? own->host.launch_ps : host->launch_ps;
    host->process_ps = own->host.process_ps > host->process_ps ? own->host.process_ps : host->process_ps;
    host->captured = own->host.captured; /* all alike */
    host->workers = own->host.workers;
    joint->weight_bytes = own->weight_bytes > joint->weight_bytes ? own->weight_bytes : joint->weight_bytes;
}

static struct km_step_peers peers_of(const struct km_lockstep *l)
{
    struct km_step_peers peers = {.ranks = l->count};
    for (uint32_t r = 0; r < l->count; r++) {
        const struct km_step_shape *shape = &l->ranks[r]->batch.step.shape;
        const uint32_t tokens = l->dummy[r] ? 1 : km_step_tokens(shape);
        peers.prompts |= !l->dummy[r] && shape->chunk_count > 0;
        peers.most_tokens = tokens > peers.most_tokens ? tokens : peers.most_tokens;
        peers.all_tokens += tokens;
    }
    return peers;
}

/* With placeholders, the first stage waits for the tokens of the batch `stages` before. */
static uint64_t tokens_back_ps(const struct km_lockstep *l, uint64_t number)
{
    uint64_t back_ps = 0;
    for (uint32_t i = 0; l->ranks[0]->run_ahead && i < l->in_flight; i++)
        if (joint_at(l, i)->number + l->clock.stages <= number)
            back_ps = joint_at(l, i)->placed.end_ps;
    return back_ps;
}

/* Every rank has closed its batch, or has none. */
static enum km_status launch(struct km_lockstep *l, uint64_t now_ps)
{
    const struct km_step_peers peers = peers_of(l);
    struct km_step_time time = {0};
    uint64_t late_ps = 0, prompt_tokens = 0, decodes = 0, used_blocks = 0;
    struct joint *joint = joint_at(l, l->in_flight);
    *joint = (struct joint){.number = l->ranks[0]->batches};
    for (uint32_t r = 0; r < l->count; r++) {
        struct km_replica *rank = l->ranks[r];
        used_blocks += rank->kv->used_blocks;
        if (l->dummy[r]) {
            const uint64_t own_ps = ready_ps(rank);
            late_ps = own_ps > late_ps ? own_ps : late_ps;
            continue;
        }
        struct km_step_time own;
        const enum km_status status = km_batch_time(rank, &peers, &own);
        if (status != KM_OK)
            return status;
        longest(&time, &own, l->clock.stages);
        const struct km_step_shape *shape = &rank->batch.step.shape;
        prompt_tokens += shape->prefill_tokens;
        decodes += shape->decode.count;
        joint->sequences += shape->chunk_count + shape->decode.count;
        joint->tokens += rank->batch.flight->prefill_tokens + shape->decode.count;
    }
    l->peak_blocks = used_blocks > l->peak_blocks ? used_blocks : l->peak_blocks;
    /* Who launches waits for the rank that is late. */
    if (time.host.workers && late_ps > l->clock.workers_free_ps)
        l->clock.workers_free_ps = late_ps;
    if (!time.host.workers && late_ps > km_ps_after(now_ps, time.host.form_ps))
        now_ps = late_ps - time.host.form_ps;
    const km_u128 before_ps = l->clock.busy_ps;
    joint->placed = km_clock_place(&l->clock, &time, time.stage_ps, now_ps, tokens_back_ps(l, joint->number));
    if (prompt_tokens)
        l->prompt_busy_ps += (l->clock.busy_ps - before_ps) * prompt_tokens / (prompt_tokens + decodes);
    for (uint32_t r = 0; r < l->count; r++) {
        if (l->dummy[r])
            continue;
        struct km_flight *flight = l->ranks[r]->batch.flight;
        flight->start_ps = joint->placed.start_ps;
        flight->end_ps = joint->placed.end_ps;
        flight->process_ps = joint->placed.process_ps;
    }
    l->in_flight++;
    l->steps++;
    l->prompt_steps += prompt_tokens > 0;
    l->known_ps =
        l->clock.host_free_ps > l->clock.workers_free_ps ? l->clock.host_free_ps : l->clock.workers_free_ps;
    return KM_OK;
}

static enum km_status form(struct km_lockstep *l, uint64_t now_ps, uint64_t horizon_ps)
{
    bool formed = false, again = false;
    /* Workers may still launch the dummy: who comes until then is taken for late, as it has not come yet. */
    const uint64_t known_ps = l->known_ps < now_ps ? l->known_ps : now_ps;
    for (uint32_t r = 0; r < l->count; r++) {
        struct km_replica *rank = l->ranks[r];
        l->dummy[r] = !km_replica_form(rank, now_ps, l->dummy[r] ? known_ps : now_ps, horizon_ps);
        formed |= !l->dummy[r];
        again |= rank->may_form;
        if (rank->failure.status != KM_OK)
            return rank->failure.status;
    }
    l->may_form = again;
    if (formed)
        return launch(l, now_ps);
    for (uint32_t r = 0; r < l->count; r++) /* no meeting that anyone could be late for */
        l->dummy[r] = false;
    return KM_OK;
}

static void process(struct km_lockstep *l, uint64_t done_ps)
{
    const struct joint *joint = joint_at(l, 0);
    km_metrics_steps(l->ranks[0]->config.metrics, 1, joint->sequences, joint->tokens,
                     joint->placed.end_ps - joint->placed.start_ps);
    for (uint32_t r = 0; r < l->count; r++) {
        struct km_replica *rank = l->ranks[r];
        if (rank->flight_count == 0 || flight_at(rank, 0)->number != joint->number)
            continue;
        rank->clock.host_free_ps = l->clock.host_free_ps;
        km_replica_process(rank, done_ps);
    }
    l->first = (l->first + 1) % l->max_joints;
    l->in_flight--;
    l->clock.host_free_ps = done_ps;
    l->may_form = true;
}

static enum km_status act(struct km_lockstep *l, uint64_t horizon_ps)
{
    uint32_t rank;
    bool heard;
    const uint64_t turn_ps = next_turn_ps(l), leave_ps = next_leave_ps(l, &rank, &heard);
    observe(l, leave_ps < turn_ps ? leave_ps : turn_ps);
    l->events++;
    if (leave_ps < turn_ps && heard) {
        km_replica_cancel(l->ranks[rank], leave_ps, leave_ps);
        km_replica_end_batch(l->ranks[rank], leave_ps);
    } else if (leave_ps < turn_ps) {
        km_replica_leave(l->ranks[rank], leave_ps);
    } else if (l->in_flight && !(l->may_form && l->in_flight < l->max_joints)) {
        process(l, turn_ps);
    } else {
        return form(l, turn_ps, horizon_ps);
    }
    return KM_OK;
}

enum km_status km_lockstep_act(struct km_lockstep *l, uint64_t horizon_ps, struct km_error *error)
{
    if (l->count == 1)
        return km_replica_act(l->ranks[0], horizon_ps, error);
    const enum km_status status = act(l, horizon_ps);
    for (uint32_t r = 0; status != KM_OK && error && r < l->count; r++)
        if (l->ranks[r]->failure.status != KM_OK) {
            *error = l->ranks[r]->failure;
            break;
        }
    return status;
}

/* --- what was done ------------------------------------------------------------------------------------- */

uint32_t km_lockstep_ranks(const struct km_lockstep *l)
{
    return l->count;
}

const struct km_replica *km_lockstep_rank(const struct km_lockstep *l, uint32_t rank)
{
    return l->ranks[rank];
}

void km_lockstep_load(const struct km_lockstep *l, struct km_replica_load *out)
{
    km_replica_load(l->ranks[0], out);
    for (uint32_t r = 1; r < l->count; r++) {
        struct km_replica_load own;
        km_replica_load(l->ranks[r], &own);
        out->running += own.running;
        out->waiting += own.waiting;
        out->used_blocks += own.used_blocks;
    }
    if (l->count > 1)
        out->busy_s = km_clock_busy_s(&l->clock);
}

uint64_t km_lockstep_busy_until_ps(const struct km_lockstep *l)
{
    return l->count == 1 ? km_replica_busy_until_ps(l->ranks[0]) : km_clock_busy_until_ps(&l->clock);
}

void km_lockstep_work(const struct km_lockstep *l, struct km_work *out)
{
    km_replica_work(l->ranks[0], out);
    if (l->count == 1)
        return;
    for (uint32_t r = 1; r < l->count; r++) {
        struct km_work own;
        km_replica_work(l->ranks[r], &own);
        out->tokens += own.tokens;
        out->sampled += own.sampled;
        out->prefill_pairs += own.prefill_pairs;
        out->prefill_pairs_windowed += own.prefill_pairs_windowed;
        out->decode_pairs += own.decode_pairs;
        out->decode_pairs_windowed += own.decode_pairs_windowed;
        out->block_seconds += own.block_seconds;
        out->events += own.events;
    }
    out->steps = l->steps;
    out->prompt_steps = l->prompt_steps;
    out->weight_bytes = (double)l->clock.weight_bytes;
    out->busy_s = km_clock_busy_s(&l->clock);
    out->prompt_busy_s = (double)l->prompt_busy_ps * 1e-12 / l->clock.stages;
    out->peak_blocks = l->peak_blocks;
    out->events += l->events;
}
