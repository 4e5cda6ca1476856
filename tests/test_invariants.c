/* What must hold whatever the policy, the KV manager and the cost model: checked over their whole registries,
 * so that a new entry is held to it without a word here. */
#include "base/random.h"
#include "base/simtime.h"
#include "scenario/fleet.h"
#include "support/play.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a policy that decides by dice: whatever it may do, the event core must cope with ---- */

struct dice {
    uint64_t thrown;
};

static uint32_t throw(struct dice * dice, uint32_t sides)
{
    dice->thrown = dice->thrown * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(dice->thrown >> 33) % sides;
}

/* Give a running sequence its tokens, or not; take it out, now and then, even if it got some. */
static void toss_running(struct dice *dice, const struct km_batch_handle *batch, struct km_sequence *sequence,
                         bool decodes_done)
{
    if (sequence->state == KM_SEQ_DECODE && !decodes_done) {
        if (throw(dice, 8) == 0)
            km_batch_pause(batch, sequence);
        else if (throw(dice, 4) && km_batch_may_decode(batch, sequence))
            km_batch_decode(batch, sequence);
    } else if (sequence->state == KM_SEQ_PAUSED && !decodes_done && throw(dice, 3)) {
        km_batch_resume(batch, sequence);
    } else if (sequence->state == KM_SEQ_PREFILL && throw(dice, 4)) {
        uint32_t left = sequence->target_tokens - sequence->computed_tokens;
        km_batch_chunk(batch, sequence, throw(dice, 2) ? left : 1 + throw(dice, left));
    }
    if (throw(dice, 20) == 0)
        km_batch_preempt(batch, sequence);
}

static void toss(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    struct dice *dice = state;
    bool decodes_done = false;
    if (throw(dice, 5) > 0) {
        if (throw(dice, 2) && view->decode_count)
            decodes_done = km_batch_decode_all(batch);
        for (struct km_sequence *sequence = view->running->first, *next; sequence; sequence = next) {
            next = sequence->next;
            toss_running(dice, batch, sequence, decodes_done);
        }
        for (struct km_sequence *sequence = view->waiting->first, *next; sequence; sequence = next) {
            next = sequence->next;
            if (throw(dice, 2) && view->running->count < view->settings->max_num_seqs)
                km_batch_admit(batch, sequence, 1 + throw(dice, 200));
        }
    }
    if (view->waiting->first || view->running->first) /* counts if nothing was given, or all taken back */
        km_batch_wait_until(batch, view->now_ps + 1 + throw(dice, 3000));
}

static const struct km_batching_policy by_dice = {
    .entry = {"dice", "anything that is allowed"},
    .state_bytes = sizeof(struct dice),
    .form = toss,
};

/* ---- small random cases with a synthetic executor ---- */

static const char *wrong_times(const struct random_case *r, const struct played *p)
{
    const struct km_record *record = &p->record;
    const struct synthetic *s = &r->synthetic;
    if (p->outcome == KM_REJECTED)
        return p->ended_ps == record->arrival_ps ? NULL : "rejected late";
    if (p->outcome == KM_ABANDONED)
        return p->ended_ps == record->arrival_ps + r->config.patience_ps ? NULL : "gave up at another time";
    if (record->scheduled_ps < record->arrival_ps + r->config.frontend.fixed_ps)
        return "scheduled before the engine knew it";
    if (r->config.patience_ps != KM_PS_NEVER &&
        record->scheduled_ps > record->arrival_ps + r->config.patience_ps)
        return "scheduled after its patience had run out";
    if (record->started_ps < record->scheduled_ps)
        return "started before it was scheduled";
    if (record->first_token_ps < record->started_ps + s->step_ps * r->config.pace.stages)
        return "a first token in less than a step";
    /* Each token takes a step of its own after the one before it. (From the first token it may seem less: the
     * host may be late with that one's result, and not with the last one's.) */
    if (record->last_token_ps <
        record->started_ps + record->output_tokens * s->step_ps * r->config.pace.stages)
        return "tokens faster than steps";
    if (record->last_token_ps < record->first_token_ps)
        return "the last token before the first";
    if (record->output_tokens == 1 && record->last_token_ps != record->first_token_ps &&
        !(r->config.policy->traits & KM_BATCHING_HOLDS_FINISHED))
        return "one token at two times";
    if (p->ended_ps != record->last_token_ps)
        return "ended at another time than its last token's";
    return NULL;
}

static const char *wrong_totals(const struct random_case *r, const struct played *played,
                                const struct ending *ending, const struct km_summary *summary)
{
    uint64_t prompt = 0, output = 0, gaps = 0, gap_ps = 0, preemptions = 0, outcomes[KM_CANCELLED + 1] = {0};
    for (size_t i = 0; i < r->count; i++) {
        outcomes[played[i].outcome]++;
        if (played[i].outcome != KM_COMPLETED)
            continue;
        const struct km_record *record = &played[i].record;
        prompt += r->script[i].prompt_tokens;
        output += r->script[i].output_tokens;
        gaps += r->script[i].output_tokens - 1;
        gap_ps += record->last_token_ps - record->first_token_ps;
        preemptions += record->preemptions;
    }
    const struct km_work *work = &ending->work;
    if (summary->submitted != r->count || summary->completed != outcomes[KM_COMPLETED] ||
        summary->rejected != outcomes[KM_REJECTED] || summary->abandoned != outcomes[KM_ABANDONED])
        return "outcomes miscounted";
    if (summary->preemptions != preemptions)
        return "preemptions miscounted";
    if (summary->prompt_tokens != prompt || summary->output_tokens != output)
        return "tokens of requests miscounted";
    if (work->sampled != output)
        return "tokens sampled are not the tokens of the outputs";
    bool recomputes = preemptions || r->config.kv_manager->match;
    if (!recomputes && work->tokens != prompt + gaps)
        return "tokens computed are not prompts and outputs";
    if (!r->config.kv_manager->match && work->tokens < prompt + gaps)
        return "fewer tokens computed than there are";
    if (summary->latency[KM_ITL].count != gaps)
        return "gaps miscounted";
    double sum_s = gaps ? summary->latency[KM_ITL].mean_s * (double)gaps : 0.0;
    if (!(r->config.policy->traits & KM_BATCHING_HOLDS_FINISHED) &&
        fabs(sum_s - (double)gap_ps * 1e-12) > 1e-9 * sum_s)
        return "gaps do not add up from first to last token";
    if (work->peak_blocks > r->config.kv.capacity_blocks)
        return "more blocks used than there are";
    if (work->steps != summary->steps)
        return "steps miscounted";
    if (outcomes[KM_COMPLETED] && work->busy_s > summary->duration_s * (1 + 1e-12))
        return "busier than time allows";
    if (ending->used_blocks)
        return "blocks held when all is over";
    return NULL;
}

static const char *wrong(struct random_case *r)
{
    static struct played played[2][MOST_SCRIPTED];
    struct ending ending[2];
    struct km_summary summary[2];
    for (int again = 0; again < 2; again++) {
        play_case(r, played[again], &ending[again], &summary[again]);
        if (ending[again].complaint)
            return ending[again].complaint;
    }
    for (size_t i = 0; i < r->count; i++) {
        const struct played *p = &played[0][i];
        if (p->times_ended != 1)
            return p->times_ended ? "a request ended twice" : "a request never ended";
        const char *what = wrong_times(r, p);
        if (what)
            return what;
        if (p->outcome != played[1][i].outcome || !same_record(&p->record, &played[1][i].record))
            return "another result the second time";
        if (p->record.arrival_ps != r->script[i].arrival_ps ||
            p->record.prompt_tokens != r->script[i].prompt_tokens ||
            p->record.output_tokens != r->script[i].output_tokens)
            return "another request than came";
    }
    return wrong_totals(r, played[0], &ending[0], &summary[0]);
}

/* Leave requests out as long as it still goes wrong. */
static void shrink(struct random_case *r)
{
    for (bool shorter = true; shorter;) {
        shorter = false;
        for (size_t i = 0; i < r->count && r->count > 1; i++) {
            struct random_case tried = *r;
            tried.config.executor_state = &tried.synthetic;
            random_case_drop(&tried, i);
            if (!wrong(&tried))
                continue;
            *r = tried;
            r->config.executor_state = &r->synthetic;
            shorter = true;
        }
    }
}

static void hold(const struct km_batching_policy *policy, const struct km_kv_manager *manager, uint64_t cases)
{
    for (uint64_t seed = 1; seed <= cases; seed++) {
        struct random_case r;
        gsl_rng *rng = km_random_stream(seed, KM_RANDOM_PREDICTION);
        random_case(rng, policy, manager, &r);
        r.config.fast_forward = seed % 2;
        gsl_rng_free(rng);
        if (!wrong(&r))
            continue;
        char text[4096];
        shrink(&r);
        random_case_describe(&r, text, sizeof text);
        fail_msg("seed %llu: %s: %s", (unsigned long long)seed, wrong(&r), text);
    }
}

#define CASES 300u

static void every_policy_and_manager(void **state)
{
    (void)state;
    for (size_t p = 0; km_batching_registry[p]; p++)
        for (size_t m = 0; km_kv_registry[m]; m++)
            hold((const struct km_batching_policy *)(const void *)km_batching_registry[p],
                 (const struct km_kv_manager *)(const void *)km_kv_registry[m], CASES);
}

static void every_manager_under_dice(void **state)
{
    (void)state;
    for (size_t m = 0; km_kv_registry[m]; m++)
        hold(&by_dice, (const struct km_kv_manager *)(const void *)km_kv_registry[m], 4 * CASES);
}

/* First come, first served: `continuous` never lets a request overtake in its first schedule. */
static void continuous_is_in_order(void **state)
{
    (void)state;
    static struct played played[MOST_SCRIPTED];
    const struct km_batching_policy *continuous =
        (const struct km_batching_policy *)(const void *)km_registry_find(km_batching_registry, "continuous");
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct random_case r;
        struct ending ending;
        gsl_rng *rng = km_random_stream(seed, KM_RANDOM_ROUTING);
        random_case(rng, continuous, NULL, &r);
        gsl_rng_free(rng);
        play_case(&r, played, &ending, NULL);
        uint64_t latest_ps = 0;
        for (size_t i = 0; i < r.count; i++) {
            if (played[i].outcome != KM_COMPLETED)
                continue;
            assert_true(played[i].record.scheduled_ps >= latest_ps);
            latest_ps = played[i].record.scheduled_ps;
        }
    }
}

/* ---- whole scenarios: every policy, KV manager and cost model ---- */

#define REQUESTS 40u

struct ends {
    struct km_record records[REQUESTS];
    uint32_t times[REQUESTS];
};

static void count_end(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct ends *ends = context;
    assert_int_equal(outcome, KM_COMPLETED);
    assert_true(record->id < REQUESTS);
    ends->records[record->id] = *record;
    ends->times[record->id]++;
}

static void run_scenario(const struct km_entry *policy, const struct km_entry *manager,
                         const struct km_entry *cost, uint64_t seed, struct ends *ends)
{
    char cost_text[100];
    const char *parameters = strcmp(cost->name, "linear") == 0
                                 ? ", k1: 0.001, k2: 0.002, k3: 0.0001, k4: 0.005"
                             : strcmp(cost->name, "profile") == 0 ? ", profile: h200-sxm-aiconfigurator"
                                                                  : "";
    snprintf(cost_text, sizeof cost_text, "{model: %s%s}", cost->name, parameters);
    const struct km_override overrides[] = {
        {"workload",
         "{arrivals: {process: poisson, rate_per_s: 5}, requests: 40, prompt_tokens: {distribution: "
         "uniform, min: 1, max: 900}, output_tokens: {distribution: geometric, mean: 50, max: 400}}"},
        {"engine.batching.policy", policy->name},
        {"engine.kv.manager", manager->name},
        {"engine.batching.max_num_seqs", "16"},
        {"engine.batching.batch_size", "4"},
        {"engine.max_model_len", "1400"},
        {"prediction.output_tokens", "{kind: noisy, sigma: 0.5}"},
        {"engine.kv.num_gpu_blocks_override", "400"},
        {"cost", cost_text},
    };
    struct km_error error;
    struct km_scenario scenario;
    struct km_fleet fleet;
    struct km_run_result result;
    memset(ends, 0, sizeof *ends);
    if (km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides,
                         sizeof overrides / sizeof *overrides, &scenario, &error) != KM_OK ||
        km_fleet_create(&scenario, &fleet, &error) != KM_OK)
        fail_msg("%s, %s, %s: %s", policy->name, manager->name, cost->name, error.message);
    const struct km_run_options options = {.fast_forward = true, .ended = count_end, .context = ends};
    assert_int_equal(km_fleet_run(&fleet, &scenario.workload, seed, &options, &result, &error), KM_OK);
    assert_int_equal(result.summary.completed, REQUESTS);
    assert_int_equal(result.simulation.used_blocks, 0);
    assert_int_equal(result.simulation.unserved, 0);
    assert_true(result.summary.peak_blocks <= result.simulation.capacity_blocks);
    assert_true(result.summary.busy_s <= result.summary.duration_s * (1 + 1e-12));
    for (uint32_t i = 0; i < REQUESTS; i++) {
        const struct km_record *r = &ends->records[i];
        assert_int_equal(ends->times[i], 1);
        assert_true(r->arrival_ps <= r->scheduled_ps && r->scheduled_ps <= r->started_ps &&
                    r->started_ps < r->first_token_ps && r->first_token_ps <= r->last_token_ps);
    }
    km_fleet_release(&fleet);
    km_scenario_release(&scenario);
}

/* Whatever serves them, the same seed sends the same requests; and the same plan gives the same records. */
static void every_combination_of_a_scenario(void **state)
{
    (void)state;
    static struct ends reference, ends, again, other;
    run_scenario(km_batching_registry[0], km_kv_registry[0], km_cost_registry[0], 5, &reference);
    run_scenario(km_batching_registry[0], km_kv_registry[0], km_cost_registry[0], 6, &other);
    assert_int_not_equal(reference.records[1].arrival_ps, other.records[1].arrival_ps);
    for (size_t p = 0; km_batching_registry[p]; p++)
        for (size_t m = 0; km_kv_registry[m]; m++)
            for (size_t c = 0; km_cost_registry[c]; c++) {
                run_scenario(km_batching_registry[p], km_kv_registry[m], km_cost_registry[c], 5, &ends);
                run_scenario(km_batching_registry[p], km_kv_registry[m], km_cost_registry[c], 5, &again);
                for (uint32_t i = 0; i < REQUESTS; i++) {
                    assert_true(same_record(&ends.records[i], &again.records[i]));
                    assert_int_equal(ends.records[i].arrival_ps, reference.records[i].arrival_ps);
                    assert_int_equal(ends.records[i].prompt_tokens, reference.records[i].prompt_tokens);
                    assert_int_equal(ends.records[i].output_tokens, reference.records[i].output_tokens);
                }
            }
}

/* ---- a production trace, whole ---- */

#define AZURE KM_SOURCE_DIR "/../shared/data/traces/azure-conv-2023.csv"

struct conservation {
    uint64_t ended, prompt_tokens, output_tokens;
};

static void count_tokens(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct conservation *seen = context;
    assert_int_equal(outcome, KM_COMPLETED);
    seen->ended++;
    seen->prompt_tokens += record->prompt_tokens;
    seen->output_tokens += record->output_tokens;
}

/* 19,366 requests of 22,361,870 prompt and 4,088,665 output tokens go in; as many come out, every prompt
 * token is computed once, every output token sampled once, and no block is left in use. */
static void azure_conversation_trace(void **state)
{
    (void)state;
    if (access(AZURE, R_OK) != 0)
        skip();
    const struct km_override overrides[] = {{"workload", "{trace: \"" AZURE "\"}"}};
    struct km_error error;
    struct km_scenario scenario;
    struct km_fleet fleet;
    struct km_run_result result;
    struct conservation seen = {0};
    assert_int_equal(
        km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides, 1, &scenario, &error), KM_OK);
    assert_int_equal(km_fleet_create(&scenario, &fleet, &error), KM_OK);
    const struct km_run_options options = {.fast_forward = true, .ended = count_tokens, .context = &seen};
    assert_int_equal(km_fleet_run(&fleet, &scenario.workload, 1, &options, &result, &error), KM_OK);
    assert_int_equal(seen.ended, 19366);
    assert_int_equal(seen.prompt_tokens, 22361870);
    assert_int_equal(seen.output_tokens, 4088665);
    assert_int_equal(result.summary.completed, seen.ended);
    assert_int_equal(result.summary.preemptions, 0);
    assert_int_equal(result.simulation.work.sampled, seen.output_tokens);
    /* The first output token comes from the prompt's last step; the last is never computed on. */
    assert_int_equal(result.simulation.work.tokens, seen.prompt_tokens + seen.output_tokens - seen.ended);
    assert_int_equal(result.simulation.used_blocks, 0);
    km_fleet_release(&fleet);
    km_scenario_release(&scenario);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_and_manager), cmocka_unit_test(every_manager_under_dice),
        cmocka_unit_test(continuous_is_in_order),   cmocka_unit_test(every_combination_of_a_scenario),
        cmocka_unit_test(azure_conversation_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
