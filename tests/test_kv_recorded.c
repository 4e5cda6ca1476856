/* KV memory against engines that ran: what vLLM found room for when it started.
 *
 * Own recordings: vLLM 0.26.0 on H200, max_num_seqs 256, max_num_batched_tokens 8192, gpu_memory_utilization
 * 0.9 (../shared/data: vllm-h200-llama-3.1-8b, -llama-3.1-70b-tp2, -qwen3-30b-a3b and vllm-h200-more; a single
 * number of each is carried over). Public logs: llm-d-benchmark,
 * config_explorer/empirical-vllm-memory-results.md, H100, 1,024 sequences, late 2025 (here engine vllm-0.19). */
#include "scenario/run.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct started {
    const char *name, *engine, *model, *device, *weights, *kv_cache;
    const char *tensor, *pipeline, *data, *expert;
    const char *seqs, *tokens, *utilization;
    double kv_gib; /* of a GPU; negative: it did not start */
};

#define H200(blocks, block_bytes) "256", "8192", "0.9", (blocks) * (double)(block_bytes) / KM_GIB
#define H100(utilization, gib)    "1024", "8192", utilization, gib

/* Blocks are the engine's, bytes of a block follow from the model: 2 x layers x KV heads x dim x 16 tokens. */
static const struct started recorded[] = {
    {"8B", "vllm-0.26", "llama-3.1-8b", "h200-sxm", "bf16", "bf16", "1", "1", "1", "false",
     H200(56057, 2097152)},
    {"8B, fp8", "vllm-0.26", "llama-3.1-8b", "h200-sxm", "fp8", "fp8", "1", "1", "1", "false",
     H200(118731, 1048576)},
    {"70B, TP 2", "vllm-0.26", "llama-3.1-70b", "h200-sxm", "bf16", "bf16", "2", "1", "1", "false",
     H200(24105, 2621440)},
    {"70B, PP 2", "vllm-0.26", "llama-3.1-70b", "h200-sxm", "bf16", "bf16", "1", "2", "1", "false",
     H200(23678, 2621440)},
    {"30B-A3B", "vllm-0.26", "qwen3-30b-a3b", "h200-sxm", "bf16", "bf16", "1", "1", "1", "false",
     H200(45781, 1572864)},
    {"30B-A3B, TP 2, EP", "vllm-0.26", "qwen3-30b-a3b", "h200-sxm", "bf16", "bf16", "2", "1", "1", "true",
     H200(130309, 786432)},
    {"V2-Lite", "vllm-0.26", "deepseek-v2-lite", "h200-sxm", "bf16", "bf16", "1", "1", "1", "false",
     H200(205360, 497664)},
};

/* Further off, and why: the vision tower and its profiling are not counted; nor are the buffers in which
 * data-parallel ranks gather each other's tokens. */
static const struct started further[] = {
    {"Gemma-3-27B", "vllm-0.26", "gemma-3-27b", "h200-sxm", "bf16", "bf16", "1", "1", "1", "false",
     H200(59034, 1310720)}, /* pages of 10 layers */
    {"30B-A3B, DP 2, EP", "vllm-0.26", "qwen3-30b-a3b", "h200-sxm", "bf16", "bf16", "1", "1", "2", "true",
     H200(63062, 1572864)},
};

static const struct started logs[] = {
    {"A", "vllm-0.19", "llama-3.1-8b", "h100-sxm", "bf16", "bf16", "1", "1", "1", "false",
     H100("0.9", 51.38)},
    {"B", "vllm-0.19", "gpt-oss-20b", "h100-sxm", NULL, "bf16", "1", "1", "1", "false", H100("0.9", 50.28)},
    {"C", "vllm-0.19", "gpt-oss-120b", "h100-sxm", NULL, "bf16", "1", "1", "1", "false", H100("0.95", 3.33)},
    {"D", "vllm-0.19", "llama-3.1-70b", "h100-sxm", "fp8", "bf16", "2", "1", "1", "false", H100("0.9", 32.0)},
    {"G", "vllm-0.19", "qwen3-32b", "h100-sxm", "bf16", "bf16", "1", "1", "1", "false", H100("0.9", 4.45)},
    /* vllm-project/vllm #23278 */
    {"C', does not start", "vllm-0.19", "gpt-oss-120b", "h100-sxm", NULL, "bf16", "1", "1", "1", "false",
     H100("0.9", -2.14)},
    {"E, does not start", "vllm-0.19", "llama-3.1-70b", "h100-sxm", "fp8", "bf16", "1", "1", "1", "false",
     H100("0.9", -1.44)},
};

static double kv_gib(const struct started *s)
{
    struct km_override overrides[16];
    size_t count = 0;
    struct km_scenario scenario;
    struct km_memory_map map;
    struct km_error error = {0};
    const struct km_override wanted[] = {
        {"engine.name", s->engine},
        {"model", s->model},
        {"cluster.device", s->device},
        {"precision.weights", s->weights},
        {"precision.kv_cache", s->kv_cache},
        {"cluster.tensor_parallel_size", s->tensor},
        {"cluster.pipeline_parallel_size", s->pipeline},
        {"cluster.data_parallel_size", s->data},
        {"cluster.enable_expert_parallel", s->expert},
        {"engine.batching.max_num_seqs", s->seqs},
        {"engine.batching.max_num_batched_tokens", s->tokens},
        {"engine.kv.gpu_memory_utilization", s->utilization},
    };
    for (size_t i = 0; i < COUNT(wanted); i++)
        if (wanted[i].value)
            overrides[count++] = wanted[i];
    if (km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides, count, &scenario, &error) !=
            KM_OK ||
        km_setup_memory(&scenario, &map, &error) != KM_OK)
        fail_msg("%s: %s", s->name, error.message);
    km_scenario_release(&scenario);
    return map.kv_bytes / KM_GIB;
}

static void expect_within(const struct started *cases, size_t count, double share, double or_gib)
{
    for (size_t i = 0; i < count; i++) {
        const double got = kv_gib(&cases[i]), want = cases[i].kv_gib;
        print_message("%-20s %7.2f GiB, the engine %7.2f\n", cases[i].name, got, want);
        if (want < 0.0)
            assert_true(got < 0.0);
        else if (!(fabs(got - want) <= fmax(share * want, or_gib)))
            fail_msg("%s: %.2f GiB, the engine says %.2f", cases[i].name, got, want);
    }
}

static void own_recordings(void **state)
{
    (void)state;
    expect_within(recorded, COUNT(recorded), 0.01, 0.0);
    expect_within(further, COUNT(further), 0.02, 0.0);
}

static void public_logs(void **state)
{
    (void)state;
    expect_within(logs, COUNT(logs), 0.03, 0.4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_recordings),
        cmocka_unit_test(public_logs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
