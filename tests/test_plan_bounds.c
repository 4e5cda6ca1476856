/* Bounds of steps and prices of work, against the cost models themselves: no batch that is possible takes
 * less than they say. */
#include "planner/work_bound.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <gsl/gsl_rng.h>

#define SCENARIOS 60
#define STEPS     200
#define CHUNKS    8

struct layout_case {
    const char *model, *device, *tensor, *pipeline, *data, *expert, *kv;
};

static const struct layout_case cases[] = {
    {"llama-3.1-8b", "h200-sxm", "1", "1", "1", "false", "bf16"},
    {"llama-3.1-8b", "l40s", "2", "1", "1", "false", "fp8"},
    {"llama-3.1-70b", "h100-sxm", "4", "2", "1", "false", "bf16"},
    {"llama-3.1-70b", "a100-80g-sxm", "8", "1", "1", "false", "bf16"},
    {"mixtral-8x7b", "h200-sxm", "2", "1", "1", "true", "bf16"},
    {"qwen3-30b-a3b", "h200-sxm", "1", "1", "4", "true", "bf16"},
    {"qwen3-30b-a3b", "h100-sxm", "2", "2", "2", "false", "bf16"},
    {"gemma-2-9b", "h100-sxm", "1", "1", "1", "false", "bf16"},
    {"deepseek-v2-lite", "h200-sxm", "2", "1", "1", "false", "bf16"},
    {"jamba-v0.1", "h200-sxm", "2", "1", "1", "false", "bf16"},
};

static const char *const scenario_path = KM_SOURCE_DIR "/configs/quickstart.yaml";

static void read_scenario(const struct layout_case *c, const char *cost, const char *seqs, const char *tokens,
                          struct km_scenario *out)
{
    const struct km_override overrides[] = {
        {"model", c->model},
        {"cluster.device", c->device},
        {"cluster.tensor_parallel_size", c->tensor},
        {"cluster.pipeline_parallel_size", c->pipeline},
        {"cluster.data_parallel_size", c->data},
        {"cluster.enable_expert_parallel", c->expert},
        {"precision.kv_cache", c->kv},
        {"engine.batching.max_num_seqs", seqs},
        {"engine.batching.max_num_batched_tokens", tokens},
        {"cost.model", cost},
        {"cost.k1", "0.002"}, /* these two of linear alone */
        {"cost.k4", "0.005"},
    };
    struct km_error error = {0};
    size_t count = sizeof overrides / sizeof *overrides - (strcmp(cost, "linear") == 0 ? 0 : 2);
    if (km_scenario_read(scenario_path, overrides, count, out, &error) != KM_OK)
        fail_msg("%s %s: %s", c->model, c->device, error.message);
}

static uint32_t below(gsl_rng *rng, uint32_t limit)
{
    return (uint32_t)gsl_rng_uniform_int(rng, limit);
}

/* Sizes small and large alike. */
static uint32_t some(gsl_rng *rng, uint32_t limit)
{
    return limit < 2 ? limit : 1 + below(rng, 1 + below(rng, limit));
}

struct batch {
    struct km_chunk chunks[CHUNKS];
    struct km_step_shape shape;
    struct km_work_amount amount; /* by prices: what is yielded beyond first tokens, computed, attended to */
};

static void draw_batch(gsl_rng *rng, const struct km_work_limits *limits, struct batch *out)
{
    memset(out, 0, sizeof *out);
    struct km_step_shape *shape = &out->shape;
    uint32_t left = (uint32_t)limits->step_tokens;
    if (below(rng, 4)) {
        uint32_t most = (uint32_t)fmin(limits->sequences, left);
        shape->decode.count = some(rng, most);
        double context = limits->context_tokens * gsl_rng_uniform(rng) * gsl_rng_uniform(rng);
        shape->decode.sum_context = (uint64_t)fmax(shape->decode.count, context);
        shape->decode.max_context = shape->decode.sum_context;
        shape->decode.sum_windowed = shape->decode.count;
        left -= shape->decode.count;
    }
    shape->chunks = out->chunks;
    for (uint32_t i = 0; i < CHUNKS && left > 0 && (shape->decode.count == 0 || below(rng, 2)); i++) {
        out->chunks[i] = (struct km_chunk){some(rng, left), below(rng, 2) ? 0 : below(rng, 4096)};
        shape->chunk_count++;
        shape->prefill_tokens += out->chunks[i].tokens;
        left -= out->chunks[i].tokens;
    }
    shape->sampled = shape->decode.count + below(rng, shape->chunk_count + 1);
    out->amount = (struct km_work_amount){.decodes = shape->decode.count,
                                          .tokens = shape->prefill_tokens,
                                          .context = (double)shape->decode.sum_context};
    if (shape->decode.count == 0)
        out->amount.context = 0.0;
}

/* Data-parallel ranks each draw a batch of their own, or none; the slowest counts. */
static void draw_step(gsl_rng *rng, const struct km_setup *setup, const struct km_work_limits *limits,
                      void *cost_state, struct batch *ranks, struct km_work_amount *amount, double *slowest_s)
{
    const struct km_layout *layout = &setup->cost_config.layout;
    const uint32_t data = km_layout_data(layout);
    const struct km_work_limits own = {limits->sequences / data, limits->context_tokens / data,
                                       limits->step_tokens / data};
    struct km_step_peers peers = {.ranks = data > 1 ? data : 0};
    double stage_s[64];
    *amount = (struct km_work_amount){0};
    for (uint32_t r = 0; r < data; r++) {
        if (r > 0 && below(rng, 3) == 0)
            ranks[r] = (struct batch){0};
        else
            draw_batch(rng, &own, &ranks[r]);
        const uint32_t tokens = km_step_tokens(&ranks[r].shape);
        peers.prompts |= ranks[r].shape.chunk_count > 0;
        peers.most_tokens = tokens > peers.most_tokens ? tokens : peers.most_tokens;
        peers.all_tokens += tokens ? tokens : 1;
        amount->decodes += ranks[r].amount.decodes;
        amount->tokens += ranks[r].amount.tokens;
        amount->context += ranks[r].amount.context;
    }
    for (uint32_t s = 0; s < layout->pipeline_parallel; s++)
        slowest_s[s] = 0.0;
    for (uint32_t r = 0; r < data; r++) {
        if (km_step_tokens(&ranks[r].shape) == 0)
            continue;
        ranks[r].shape.peers = peers;
        setup->cost->step(cost_state, &ranks[r].shape, stage_s);
        for (uint32_t s = 0; s < layout->pipeline_parallel; s++)
            slowest_s[s] = fmax(slowest_s[s], stage_s[s]);
    }
}

static void expect_prices_hold(const struct km_setup *setup, gsl_rng *rng, const char *what)
{
    const struct km_scenario *scenario = setup->scenario;
    double data = scenario->cluster.data_parallel_size, stage_s[64], dearest = 0.0;
    const struct km_work_limits limits = {.sequences = scenario->engine.max_num_seqs * data,
                                          .context_tokens =
                                              (double)setup->blocks * scenario->engine.block_size,
                                          .step_tokens = scenario->engine.max_num_batched_tokens * data};
    const struct km_work_amount load = {.decodes = 100 + below(rng, 40000),
                                        .tokens = 1000 + below(rng, 400000),
                                        .context = 1e5 + below(rng, 100000000)};
    struct km_step_bound bound;
    struct km_work_prices prices;
    void *cost_state;
    assert_int_equal(km_step_bound_create(setup, &bound, NULL), KM_OK);
    assert_int_equal(setup->cost->create(&setup->cost_config, &cost_state, NULL), KM_OK);
    km_work_prices_find(&bound, &limits, &load, &prices);
    assert_true(prices.decode_s >= 0.0 && prices.token_s >= 0.0 && prices.context_s >= 0.0);
    assert_true(km_work_price(&prices, &load) > 0.0);
    for (int i = 0; i < STEPS; i++) {
        struct batch ranks[8];
        struct km_work_amount amount;
        draw_step(rng, setup, &limits, cost_state, ranks, &amount, stage_s);
        double price = km_work_price(&prices, &amount), takes = stage_s[prices.stage];
        if (price > takes * (1.0 + 1e-9))
            fail_msg("%s: a step of %g decodes over %g, %g prompt tokens takes %g s, priced %g", what,
                     amount.decodes, amount.context, amount.tokens, takes, price);
        dearest = fmax(dearest, price / takes);
    }
    /* Prices that charge nothing would hold, too. */
    assert_true(dearest > 0.05);
    setup->cost->destroy(cost_state);
    km_step_bound_release(&bound);
}

/* A prompt in one step, or cut in two, takes no less than the bound of one sequence; nor does a decode. */
static void expect_alone_holds(const struct km_setup *setup, gsl_rng *rng)
{
    struct km_step_bound bound;
    void *cost_state;
    double stage_s[64];
    uint32_t stages = setup->scenario->cluster.pipeline_parallel_size;
    assert_int_equal(km_step_bound_create(setup, &bound, NULL), KM_OK);
    assert_int_equal(setup->cost->create(&setup->cost_config, &cost_state, NULL), KM_OK);
    for (int i = 0; i < STEPS; i++) {
        uint32_t tokens = 1 + some(rng, 4000), first = some(rng, tokens - 1);
        const struct km_chunk chunks[2] = {{first, 0}, {tokens - first, first}};
        double takes = 0.0, pairs = tokens * (tokens + 1.0) / 2.0;
        for (int c = first == tokens ? 1 : 0; c < 2; c++) {
            const struct km_step_shape shape = {.chunks = &chunks[c],
                                                .chunk_count = 1,
                                                .prefill_tokens = chunks[c].tokens,
                                                .sampled = c == 1};
            setup->cost->step(cost_state, &shape, stage_s);
            for (uint32_t s = 0; s < stages; s++)
                takes += stage_s[s];
        }
        double least = km_step_bound_tokens_s(&bound, tokens) + km_step_bound_sample_s(&bound) +
                       km_step_bound_pair_s(&bound) * pairs;
        assert_true(least <= takes * (1.0 + 1e-9));
        assert_true(least > 0.0);
    }
    setup->cost->destroy(cost_state);
    km_step_bound_release(&bound);
}

static void run_cases(const char *cost, unsigned seed)
{
    static const char *const seqs[] = {"1", "16", "256", "1024"};
    static const char *const tokens[] = {"1024", "8192", "20000"};
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    for (unsigned i = 0; i < SCENARIOS; i++) {
        struct km_scenario scenario;
        struct km_setup setup;
        struct km_error error = {0};
        gsl_rng_set(rng, seed + i);
        const struct layout_case *c = &cases[i % (sizeof cases / sizeof *cases)];
        const char *has_profile = "h200-sxm";
        if (strcmp(cost, "profile") == 0 &&
            (strcmp(c->device, has_profile) != 0 || strncmp(c->model, "llama", 5) != 0))
            continue;
        read_scenario(c, cost, seqs[below(rng, 4)], tokens[below(rng, 3)], &scenario);
        if (km_setup_create(&scenario, &setup, &error) != KM_OK)
            fail_msg("%s: %s", c->model, error.message);
        expect_prices_hold(&setup, rng, c->model);
        expect_alone_holds(&setup, rng);
        km_setup_release(&setup);
        km_scenario_release(&scenario);
    }
    gsl_rng_free(rng);
}

static void test_roofline(void **state)
{
    (void)state;
    run_cases("roofline", 1000);
}

static void test_profile(void **state)
{
    (void)state;
    run_cases("profile", 2000);
}

static void test_linear(void **state)
{
    (void)state;
    run_cases("linear", 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roofline),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
