#include "support/play.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "batching/ranked_batch.h"

#include <stdio.h>
#include <string.h>

/* More than any script here needs; a replica that acts oftener is caught in a loop. */
#define MOST_EVENTS 20000000u

struct player {
    struct played *out;
    struct km_metrics *metrics;
    size_t count, in_system;
    const char *complaint;
};

static void ended(void *context, enum km_outcome outcome, const struct km_record *record, uint64_t now_ps)
{
    struct player *player = context;
    if (record->id >= player->count) {
        player->complaint = "a request ended that never was";
        return;
    }
    struct played *played = &player->out[record->id];
    played->record = *record;
    played->outcome = outcome;
    played->ended_ps = now_ps;
    played->times_ended++;
    player->in_system--;
    km_metrics_request(player->metrics, outcome, record, now_ps);
    km_metrics_in_system(player->metrics, now_ps, player->in_system);
}

static void arrive(struct player *player, struct km_lockstep *replica, const struct scripted *scripted,
                   struct scripted_more more, uint64_t id)
{
    struct km_request request = {.id = id,
                                 .priority = more.priority,
                                 .predicted_output_tokens = more.predicted_output_tokens,
                                 .arrival_ps = scripted->arrival_ps,
                                 .prompt_tokens = scripted->prompt_tokens,
                                 .output_tokens = scripted->output_tokens,
                                 .ends_by_eos = more.ends_by_eos,
                                 .cancel_after_ps = more.cancel_after_ps,
                                 .cancel_tokens = more.cancel_tokens,
                                 .session = -1};
    if (more.prefix) {
        request.prefix_hash_count =
            (scripted->prompt_tokens + KM_PREFIX_BLOCK_TOKENS - 1) / KM_PREFIX_BLOCK_TOKENS;
        request.prefix_hashes = km_alloc(request.prefix_hash_count * sizeof *request.prefix_hashes);
        for (uint32_t i = 0; i < request.prefix_hash_count; i++)
            request.prefix_hashes[i] = more.prefix * 1000 + i;
    }
    km_metrics_arrival(player->metrics, request.arrival_ps);
    player->in_system++;
    if (!km_lockstep_refuses(replica, &request)) {
        km_metrics_in_system(player->metrics, request.arrival_ps, player->in_system);
        km_lockstep_arrive(replica, &request, request.arrival_ps);
        return;
    }
    const struct km_record record = {.id = id,
                                     .arrival_ps = request.arrival_ps,
                                     .prompt_tokens = request.prompt_tokens,
                                     .output_tokens = request.output_tokens};
    ended(player, KM_REJECTED, &record, request.arrival_ps);
    km_request_release(&request);
}

void play(const struct km_replica_config *config, const struct scripted *script, size_t count,
          struct played *out, struct ending *ending, struct km_summary *summary)
{
    play_more(config, script, NULL, count, out, ending, summary);
}

void play_case(const struct random_case *r, struct played *out, struct ending *ending,
               struct km_summary *summary)
{
    play_more(&r->config, r->script, r->more, r->count, out, ending, summary);
}

void random_case_drop(struct random_case *r, size_t i)
{
    memmove(&r->script[i], &r->script[i + 1], (r->count - i - 1) * sizeof *r->script);
    memmove(&r->more[i], &r->more[i + 1], (r->count - i - 1) * sizeof *r->more);
    r->count--;
}

void play_more(const struct km_replica_config *config, const struct scripted *script,
               const struct scripted_more *more, size_t count, struct played *out, struct ending *ending,
               struct km_summary *summary)
{
    const struct km_metrics_settings settings = {0};
    struct player player = {.out = out, .metrics = km_metrics_create(&settings), .count = count};
    struct km_replica_config mine = *config;
    mine.metrics = player.metrics;
    mine.ended = ended;
    mine.context = &player;
    memset(out, 0, count * sizeof *out);
    struct km_lockstep *replica = km_lockstep_create(&mine, config->ranks ? config->ranks : 1);
    uint64_t now_ps = 0;
    size_t arrived = 0;
    bool drained = false;
    for (uint64_t event = 0;; event++) {
        if (event == MOST_EVENTS)
            player.complaint = "the replica acts for ever";
        if (player.complaint)
            break;
        uint64_t arrival_ps = arrived < count ? script[arrived].arrival_ps : KM_PS_NEVER;
        uint64_t turn_ps = km_lockstep_next(replica);
        if (arrival_ps == KM_PS_NEVER && turn_ps == KM_PS_NEVER) {
            if (player.in_system == 0 || drained)
                break;
            km_lockstep_drain(replica, now_ps);
            drained = true;
            continue;
        }
        uint64_t next_ps = arrival_ps <= turn_ps ? arrival_ps : turn_ps;
        if (next_ps < now_ps)
            player.complaint = "time went back";
        now_ps = next_ps;
        if (arrival_ps <= turn_ps) {
            arrive(&player, replica, &script[arrived], more ? more[arrived] : (struct scripted_more){0},
                   arrived);
            arrived++;
        } else {
            if (km_lockstep_act(replica, arrival_ps, NULL) != KM_OK && !player.complaint)
                player.complaint = "the executor failed";
            drained = false;
        }
        for (uint32_t r = 0; r < km_lockstep_ranks(replica); r++) {
            const struct km_kv *kv = km_replica_kv(km_lockstep_rank(replica, r));
            if (kv->used_blocks > kv->config.capacity_blocks)
                player.complaint = "more blocks in use than there are";
            if (kv->promised_blocks != 0)
                player.complaint = "blocks promised to a batch that is no longer being formed";
        }
    }
    struct km_replica_load load;
    km_lockstep_load(replica, &load);
    struct ending end = {.used_blocks = load.used_blocks, .complaint = player.complaint};
    km_lockstep_work(replica, &end.work);
    *ending = end;
    if (summary) {
        km_metrics_kv(player.metrics, end.work.block_seconds, end.work.peak_blocks);
        km_metrics_busy(player.metrics, end.work.busy_s);
        km_metrics_summarize(player.metrics, summary);
    }
    km_lockstep_destroy(replica);
    km_metrics_destroy(player.metrics);
}

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static bool same_latency(const struct km_latency_summary *a, const struct km_latency_summary *b)
{
    return a->count == b->count && a->warmup_count == b->warmup_count && a->ci95_batches == b->ci95_batches &&
           same_bits(a->mean_s, b->mean_s) && same_bits(a->ci95_s, b->ci95_s) &&
           same_bits(a->p50_s, b->p50_s) && same_bits(a->p90_s, b->p90_s) && same_bits(a->p95_s, b->p95_s) &&
           same_bits(a->p99_s, b->p99_s) && same_bits(a->max_s, b->max_s);
}

bool same_summary(const struct km_summary *a, const struct km_summary *b)
{
    for (int i = 0; i < KM_LATENCY_COUNT; i++)
        if (!same_latency(&a->latency[i], &b->latency[i]))
            return false;
    for (uint32_t i = 0; i < a->slo_count; i++)
        if (!same_bits(a->slo[i].value, b->slo[i].value) || a->slo[i].attained != b->slo[i].attained ||
            a->slo[i].within != b->slo[i].within || a->slo[i].count != b->slo[i].count)
            return false;
    for (uint32_t i = 0; i < a->class_count && a->class_count == b->class_count; i++)
        for (int j = 0; j < KM_LATENCY_COUNT; j++)
            if (!same_latency(&a->classes[i].latency[j], &b->classes[i].latency[j]) ||
                a->classes[i].requests != b->classes[i].requests ||
                !same_bits(a->classes[i].goodput_per_s, b->classes[i].goodput_per_s))
                return false;
    return a->submitted == b->submitted && a->completed == b->completed && a->rejected == b->rejected &&
           a->abandoned == b->abandoned && a->preemptions == b->preemptions &&
           a->prompt_tokens == b->prompt_tokens && a->output_tokens == b->output_tokens &&
           same_bits(a->duration_s, b->duration_s) && same_bits(a->requests_per_s, b->requests_per_s) &&
           same_bits(a->output_tokens_per_s, b->output_tokens_per_s) &&
           same_bits(a->total_tokens_per_s, b->total_tokens_per_s) && a->steps == b->steps &&
           same_bits(a->step_mean_s, b->step_mean_s) &&
           same_bits(a->mean_batch_sequences, b->mean_batch_sequences) &&
           same_bits(a->mean_batch_tokens, b->mean_batch_tokens) && a->peak_blocks == b->peak_blocks &&
           same_bits(a->mean_blocks, b->mean_blocks) && same_bits(a->prefix_hit_rate, b->prefix_hit_rate) &&
           same_bits(a->busy_s, b->busy_s) && a->verdict == b->verdict &&
           a->waiting_at_last_arrival == b->waiting_at_last_arrival &&
           a->in_system_at_last_arrival == b->in_system_at_last_arrival &&
           same_bits(a->mean_in_system, b->mean_in_system) && a->peak_in_system == b->peak_in_system &&
           a->class_count == b->class_count && a->slo_count == b->slo_count &&
           a->slo_stated == b->slo_stated && a->slo_attained == b->slo_attained &&
           same_bits(a->goodput_per_s, b->goodput_per_s);
}

bool same_record(const struct km_record *a, const struct km_record *b)
{
    return a->id == b->id && a->arrival_ps == b->arrival_ps && a->scheduled_ps == b->scheduled_ps &&
           a->started_ps == b->started_ps && a->first_token_ps == b->first_token_ps &&
           a->last_token_ps == b->last_token_ps && a->prompt_tokens == b->prompt_tokens &&
           a->output_tokens == b->output_tokens && a->preemptions == b->preemptions &&
           a->replica == b->replica && a->class_index == b->class_index;
}

static uint64_t one_of(gsl_rng *rng, const uint64_t *values, size_t count)
{
    return values[gsl_rng_uniform_int(rng, count)];
}
#define ONE_OF(rng, ...)                                                                                     \
    one_of(rng, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static uint64_t up_to(gsl_rng *rng, uint64_t most)
{
    return gsl_rng_uniform_int(rng, (unsigned long)most + 1);
}

static uint64_t host_time(gsl_rng *rng)
{
    return ONE_OF(rng, 0, 0, 1, 10, 100, 500, 1000, 2500, up_to(rng, 2000));
}

static void random_synthetic(gsl_rng *rng, struct synthetic *out)
{
    *out = (struct synthetic){
        .step_ps = ONE_OF(rng, 1, 100, 1000, 1000, up_to(rng, 3000) + 1),
        .token_ps = ONE_OF(rng, 0, 0, 1, 10, 100),
        .context_ps = ONE_OF(rng, 0, 0, 1, 3, 10),
        .form_ps = host_time(rng),
        .form_sequence_ps = ONE_OF(rng, 0, 0, 1, 10),
        .launch_ps = host_time(rng),
        .process_ps = host_time(rng),
        .process_sequence_ps = ONE_OF(rng, 0, 0, 1, 10),
        .workers = up_to(rng, 3) == 0,
        .uncaptured = up_to(rng, 3) == 0,
        .captured_tokens = (uint32_t)ONE_OF(rng, 0, 0, 2, 8),
        .knot = ONE_OF(rng, 0, 0, 7, 64, 1000),
        .stages = (uint32_t)ONE_OF(rng, 1, 1, 1, 2, 3),
    };
}

static const struct km_entry *any_of(gsl_rng *rng, const struct km_entry *const *registry)
{
    size_t count = 0;
    while (registry[count])
        count++;
    return registry[gsl_rng_uniform_int(rng, count)];
}

void random_case(gsl_rng *rng, const struct km_batching_policy *policy, const struct km_kv_manager *manager,
                 struct random_case *out)
{
    const struct km_entry *any_policy = any_of(rng, km_batching_registry);
    const struct km_entry *any_manager = any_of(rng, km_kv_registry);
    random_synthetic(rng, &out->synthetic);
    uint32_t block_size = (uint32_t)ONE_OF(rng, 1, 2, 4, 16);
    uint64_t longest_prompt = ONE_OF(rng, 1, 5, 20, 60), longest_output = ONE_OF(rng, 1, 5, 30, 100);
    uint64_t longest = longest_prompt + longest_output;
    uint64_t room = ONE_OF(rng, longest, longest * 2, longest * 5, longest * 100);
    uint32_t max_num_seqs = (uint32_t)ONE_OF(rng, 1, 2, 4, 64);
    out->config = (struct km_replica_config){
        .policy = policy ? policy : (const struct km_batching_policy *)(const void *)any_policy,
        .batching = {.max_num_seqs = max_num_seqs,
                     .max_num_batched_tokens = (uint32_t)ONE_OF(rng, 1, 4, 16, 64, 1000),
                     .long_prefill_token_threshold = (uint32_t)ONE_OF(rng, 0, 0, 3, 10),
                     .enable_chunked_prefill = up_to(rng, 4) > 0,
                     .batch_size = (uint32_t)up_to(rng, max_num_seqs - 1) + 1,
                     .batch_cap = (uint32_t)ONE_OF(rng, 0, 1, 3, 10),
                     .max_wait_ps = ONE_OF(rng, 0, 1000, 20000),
                     .pad_prompts = up_to(rng, 3) == 0},
        .kv_manager = manager ? manager : (const struct km_kv_manager *)(const void *)any_manager,
        .kv = {.capacity_blocks = room / block_size + 1,
               .block_size = block_size,
               .max_model_len = (uint32_t)ONE_OF(rng, longest, longest, 1000)},
        .executor = &synthetic_lines,
        .pace.stages = out->synthetic.stages,
        .pace.overlapped = up_to(rng, 1) == 0,
        .fast_forward = true,
        .window = (uint32_t)ONE_OF(rng, 0, 0, 1, 8, 40),
        .frontend = {.request_ps = ONE_OF(rng, 0, 0, 0, 900),
                     .token_ps = ONE_OF(rng, 0, 0, 0, 7),
                     .fixed_ps = ONE_OF(rng, 0, 0, 100, 3000),
                     .chunk_ps = ONE_OF(rng, 0, 0, 500)},
        .patience_ps = ONE_OF(rng, KM_PS_NEVER, KM_PS_NEVER, 5000, 50000),
    };
    out->config.executor_state = &out->synthetic;
    static const struct km_ranked_settings starving[] = {{1, 1}, {3, 2}, {20, 5}};
    if (out->config.policy == km_batching_find("rank") && up_to(rng, 1))
        out->config.batching.own = &starving[up_to(rng, 2)];
    out->count = up_to(rng, MOST_SCRIPTED - 1) + 1;
    /* With steps of one length and no host times, arrivals fall on the very moments at which batches are
     * formed. */
    uint64_t grid_ps = ONE_OF(rng, 1, out->synthetic.step_ps);
    if (grid_ps > 1 && up_to(rng, 1)) {
        struct synthetic *s = &out->synthetic;
        s->token_ps = s->context_ps = s->form_ps = s->form_sequence_ps = 0;
        s->launch_ps = s->process_ps = s->process_sequence_ps = 0;
        out->config.frontend.fixed_ps = 0;
    }
    uint64_t shared = ONE_OF(rng, 0, 1, 3);
    uint64_t gap_ps = ONE_OF(rng, 0, 500, 2000, 10000, 100000), now_ps = 0;
    for (size_t i = 0; i < out->count; i++) {
        out->script[i] = (struct scripted){now_ps, (uint32_t)up_to(rng, longest_prompt - 1) + 1,
                                           (uint32_t)up_to(rng, longest_output - 1) + 1};
        out->more[i] = (struct scripted_more){.prefix = shared ? up_to(rng, shared) : 0,
                                              .priority = (int32_t)up_to(rng, 3) - 1};
        if (up_to(rng, 5))
            out->more[i].predicted_output_tokens = (float)(up_to(rng, 2 * longest_output) + 1) / 2;
        now_ps += up_to(rng, 2) ? up_to(rng, 2 * gap_ps) : 0;
        now_ps -= now_ps % grid_ps;
    }
}

void random_case_ends(gsl_rng *rng, struct random_case *r)
{
    uint64_t hasty = ONE_OF(rng, 0, 2, 5), most_ps = ONE_OF(rng, 1000, 20000, 200000);
    r->config.pace.placeholders = up_to(rng, 1);
    for (size_t i = 0; i < r->count; i++) {
        r->more[i].ends_by_eos = up_to(rng, 2) > 0;
        if (hasty && up_to(rng, hasty) == 0)
            r->more[i].cancel_after_ps = up_to(rng, most_ps) + 1;
        if (hasty && up_to(rng, hasty) == 0)
            r->more[i].cancel_tokens = (uint32_t)up_to(rng, 40);
    }
}

void random_case_describe(const struct random_case *r, char *out, size_t size)
{
    const struct synthetic *s = &r->synthetic;
    const struct km_replica_config *c = &r->config;
    int length = snprintf(
        out, size,
        "policy %s, kv %s, step %llu token %llu context %llu, form %llu +%llu launch %llu process %llu "
        "+%llu, workers %d, uncaptured %d "
        "(%u), knot %llu, stages %u, async %d; seqs %u budget %u threshold %u chunked %d size %u cap %u wait "
        "%llu pad %d; blocks %llu of %u, "
        "longest %u, window %u, front end %llu +%llu a token, %llu, %llu a chunk, patience %llu; (arrival, "
        "prompt, output, prefix, priority, "
        "predicted, eos, cancel after, with tokens):",
        c->policy->entry.name, c->kv_manager->entry.name, (unsigned long long)s->step_ps,
        (unsigned long long)s->token_ps, (unsigned long long)s->context_ps, (unsigned long long)s->form_ps,
        (unsigned long long)s->form_sequence_ps, (unsigned long long)s->launch_ps,
        (unsigned long long)s->process_ps, (unsigned long long)s->process_sequence_ps, s->workers,
        s->uncaptured, s->captured_tokens, (unsigned long long)s->knot, c->pace.stages, c->pace.overlapped,
        c->batching.max_num_seqs, c->batching.max_num_batched_tokens,
        c->batching.long_prefill_token_threshold, c->batching.enable_chunked_prefill, c->batching.batch_size,
        c->batching.batch_cap, (unsigned long long)c->batching.max_wait_ps, c->batching.pad_prompts,
        (unsigned long long)c->kv.capacity_blocks, c->kv.block_size, c->kv.max_model_len, c->window,
        (unsigned long long)c->frontend.request_ps, (unsigned long long)c->frontend.token_ps,
        (unsigned long long)c->frontend.fixed_ps, (unsigned long long)c->frontend.chunk_ps,
        (unsigned long long)c->patience_ps);
    for (size_t i = 0; i < r->count && length > 0 && (size_t)length < size; i++)
        length +=
            snprintf(out + length, size - (size_t)length, " (%llu,%u,%u,%llu,%d,%g,%d,%llu,%u)",
                     (unsigned long long)r->script[i].arrival_ps, r->script[i].prompt_tokens,
                     r->script[i].output_tokens, (unsigned long long)r->more[i].prefix, r->more[i].priority,
                     (double)r->more[i].predicted_output_tokens, r->more[i].ends_by_eos,
                     (unsigned long long)r->more[i].cancel_after_ps, r->more[i].cancel_tokens);
}
