/* What a decode step costs by kind of layer: kingman explain at 1k, 32k and 128k tokens of context beside
 * calculations by hand. Windows and linear attention stop growing; full attention does not. */
#include "base/file.h"
#include "cli/command.h"
#include "support/check.h"

#include <cjson/cJSON.h>
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

extern const struct km_command km_command_explain;

/* main.c's, which the test stands in for. */
int km_exit_code(enum km_status status)
{
    return status == KM_OK ? 0 : status == KM_NO ? 1 : 2;
}

static cJSON *explain(const char *model, const char *device, unsigned ranks, unsigned context)
{
    char scenario[] = "/tmp/kingman-layers-XXXXXX", output[64], tokens[16];
    int file = mkstemp(scenario);
    assert_true(file >= 0);
    dprintf(file,
            "model: %s\ncluster: {device: %s, tensor_parallel_size: %u}\ncost: {model: roofline}\n"
            "workload: {arrivals: {process: poisson, rate_per_s: 1}, prompt_tokens: 9, output_tokens: 9, "
            "requests: 1}\n",
            model, device, ranks);
    close(file);
    snprintf(output, sizeof output, "%s.json", scenario);
    snprintf(tokens, sizeof tokens, "%u", context);
    const char *words[] = {"explain", scenario, "--json", output, "--decode", "8", "--context", tokens};
    char *argv[COUNT(words)];
    for (size_t i = 0; i < COUNT(words); i++)
        argv[i] = (char *)(uintptr_t)words[i];
    struct km_error error = {0};
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    assert_non_null(freopen("/dev/null", "w", stdout));
    int code = km_command_explain.run(COUNT(words), argv, &error);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    if (code != 0)
        fail_msg("%s: %s", model, error.message);
    char *text;
    size_t bytes;
    assert_int_equal(km_file_read(output, 1 << 24, &text, &bytes, &error), KM_OK);
    cJSON *root = cJSON_Parse(text);
    free(text);
    unlink(scenario);
    unlink(output);
    assert_non_null(root);
    return root;
}

static const cJSON *find_op(const cJSON *root, const char *name)
{
    const cJSON *op, *steps = cJSON_GetObjectItem(root, "steps");
    const cJSON *ops = cJSON_GetObjectItem(cJSON_GetArrayItem(steps, 0), "operators");
    cJSON_ArrayForEach(op, ops)
    {
        if (strcmp(cJSON_GetObjectItem(op, "name")->valuestring, name) == 0)
            return op;
    }
    fail_msg("there is no operator %s", name);
    return NULL;
}

/* Each: `times` layers; of one sequence and layer on one rank: FLOPs and bytes a token seen, of which there are
 * at most `most`, and bytes beside them. */
static const struct {
    const char *model, *op;
    unsigned ranks, times;
    double flops_per_token, bytes_per_token, most, flops, bytes;
} ops[] = {
    /* Gemma-3-27B: every sixth of 62 layers sees all, the others 1,024 tokens. 32 heads and 16 KV heads of 128 in
     * bf16: 2 products of 2 FLOPs a head and dimension; keys and values; queries and outputs beside. */
    {"gemma-3-27b", "attention", 1, 10, 4.0 * 32 * 128, 2.0 * 16 * 128 * 2, INFINITY, 0, 2.0 * 32 * 128 * 2},
    {"gemma-3-27b", "attention_windowed", 1, 52, 4.0 * 32 * 128, 2.0 * 16 * 128 * 2, 1024, 0,
     2.0 * 32 * 128 * 2},
    /* gpt-oss-20b: every second of 24 layers sees 128 tokens. 64 heads and 8 KV heads of 64. */
    {"gpt-oss-20b", "attention", 1, 12, 4.0 * 64 * 64, 2.0 * 8 * 64 * 2, INFINITY, 0, 2.0 * 64 * 64 * 2},
    {"gpt-oss-20b", "attention_windowed", 1, 12, 4.0 * 64 * 64, 2.0 * 8 * 64 * 2, 128, 0, 2.0 * 64 * 64 * 2},
    /* Qwen3-Next on 2 ranks: every fourth of 48 layers attends, 8 heads and 1 KV head of 256 a rank. The others
     * keep, a rank, 16 matrices of 128 x 128 and 3 columns of a convolution over 2 x 8 x 128 + 16 x 128 channels,
     * in bf16, read and written, whatever the context; 7 FLOPs a value of the matrices. */
    {"qwen3-next-80b-a3b", "attention", 2, 12, 4.0 * 8 * 256, 2.0 * 256 * 2, INFINITY, 0, 2.0 * 8 * 256 * 2},
    {"qwen3-next-80b-a3b", "delta_state", 2, 36, 0, 0, INFINITY, 0,
     2.0 * 2 * (16.0 * 128 * 128 + 3.0 * 4096)},
    /* In: q, k, v, the gate and beta in bf16, a decay a head in 32 bits. */
    {"qwen3-next-80b-a3b", "delta_step", 2, 36, 0, 0, INFINITY, 7.0 * 16 * 128 * 128,
     (2.0 * 8 * 128 + 2.0 * 16 * 128 + 16) * 2 + 4.0 * 16},
    /* DeepSeek-V3.2 on 8 ranks: an indexer of 64 heads of 128, whole on every rank, over keys of 128 bytes and a
     * scale, with 8 bytes of scores; then 16 heads attend to 2,048 latents of 512 + 64 at most. */
    {"../shared/data/model-configs/deepseek-ai--DeepSeek-V3.2_config.json", "index_scores", 8, 61,
     2.0 * 64 * 128, 128 + 4 + 8, INFINITY, 0, 64 * 128},
    {"../shared/data/model-configs/deepseek-ai--DeepSeek-V3.2_config.json", "mla_attention", 8, 61,
     16 * 2.0 * (512 + 64 + 512), 576 * 2, 2048, 0, 16 * (576 + 512) * 2.0},
};

static void by_hand(void **state)
{
    (void)state;
    static const unsigned contexts[] = {1024, 32768, 131072};
    for (size_t i = 0; i < COUNT(ops); i++) {
        char path[512];
        const bool is_path = strchr(ops[i].model, '/');
        snprintf(path, sizeof path, is_path ? KM_SOURCE_DIR "/%s" : "%s", ops[i].model);
        if (is_path && !km_file_exists(path))
            continue;
        for (size_t c = 0; c < COUNT(contexts); c++) {
            cJSON *root = explain(path, "h200-sxm", ops[i].ranks, contexts[c]);
            const cJSON *op = find_op(root, ops[i].op);
            const double seen = fmin(contexts[c], ops[i].most), all = 8.0 * ops[i].times;
            const double flops = all * (ops[i].flops_per_token * seen + ops[i].flops),
                         bytes = all * (ops[i].bytes_per_token * seen + ops[i].bytes);
            const double got_flops = cJSON_GetObjectItem(op, "flops")->valuedouble,
                         got_bytes = cJSON_GetObjectItem(op, "bytes")->valuedouble;
            assert_int_equal(cJSON_GetObjectItem(op, "count")->valueint, ops[i].times);
            if (fabs(got_flops - flops) > 1e-9 * flops || fabs(got_bytes - bytes) > 1e-9 * bytes)
                fail_msg("%s, %s at %u: %.6g FLOPs and %.6g bytes, by hand %.6g and %.6g", ops[i].model,
                         ops[i].op, contexts[c], got_flops, got_bytes, flops, bytes);
            cJSON_Delete(root);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
