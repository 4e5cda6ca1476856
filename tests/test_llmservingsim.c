#include "support/importing.h"

#include "base/file.h"
#include "cost/profile/measured.h"
#include "support/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA KM_SOURCE_DIR "/tests/data/profiles/"

extern const struct km_cost_model km_cost_profile;

/* Llama 3.1 8B on an RTX 4090; Qwen3 30B-A3B (128 experts, 8 of them a token) on an RTX PRO 6000. */
struct world {
    struct shipped dense, experts;
};

static int open_world(void **state)
{
    struct world *w = km_alloc(sizeof *w);
    open_shipped("rtx-4090", "llama-3.1-8b", "vllm-0.19", &w->dense);
    open_shipped("rtx-pro-6000", "qwen3-30b-a3b", "vllm-0.19", &w->experts);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    km_arena_release(&w->dense.arena);
    km_arena_release(&w->experts.arena);
    free(w);
    return 0;
}

static void every_table(void **state)
{
    const struct world *w = *state;
    struct km_profile p;
    struct km_error error;
    double value;
    must(import_tables(&w->dense, "llmservingsim", DATA "llmservingsim", 0, &p, &error), &error);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 6144, 4096, 16), 55);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 4096, 4096, 16), 38);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 28672, 4096, 16), 247);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 4096, 14336, 16), 127);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 128256, 4096, 8), 1100);
    assert_int_equal(p.tables[KM_PROFILE_GEMM].count, 5);
    assert_row(&p, KM_PROFILE_STREAM, AT(0, 32768, 16), 1.9); /* norm */
    assert_row(&p, KM_PROFILE_STREAM, AT(1, 86016, 16), 2.6); /* activation */
    assert_row(&p, KM_PROFILE_STREAM, AT(2, 20480, 16), 2.2); /* rope */
    assert_row(&p, KM_PROFILE_STREAM, AT(4, 16384, 16), 2.8); /* embed */
    assert_row(&p, KM_PROFILE_STREAM, AT(5, 513024, 8), 30);  /* sample */
    assert_int_equal(p.tables[KM_PROFILE_STREAM].count, 5);   /* the final norm is one more norm */
    assert_row(&p, KM_PROFILE_PREFILL, AT(128, KM_BF16, 32, 8, 0, 1, 64, 256), 40);
    assert_row(&p, KM_PROFILE_DECODE, AT(128, KM_BF16, 32, 8, 0, 16, 1024), 99);
    assert_row(&p, KM_PROFILE_MIXED, AT(128, KM_BF16, 32, 8, KM_SPLIT_UNSTATED, 256, 0, 16, 1024), 130);
    assert_true(km_profile_scalar(&p, "attention_writes_kv", &value) && value == 1.0);
    assert_false(km_profile_scalar(&p, "moe_includes_router", &value));
    /* the even batch of skew.csv agrees with attention.csv: its ratios count, averaged over the past */
    assert_row(&p, KM_PROFILE_SKEW, AT(0, 16, 200, 1024), 1.2);
    assert_row(&p, KM_PROFILE_SKEW, AT(256, 16, 200, 1024), 1.3);
    assert_non_null(strstr(p.provenance, "LLMServingSim"));
    assert_non_null(strstr(p.provenance, "0.19.0"));
    km_profile_release(&p);
}

static void skew_that_contradicts(void **state)
{
    const struct world *w = *state;
    struct km_profile p;
    struct km_error error;
    must(import_tables(&w->dense, "llmservingsim", DATA "llmservingsim-skew", 0, &p, &error), &error);
    assert_int_equal(p.tables[KM_PROFILE_SKEW].count, 0);
    assert_non_null(strstr(p.provenance, "left out: batches without skew take 3 times"));
    km_profile_release(&p);
}

#define DENSE        "layer,tokens,time_us\nqkv_proj,16,55\n"
#define SEQUENCES    "layer,sequences,time_us\nlm_head,8,1100\n"
#define ATTENTION    "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n256,64,0,0,40\n0,0,16,1024,99\n"
#define MOE_COLUMNS  "tokens,activated_experts,time_us\n"
#define SKEW_COLUMNS "regime,n,nb,ratio,skew,pc,kp,kvs,kv_big,kv_mean,t_mean_us,t_max_us,t_skew_us,alpha\n"

/* The tables that must be there, and two more; NULL = as they are above, "" = absent. */
static void fill(const char *dense, const char *sequences, const char *attention, const char *moe,
                 const char *skew, struct folder_file files[6])
{
    const struct folder_file all[] = {{"dense.csv", dense ? dense : DENSE},
                                      {"per_sequence.csv", sequences ? sequences : SEQUENCES},
                                      {"attention.csv", attention ? attention : ATTENTION},
                                      {"moe.csv", moe ? moe : ""},
                                      {"skew.csv", skew ? skew : ""}};
    size_t count = 0;
    for (size_t i = 0; i < COUNT(all); i++)
        if (all[i].text[0])
            files[count++] = all[i];
    files[count] = (struct folder_file){0};
}

/* Uniform routing hits 128 (1 - (15/16)^t) / ep experts of a rank: 8 at one token, 15.5 at two, 29.123 at
 * four; 10.3028 of 16 at 16 tokens on one of eight ranks. */
static void experts(void **state)
{
    const struct world *w = *state;
    struct folder_file files[6];
    struct km_profile p;
    struct km_error error;
    double value;
    fill(NULL, NULL, NULL,
         "ep,tokens,activated_experts,time_us\n"
         "1,1,8,48\n1,2,16,130\n1,2,8,57\n1,4,8,56\n1,4,16,137\n"
         "8,16,8,40\n8,16,16,130\n8,1,2,34\n1,2048,64,793\n1,2048,128,1091\n1,64,32,200\n1,64,16,210\n",
         NULL, files);
    const struct folder folder = make_folder(files);
    must(import_tables(&w->experts, "llmservingsim", folder.path, 0, &p, &error), &error);
    remove_folder(&folder);
#define BLOCK(ranks, tokens) AT(KM_BF16, KM_BF16, 128, 8, ranks, 2048, 768, KM_ROUTING_UNIFORM, tokens)
    assert_row(&p, KM_PROFILE_MOE, BLOCK(1, 1), 48);
    assert_row(&p, KM_PROFILE_MOE, BLOCK(1, 2), 57 + 73 * 7.5 / 8.0);
    assert_row(&p, KM_PROFILE_MOE, BLOCK(1, 4), 56 + 81 * 21.123 / 8.0); /* beyond the last */
    assert_row(&p, KM_PROFILE_MOE, BLOCK(1, 64), 210); /* noise does not take it below the fewest's time */
    assert_row(&p, KM_PROFILE_MOE, BLOCK(1, 2048), 1091);
    assert_row(&p, KM_PROFILE_MOE, BLOCK(8, 16), 40 + 90 * 2.30281 / 8.0);
    assert_row(&p, KM_PROFILE_MOE, BLOCK(8, 1), 34); /* one expert hit, two measured */
    assert_int_equal(p.tables[KM_PROFILE_MOE].count, 7);
    assert_true(km_profile_scalar(&p, "moe_includes_router", &value) && value == 1.0);
    assert_false(km_profile_scalar(&p, "moe_includes_shared", &value)); /* it has none */
    km_profile_release(&p);
}

/* A block takes its measured time: its two products share it, and nothing else of it takes any. */
static void experts_in_a_step(void **state)
{
    const struct world *w = *state;
    struct folder_file files[6];
    char path[] = "/tmp/kingman-moe-XXXXXX";
    struct km_text json = {0};
    struct km_error error;
    void *cost;
    fill(NULL, NULL, NULL, MOE_COLUMNS "2,8,57\n2,16,130\n", NULL, files);
    const struct folder folder = make_folder(files);
    const struct km_import_config import = {.source = folder.path,
                                            .device = &w->experts.device,
                                            .model = &w->experts.model,
                                            .tensor_parallel = 1};
    must(km_import(
             (const struct km_importer *)(const void *)km_registry_find(km_import_registry, "llmservingsim"),
             &import, 0, &json, &error),
         &error);
    remove_folder(&folder);
    int file = mkstemp(path);
    assert_true(file >= 0 && write(file, km_text_c(&json), json.length) == (ssize_t)json.length);
    close(file);
    struct km_cost_config config = shipped_config(&w->experts, path);
    must(km_cost_profile.create(&config, &cost, &error), &error);
    const struct km_step_shape step = {
        .sampled = 2,
        .decode = {
            .count = 2, .sum_context = 2048, .sum_windowed = 2048, .below_window = 2, .max_context = 1024}};
    struct op_times up = time_op(&km_cost_profile, cost, &step, "experts_up"),
                    down = time_op(&km_cost_profile, cost, &step, "experts_down");
    assert_int_equal(up.count, 48);
    assert_near(up.time_s + down.time_s, 48 * (57 + 73 * 7.5 / 8.0) * 1e-6, 5e-4);
    assert_near(up.time_s, 2.0 * down.time_s, 1e-9);
    static const char *const parts[] = {"router", "route", "experts_act", "combine", "kv_write"};
    for (size_t i = 0; i < COUNT(parts); i++)
        assert_true(time_op(&km_cost_profile, cost, &step, parts[i]).time_s == 0.0);
    km_cost_profile.destroy(cost);
    km_text_release(&json);
    unlink(path);
}

/* Lines name their layer and their decodes' queries; a chunk's past is its key less half of it. */
static void newer_columns(void **state)
{
    const struct world *w = *state;
    struct folder_file files[6];
    struct km_profile p;
    struct km_error error;
    fill("layer,tokens,time_us\nqk_norm,16,4\nqkv_proj,16,20\ngate_up_proj,16,9\nunheard_of,16,1\n", NULL,
         "layer,prefill_chunk,prefill_key,n_decode,kv_decode,decode_q_len,time_us\n"
         "attention,0,0.0,16,1024,1,99\nindexer,0,0.0,16,1024,1,7\nattention,0,0.0,16,1024,3,120\n"
         "attention,256,192.0,0,0,1,40\nattention,256,128.0,16,1024,1,130\n",
         NULL,
         "layer,n,pc,kv_big,kv_mean,t_mean_us,t_skew_us\nattention,16,0,2048,1024,99,198\n"
         "indexer,16,0,2048,1024,99,990\n",
         files);
    const struct folder folder = make_folder(files);
    must(import_tables(&w->experts, "llmservingsim", folder.path, 0, &p, &error), &error);
    remove_folder(&folder);
    assert_row(&p, KM_PROFILE_DECODE, AT(128, KM_BF16, 32, 4, 0, 16, 1024), 99);
    assert_row(&p, KM_PROFILE_PREFILL, AT(128, KM_BF16, 32, 4, 0, 1, 64, 256), 40);
    assert_row(&p, KM_PROFILE_MIXED, AT(128, KM_BF16, 32, 4, KM_SPLIT_UNSTATED, 256, 0, 16, 1024), 130);
    assert_row(&p, KM_PROFILE_SKEW, AT(0, 16, 200, 1024), 2.0);
    assert_int_equal(p.tables[KM_PROFILE_DECODE].count, 1);
    assert_int_equal(p.tables[KM_PROFILE_SKEW].count, 1);
    assert_row(&p, KM_PROFILE_STREAM, AT(0, 2 * 36 * 128 * 2, 16), 4); /* 32 + 4 heads, read and written */
    assert_int_equal(p.tables[KM_PROFILE_GEMM].count, 2); /* no MLP of all tokens in this model */
    km_profile_release(&p);
}

/* One message a fault, with its place. */
static void faults(void **state)
{
    const struct world *w = *state;
    const struct {
        bool experts; /* of the model with experts */
        const char *dense, *sequences, *attention, *moe, *skew, *message;
    } cases[] = {
        {0, "", 0, 0, 0, 0, "dense.csv: cannot open: No such file or directory"},
        {0, 0, "", 0, 0, 0, "per_sequence.csv: cannot open: No such file or directory"},
        {0, 0, 0, "", 0, 0, "attention.csv: cannot open: No such file or directory"},
        {0, "\n", 0, 0, 0, 0, "dense.csv:1: no header: the file is empty"},
        {0, "layer,tokens\n", 0, 0, 0, 0, "dense.csv:1: no column \"time_us\""},
        {0, "layer,tokens,time_us\nqkv_proj,16,55\nqkv_proj,17,-3\n", 0, 0, 0, 0,
         "dense.csv:3:13: time_us: expected a number from 0 to 1e+09, got -3"},
        {0, "layer,tokens,time_us\nqkv_proj,16,nan\n", 0, 0, 0, 0,
         "dense.csv:2:13: time_us: expected a number, got \"nan\""},
        {0, "layer,tokens,time_us\nqkv_proj,16,0\n", 0, 0, 0, 0,
         "dense.csv:2:13: time_us: a time must be above 0, got 0"},
        {0, "layer,tokens,time_us\nqkv_proj,1.5,3\n", 0, 0, 0, 0,
         "dense.csv:2:10: tokens: expected a whole number, got 1.5"},
        {0, "layer,tokens,time_us\nqkv_proj,16,55\nqkv_proj,16,56\n", 0, 0, 0, 0,
         "dense.csv:3: gemm: the same dims as line 2 of FOLDER/dense.csv"},
        {0, "layer,tokens,time_us\nqkv_proj,16,55\nqkv_pr", 0, 0, 0, 0,
         "dense.csv:3: 1 cells under a header of 3"},
        {0, 0, "layer,sequences,time_us\nlm_head,8,\n", 0, 0, 0,
         "per_sequence.csv:2:11: time_us: expected a number, got \"\""},
        {0, 0, 0, ATTENTION "256,0", 0, 0, "attention.csv:4: 2 cells under a header of 5"},
        {0, 0, 0, ATTENTION "0,0,-1,1024,99\n", 0, 0,
         "attention.csv:4:5: n_decode: expected a number from 0 to 9.0072e+15, got -1"},
        {0, 0, 0, "prefill_chunk,prefill_key,n_decode,kv_decode,time_us\n16,inf,0,0,9\n", 0, 0,
         "attention.csv:2:4: prefill_key: expected a number, got \"inf\""},
        {0, 0, 0, 0, MOE_COLUMNS "1,8,50\n", 0, "moe.csv: llama-3.1-8b has no experts"},
        {1, 0, 0, 0, "tokens,time_us\n1,50\n", 0, "moe.csv:1: no column \"activated_experts\""},
        {1, 0, 0, 0, MOE_COLUMNS "0,8,50\n", 0, "moe.csv:2:1: tokens: expected at least 1"},
        {1, 0, 0, 0, MOE_COLUMNS "1,129,50\n", 0,
         "moe.csv:2:3: activated_experts: expected a number from 1 to 128, got 129"},
        {1, 0, 0, 0, "ep," MOE_COLUMNS "8,64,17,50\n", 0,
         "moe.csv:2:6: activated_experts: expected a number from 1 to 16, got 17"},
        {1, 0, 0, 0, "ep," MOE_COLUMNS "0,64,17,50\n", 0,
         "moe.csv:2:1: ep: expected a number from 1 to 128, got 0"},
        {1, 0, 0, 0, MOE_COLUMNS "1,8,nan\n", 0, "moe.csv:2:5: time_us: expected a number, got \"nan\""},
        {1, 0, 0, 0, MOE_COLUMNS "1,8,-50\n", 0,
         "moe.csv:2:5: time_us: expected a number from 0 to 1e+09, got -50"},
        {1, 0, 0, 0, MOE_COLUMNS "1,8,50\n2,8,60\n1,8,51\n", 0, "moe.csv:4: the same shape as line 2"},
        {1, 0, 0, 0, MOE_COLUMNS "1,8,50\n2,8", 0, "moe.csv:3: 2 cells under a header of 3"},
        {0, 0, 0, 0, 0, "n,pc,kv_mean,t_mean_us,t_skew_us\n", "skew.csv:1: no column \"kv_big\""},
        {0, 0, 0, 0, 0, SKEW_COLUMNS "pure,16,4,0.25,4.0,0,0,512,512,1024,297,600,360,0.2\n",
         "skew.csv:2:32: kv_mean: expected a number from 1 to 512, got 1024"},
        {0, 0, 0, 0, 0, SKEW_COLUMNS "pure,16,4,0.25,4.0,0,0,512,2048,1024,297,600,,0.2\n",
         "skew.csv:2:46: t_skew_us: expected a number, got \"\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct folder_file files[6];
        fill(cases[i].dense, cases[i].sequences, cases[i].attention, cases[i].moe, cases[i].skew, files);
        assert_import_fails(cases[i].experts ? &w->experts : &w->dense, "llmservingsim", files,
                            cases[i].message);
    }
}

/* Models that the tables are not read for. */
static void other_models(void **state)
{
    const struct world *w = *state;
    static const char *const names[] = {"mamba-2.8b", "opt-6.7b", "deepseek-v3"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct shipped shipped;
        struct km_profile p;
        struct km_error error = {0};
        open_shipped("rtx-4090", names[i], "vllm-0.19", &shipped);
        shipped.device = w->dense.device;
        assert_int_equal(import_tables(&shipped, "llmservingsim", DATA "llmservingsim", 0, &p, &error),
                         KM_BAD_INPUT);
        assert_non_null(strstr(error.message, "the tables are read for models of attention and gated MLPs"));
        assert_non_null(strstr(error.message, names[i]));
        km_arena_release(&shipped.arena);
    }
}

/* Its notes are read, too. */
static void broken_notes(void **state)
{
    const struct world *w = *state;
    const struct folder_file files[] = {{"dense.csv", DENSE},
                                        {"per_sequence.csv", SEQUENCES},
                                        {"attention.csv", ATTENTION},
                                        {"profile-meta.yaml", "gpu: RTX\nmodel: [a\n"},
                                        {0}};
    struct km_profile p;
    struct km_error error = {0};
    const struct folder folder = make_folder(files);
    assert_int_equal(import_tables(&w->dense, "llmservingsim", folder.path, 0, &p, &error), KM_BAD_INPUT);
    remove_folder(&folder);
    assert_non_null(strstr(error.file, "profile-meta.yaml"));
    assert_int_equal(error.line, 3);
    assert_true(error.message[0] != '\0');
}

static void odd_ranks(void **state)
{
    const struct world *w = *state;
    const struct km_import_config config = {.source = DATA "llmservingsim",
                                            .device = &w->dense.device,
                                            .model = &w->dense.model,
                                            .tensor_parallel = 3};
    struct km_text json = {0};
    struct km_error error = {0};
    assert_int_equal(km_import((const struct km_importer *)(const void *)km_registry_find(km_import_registry,
                                                                                          "llmservingsim"),
                               &config, 0, &json, &error),
                     KM_BAD_INPUT);
    assert_string_equal(error.message, "llama-3.1-8b cannot be divided among 3 ranks");
    km_text_release(&json);
}

/* Real tables, where they are to be had. */
static void recorded_tables(void **state)
{
    const struct world *w = *state;
    const char *folder = KM_SOURCE_DIR "/../shared/data/vllm-rtx4090-llama-3.1-8b";
    char path[600];
    snprintf(path, sizeof path, "%s/dense.csv", folder);
    if (!km_file_exists(path))
        skip();
    struct km_profile p;
    struct km_error error;
    must(import_tables(&w->dense, "llmservingsim", folder, 1000000, &p, &error), &error);
    assert_int_equal(p.tables[KM_PROFILE_GEMM].count, 4 * 152 + 40);
    assert_int_equal(p.tables[KM_PROFILE_MIXED].count, 8448);
    assert_int_equal(p.tables[KM_PROFILE_PREFILL].count, 96);
    assert_int_equal(p.tables[KM_PROFILE_DECODE].count, 99);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 6144, 4096, 1), 54.9);
    assert_row(&p, KM_PROFILE_DECODE, AT(128, KM_BF16, 32, 8, 0, 32, 1024), 181.4);
    km_profile_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table),   cmocka_unit_test(skew_that_contradicts),
        cmocka_unit_test(experts),       cmocka_unit_test(experts_in_a_step),
        cmocka_unit_test(newer_columns), cmocka_unit_test(faults),
        cmocka_unit_test(other_models),  cmocka_unit_test(odd_ranks),
        cmocka_unit_test(broken_notes),  cmocka_unit_test(recorded_tables),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
