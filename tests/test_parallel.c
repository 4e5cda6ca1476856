#include "scenario/fleet.h"
#include "scenario/sections.h"

#include "scenario/lookup.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MOST 64

/* --- a scenario in one call ---------------------------------------------------------------------------- */

struct plan {
    const char *model, *device, *engine, *cluster; /* the last: "key: value, ..." */
    const char *more;                              /* lines of YAML */
    const char *trace;                             /* lines of CSV; NULL = one request */
};

struct ran {
    struct km_scenario scenario;
    struct km_fleet fleet;
    struct km_run_result result;
    struct km_record records[MOST]; /* by id */
    uint32_t ended, rejected;
};

static void note(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct ran *ran = context;
    assert_true(record->id < MOST);
    ran->records[record->id] = *record;
    ran->ended += outcome == KM_COMPLETED;
    ran->rejected += outcome == KM_REJECTED;
}

static enum km_status prepare(const struct plan *plan, struct ran *ran, struct km_error *error)
{
    char folder[] = "/tmp/km_parallel_XXXXXX", scenario[64], trace[64];
    assert_non_null(mkdtemp(folder));
    snprintf(scenario, sizeof scenario, "%s/s.yaml", folder);
    snprintf(trace, sizeof trace, "%s/t.csv", folder);
    FILE *file = fopen(trace, "w");
    assert_non_null(file);
    fprintf(file, "arrival_s,prompt_tokens,output_tokens\n%s", plan->trace ? plan->trace : "0,100,10\n");
    fclose(file);
    file = fopen(scenario, "w");
    assert_non_null(file);
    fprintf(file, "model: %s\ncluster: {device: %s, %s}\nengine: {name: %s}\n%sworkload: {trace: %s}\n",
            plan->model, plan->device, plan->cluster, plan->engine, plan->more ? plan->more : "", trace);
    fclose(file);
    *ran = (struct ran){0};
    enum km_status status = km_scenario_read(scenario, NULL, 0, &ran->scenario, error);
    if (status == KM_OK) {
        status = km_fleet_create(&ran->scenario, &ran->fleet, error);
        const struct km_run_options options = {.fast_forward = true, .ended = note, .context = ran};
        if (status == KM_OK)
            status = km_fleet_run(&ran->fleet, &ran->scenario.workload, 1, &options, &ran->result, error);
    }
    unlink(scenario);
    unlink(trace);
    rmdir(folder);
    return status;
}

static void run(const struct plan *plan, struct ran *ran)
{
    struct km_error error;
    char line[1200];
    if (prepare(plan, ran, &error) != KM_OK) {
        km_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
}

static void done(struct ran *ran)
{
    km_fleet_release(&ran->fleet);
    km_scenario_release(&ran->scenario);
}

/* Device time of one step on every stage. */
static void step_s(const struct ran *ran, const struct km_step_shape *shape, double *stage_s)
{
    void *state;
    struct km_error error;
    const struct km_cost_model *cost = ran->fleet.groups->cost;
    assert_int_equal(cost->create(&ran->fleet.groups->cost_config, &state, &error), KM_OK);
    cost->step(state, shape, stage_s);
    cost->destroy(state);
}

static struct km_step_shape prompt_shape(const struct km_chunk *chunk, bool last)
{
    return (struct km_step_shape){
        .chunks = chunk, .chunk_count = 1, .prefill_tokens = chunk->tokens, .sampled = last};
}

static struct km_step_shape decode_shape(uint32_t count, uint64_t context)
{
    return (struct km_step_shape){.sampled = count,
                                  .decode = {.count = count,
                                             .sum_context = count * context,
                                             .sum_windowed = count * context,
                                             .below_window = count,
                                             .max_context = context}};
}

/* --- one rank ------------------------------------------------------------------------------------------ */

/* Spelling out that everything is 1 changes no bit of any request's times. */
static void ones_are_nothing(void **state)
{
    (void)state;
    static const char trace[] = "0,3000,40\n0.01,20,100\n0.5,9000,5\n0.9,1,1\n";
    static const char ones[] =
        "tensor_parallel_size: 1, pipeline_parallel_size: 1, data_parallel_size: 1, "
        "prefill_context_parallel_size: 1, decode_context_parallel_size: 1, kv_parallel_size: 1";
    static const struct {
        const char *model, *more;
    } cases[] = {{"llama-3.1-8b", ""},
                 {"qwen3-30b-a3b", ", enable_expert_parallel: true"},
                 {"deepseek-v2-lite", ", context_parallel_method: ulysses"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char cluster[512];
        struct ran plain, spelt;
        snprintf(cluster, sizeof cluster, "%s%s", ones, cases[i].more);
        run(&(struct plan){cases[i].model, "h200-sxm", "vllm-0.26", "replicas: 1", NULL, trace}, &plain);
        run(&(struct plan){cases[i].model, "h200-sxm", "vllm-0.26", cluster, NULL, trace}, &spelt);
        assert_int_equal(plain.ended, 4);
        for (uint32_t r = 0; r < 4; r++) {
            assert_true(plain.records[r].first_token_ps == spelt.records[r].first_token_ps);
            assert_true(plain.records[r].last_token_ps == spelt.records[r].last_token_ps);
            assert_true(plain.records[r].started_ps == spelt.records[r].started_ps);
        }
        assert_true(plain.fleet.groups->blocks == spelt.fleet.groups->blocks);
        assert_true(memcmp(&plain.result.mfu, &spelt.result.mfu, sizeof plain.result.mfu) == 0);
        assert_true(memcmp(&plain.result.mbu, &spelt.result.mbu, sizeof plain.result.mbu) == 0);
        done(&plain);
        done(&spelt);
    }
}

/* --- pipelines ----------------------------------------------------------------------------------------- */

/* A burst of m equal prompts, one batch and one token each, through P stages: the stages idle a share
 * (P - 1) / (m + P - 1) of the time (GPipe, arXiv 1811.06965, section 2.3), exactly so when stages are equal.
 * To the picosecond: the sum of all stages for the first batch, and the slowest stage for each other one. */
static void bubble(void **state)
{
    (void)state;
    static const struct {
        uint32_t stages, batches;
    } cases[] = {{2, 1}, {2, 8}, {4, 1}, {4, 4}, {4, 16}, {8, 24}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint32_t p = cases[i].stages, m = cases[i].batches;
        char cluster[64], trace[1024] = "";
        for (uint32_t r = 0; r < m; r++)
            strcat(trace, "0,8192,1\n");
        snprintf(cluster, sizeof cluster, "pipeline_parallel_size: %u", p);
        struct ran ran;
        run(&(struct plan){"llama-3.1-8b", "h200-sxm", "ideal", cluster, NULL, trace}, &ran);
        assert_int_equal(ran.ended, m);
        assert_true(ran.result.simulation.work.steps == m);
        double stage_s[8], sum_s = 0.0, slowest_s = 0.0;
        const struct km_chunk chunk = {.tokens = 8192};
        const struct km_step_shape shape = prompt_shape(&chunk, true);
        step_s(&ran, &shape, stage_s);
        for (uint32_t s = 0; s < p; s++) {
            sum_s += stage_s[s];
            slowest_s = fmax(slowest_s, stage_s[s]);
        }
        assert_near(ran.result.summary.duration_s, sum_s + (m - 1) * slowest_s, 1e-9);
        double idle = 1.0 - ran.result.busy, expected = (p - 1.0) / (m + p - 1.0);
        assert_true(fabs(idle - expected) < 0.02); /* stages differ by the LM head and the embedding */
        done(&ran);
    }
}

/* A decode joins a batch only when its previous token has come back: each token of a lone sequence takes the
 * whole way through all stages, and a second one in between changes nothing. */
static void decodes_wait_for_themselves(void **state)
{
    (void)state;
    static const char *const traces[] = {"0,1000,200\n", "0,1000,200\n0.2,1000,200\n"};
    for (size_t i = 0; i < COUNT(traces); i++) {
        struct ran ran;
        run(&(struct plan){"llama-3.1-8b", "h200-sxm", "ideal", "pipeline_parallel_size: 4", NULL, traces[i]},
            &ran);
        double least_s = 0.0, most_s = 0.0, stage_s[4];
        const struct km_step_shape first = decode_shape(1, 1001), last = decode_shape(1, 1200);
        step_s(&ran, &first, stage_s);
        for (uint32_t s = 0; s < 4; s++)
            least_s += stage_s[s];
        step_s(&ran, &last, stage_s);
        for (uint32_t s = 0; s < 4; s++)
            most_s += stage_s[s];
        const struct km_record *r = &ran.records[0];
        double tpot_s = (double)(r->last_token_ps - r->first_token_ps) * 1e-12 / 199;
        assert_true(tpot_s >= least_s * (1 - 1e-6));
        assert_true(tpot_s <=
                    most_s * (i == 0 ? 1 + 1e-6 : 1.5)); /* the second's prompt is in the way once */
        done(&ran);
    }
}

/* Sequence-pipeline prefill: chunk i + 1 of a prompt enters the first stage when chunk i leaves it. */
static void chunks_follow_each_other(void **state)
{
    (void)state;
    struct ran ran;
    enum { STAGES = 4, CHUNKS = 12, TOKENS = 4096 };
    const struct plan plan = {"llama-3.1-8b",
                              "h200-sxm",
                              "ideal, batching: {max_num_batched_tokens: 4096}",
                              "pipeline_parallel_size: 4",
                              NULL,
                              "0,49152,1\n"};
    run(&plan, &ran);
    double ready_s[STAGES] = {0}, one_by_one_s = 0.0, stage_s[STAGES];
    for (uint32_t c = 0; c < CHUNKS; c++) {
        const struct km_chunk chunk = {.tokens = TOKENS, .past = c * TOKENS};
        const struct km_step_shape shape = prompt_shape(&chunk, c + 1 == CHUNKS);
        double at_s = 0.0;
        step_s(&ran, &shape, stage_s);
        for (uint32_t s = 0; s < STAGES; s++) {
            at_s = fmax(at_s, ready_s[s]) + stage_s[s];
            ready_s[s] = at_s;
            one_by_one_s += stage_s[s];
        }
    }
    double ttft_s = (double)ran.records[0].first_token_ps * 1e-12;
    assert_near(ttft_s, ready_s[STAGES - 1], 1e-9);
    assert_true(ttft_s < 0.4 * one_by_one_s);
    done(&ran);
}

/* --- experts and data ---------------------------------------------------------------------------------- */

struct times {
    double network_s, total_s;
    uint32_t collectives;
};

static void add_time(void *context, const struct km_op_cost *cost)
{
    struct times *times = context;
    times->total_s += cost->time_s;
    if (cost->op->kind == KM_OP_COLLECTIVE) {
        times->network_s += cost->time_s;
        times->collectives += cost->op->count;
    }
}

static struct times breakdown(const struct ran *ran, const struct km_step_shape *shape)
{
    struct times times = {0};
    void *state;
    struct km_error error;
    assert_int_equal(ran->fleet.groups->cost->create(&ran->fleet.groups->cost_config, &state, &error), KM_OK);
    ran->fleet.groups->cost->breakdown(state, shape, add_time, &times);
    ran->fleet.groups->cost->destroy(state);
    return times;
}

/* DeepSeek-V3 on a node of 8: tensor ranks all keep the whole latent cache; data ranks keep a share each. */
static void data_ranks_multiply_the_cache(void **state)
{
    (void)state;
    static const char trace[] = "0,5000,30\n0,100,30\n0,100,30\n0,3000,30\n0.1,9000,30\n";
    struct ran tensor, data;
    run(&(struct plan){"deepseek-v3", "h200-sxm", "vllm-0.26",
                       "tensor_parallel_size: 8, enable_expert_parallel: true", NULL, trace},
        &tensor);
    run(&(struct plan){"deepseek-v3", "h200-sxm", "vllm-0.26",
                       "data_parallel_size: 8, enable_expert_parallel: true", NULL, trace},
        &data);
    assert_int_equal(tensor.ended, 5);
    assert_int_equal(data.ended, 5);
    assert_true(data.fleet.groups->blocks == 8 * data.fleet.groups->rank_blocks);
    assert_true(data.fleet.groups->blocks > 4 * tensor.fleet.groups->blocks);
    /* A full batch of decodes with deep contexts: each data rank reads its own share of the cache. */
    const struct km_step_shape deep = decode_shape(256, 16384);
    struct times t = breakdown(&tensor, &deep), d = breakdown(&data, &deep);
    assert_true(d.total_s < t.total_s);
    assert_int_equal(d.collectives, 2 * 58); /* dispatch and collect around each layer of experts */
    assert_int_equal(t.collectives, 2 * 61 + 2);
    /* One sequence: nothing to share, and the other ranks' attention is not spared by the 8-fold heads. */
    const struct km_step_shape lone = decode_shape(1, 1024);
    assert_true(breakdown(&data, &lone).total_s > breakdown(&tensor, &lone).total_s);
    done(&tensor);
    done(&data);
}

/* A prompt longer than one rank's cache is rejected even if all ranks together would hold it. */
static void sequences_stay_on_their_rank(void **state)
{
    (void)state;
    struct ran ran;
    const struct plan plan = {"mixtral-8x7b",
                              "h200-sxm",
                              "ideal, kv: {num_gpu_blocks_override: 100}",
                              "data_parallel_size: 4, enable_expert_parallel: true",
                              NULL,
                              "0,1500,10\n0,1500,10\n0,1500,10\n0,1500,10\n"};
    run(&plan, &ran);
    assert_int_equal(ran.ended, 4);
    assert_true(ran.fleet.groups->blocks == 400);
    assert_true(ran.result.simulation.work.peak_blocks > 370); /* all four at once */
    done(&ran);
    struct plan longer = plan;
    longer.trace = "0,1590,10\n0,1591,10\n"; /* 1600 tokens fit on a rank */
    run(&longer, &ran);
    assert_int_equal(ran.ended, 1);
    assert_int_equal(ran.rejected, 1);
    done(&ran);
}

/* --- contexts ------------------------------------------------------------------------------------------ */

static double total(const struct ran *ran, const struct km_step_shape *shape)
{
    return breakdown(ran, shape).total_s;
}

static void long_contexts_are_shared(void **state)
{
    (void)state;
    const struct km_chunk chunk = {.tokens = 8192, .past = 90000};
    const struct km_step_shape prompt = prompt_shape(&chunk, true), deep = decode_shape(4, 120000),
                               shallow = decode_shape(4, 100);
    static const struct {
        const char *cluster;
        double prompt_share, deep_share; /* upper bounds of the time on one rank; beyond one: it costs more */
    } cases[] = {
        {"prefill_context_parallel_size: 4", 0.27, 0.65},
        {"prefill_context_parallel_size: 4, context_parallel_method: ulysses", 0.27, 0.65},
        {"kv_parallel_size: 4", 0.6, 0.65},
    };
    struct ran one, ran;
    run(&(struct plan){"llama-3.1-8b", "h200-sxm", "ideal", "replicas: 1", NULL, NULL}, &one);
    for (size_t i = 0; i < COUNT(cases); i++) {
        run(&(struct plan){"llama-3.1-8b", "h200-sxm", "ideal", cases[i].cluster, NULL, NULL}, &ran);
        double prompt_share = total(&ran, &prompt) / total(&one, &prompt),
               deep_share = total(&ran, &deep) / total(&one, &deep);
        if (prompt_share > cases[i].prompt_share || deep_share > cases[i].deep_share || prompt_share < 0.25 ||
            deep_share < 0.25)
            fail_msg("%s: %g of the prompt's time, %g of the decodes'", cases[i].cluster, prompt_share,
                     deep_share);
        assert_true(total(&ran, &shallow) >
                    total(&one, &shallow)); /* weights are not shared, talk is extra */
        done(&ran);
    }
    done(&one);
    /* Decode context: tensor ranks that would hold the same KV heads. */
    run(&(struct plan){"llama-3.1-8b", "h200-sxm", "ideal", "tensor_parallel_size: 16", NULL, NULL}, &one);
    run(&(struct plan){"llama-3.1-8b", "h200-sxm", "ideal",
                       "tensor_parallel_size: 16, decode_context_parallel_size: 2", NULL, NULL},
        &ran);
    assert_true(ran.fleet.groups->blocks >= 2 * one.fleet.groups->blocks);
    const struct km_step_shape deeper = decode_shape(64, 120000);
    assert_true(total(&ran, &deeper) < 0.7 * total(&one, &deeper));
    done(&one);
    done(&ran);
}

/* Ring attention hides its blocks behind the computation while the link keeps up, and waits for a slow one.
 */
static void rings_hide_or_wait(void **state)
{
    (void)state;
    const struct km_chunk chunk = {.tokens = 8192};
    const struct km_step_shape prompt = prompt_shape(&chunk, true);
    struct ran fast, slow;
    run(&(struct plan){"llama-3.1-8b", "h200-sxm", "ideal", "prefill_context_parallel_size: 8", NULL, NULL},
        &fast);
    run(&(struct plan){"llama-3.1-8b", "h200-sxm", "ideal",
                       "prefill_context_parallel_size: 8, node: {gpus_per_node: 1, network: "
                       "{bandwidth_bytes_per_s: 1.0e9}}",
                       NULL, NULL},
        &slow);
    double fast_s = total(&fast, &prompt), slow_s = total(&slow, &prompt);
    /* seven blocks of 1024 tokens x 4096 B in each of 32 layers, at 1 GB/s x 0.9 */
    double ring_s = 32 * 7 * (1024 * 4096.0 / 0.9e9 + slow.scenario.device.node.network.latency_s);
    assert_true(slow_s > ring_s && slow_s < ring_s + fast_s);
    done(&fast);
    done(&slow);
}

/* --- refusals ------------------------------------------------------------------------------------------ */

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *model, *cluster, *message;
    } cases[] = {
        {"llama-3.1-8b", "tensor_parallel_size: 5",
         "cluster.tensor_parallel_size: 5 does not divide the 32 attention heads of llama-3.1-8b; nearest: 4 "
         "or 8"},
        {"llama-3.1-8b", "data_parallel_size: 2",
         "cluster.data_parallel_size: 2, but llama-3.1-8b has no experts to share; use replicas; nearest: 1"},
        {"llama-3.1-8b", "enable_expert_parallel: true",
         "cluster.enable_expert_parallel: true, but llama-3.1-8b has no experts"},
        {"qwen3-30b-a3b", "data_parallel_size: 3, enable_expert_parallel: true",
         "cluster.data_parallel_size: 3 does not divide the 128 experts of qwen3-30b-a3b; nearest: 2 or 4"},
        {"llama-3.1-8b", "context_parallel_method: zigzag",
         "cluster.context_parallel_method: unknown name \"zigzag\"; known: ring, ulysses"},
        {"deepseek-v2-lite", "prefill_context_parallel_size: 2, context_parallel_method: ulysses",
         "cluster.prefill_context_parallel_size: 2 of ulysses does not divide the 1 KV heads of a tensor "
         "rank "
         "of deepseek-v2-lite; nearest: 1"},
        {"llama-3.1-8b", "tensor_parallel_size: 8, decode_context_parallel_size: 2",
         "cluster.decode_context_parallel_size: 2, but no two of the 8 tensor ranks hold the same KV head of "
         "llama-3.1-8b; nearest: 1"},
        {"llama-3.1-8b", "tensor_parallel_size: 4, pipeline_parallel_size: 2, node: {gpus_per_node: 6}",
         "cluster.tensor_parallel_size: 4 neither divides the 6 GPUs of a node nor is a multiple of them, "
         "and "
         "8 GPUs need several nodes; nearest: 2"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ran ran;
        struct km_error error = {0};
        const struct plan plan = {cases[i].model, "h200-sxm", "ideal", cases[i].cluster, NULL, NULL};
        assert_int_equal(prepare(&plan, &ran, &error), KM_BAD_INPUT);
        assert_string_equal(error.message, cases[i].message);
        assert_true(error.line == 2 && error.column > 1);
    }
}

/* Cost and simulation know one window: every shipped model has at most one, and two are refused. */
static void one_window(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    const char *const *names;
    size_t count = km_lookup_names(KM_LOOKUP_MODEL, &arena, &names);
    uint32_t windowed = 0;
    assert_true(count >= 20);
    for (size_t i = 0; i < count; i++) {
        struct km_model model;
        struct km_error error;
        assert_int_equal(
            km_model_read(km_lookup_find(KM_LOOKUP_MODEL, names[i], "", &arena), &arena, &model, &error),
            KM_OK);
        uint32_t window = 0;
        for (uint32_t l = 0; l < model.layer_count; l++) {
            uint32_t own = model.layers[l].window;
            assert_true(!own || !window || own == window);
            window = own ? own : window;
        }
        assert_int_equal(km_setup_window(&model), window);
        windowed += window > 0;
    }
    assert_true(windowed >= 5);
    km_arena_release(&arena);

    struct ran ran;
    struct km_error error = {0};
    run(&(struct plan){"gpt-oss-20b", "h200-sxm", "ideal", "replicas: 1", NULL, NULL}, &ran);
    struct km_model *model = &ran.scenario.model;
    struct km_layer *layers = km_arena_alloc(&ran.scenario.arena, model->layer_count * sizeof *layers);
    memcpy(layers, model->layers, model->layer_count * sizeof *layers);
    model->layers = layers;
    const struct km_yaml root = {.kind = KM_YAML_MAPPING, .file = "s.yaml", .line = 1, .column = 1};
    assert_int_equal(km_plan_check(&root, &ran.scenario, &error), KM_OK);
    layers[2].window = 256;
    assert_int_equal(km_plan_check(&root, &ran.scenario, &error), KM_BAD_INPUT);
    assert_string_equal(
        error.message,
        "model: gpt-oss-20b has layers with windows of 128 and of 256 tokens; one size is supported");
    done(&ran);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ones_are_nothing),
        cmocka_unit_test(bubble),
        cmocka_unit_test(decodes_wait_for_themselves),
        cmocka_unit_test(chunks_follow_each_other),
        cmocka_unit_test(data_ranks_multiply_the_cache),
        cmocka_unit_test(sequences_stay_on_their_rank),
        cmocka_unit_test(long_contexts_are_shared),
        cmocka_unit_test(rings_hide_or_wait),
        cmocka_unit_test(refused),
        cmocka_unit_test(one_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
