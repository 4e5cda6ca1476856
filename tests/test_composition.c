#include "cost/attention_load.h"
#include "support/check.h"
#include "support/importing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

extern const struct km_cost_model km_cost_profile, km_cost_roofline;

static const struct km_op shared_heads = {.heads = 32.0, .kv_heads = 8.0},
                          own_heads = {.heads = 32.0, .kv_heads = 32.0};
static const struct km_layout one = {.tensor_parallel = 1, .pipeline_parallel = 1};

static struct km_step_shape step_of(const struct km_chunk *chunks, uint32_t count, uint32_t decodes,
                                    uint64_t context)
{
    struct km_step_shape step = {.chunks = chunks, .chunk_count = count, .sampled = count + decodes};
    for (uint32_t i = 0; i < count; i++)
        step.prefill_tokens += chunks[i].tokens;
    step.decode = (struct km_decode_shape){.count = decodes,
                                           .sum_context = context,
                                           .sum_windowed = context,
                                           .below_window = decodes,
                                           .max_context = context};
    return step;
}

/* 300 tokens after 100 and 400 after none are as 500 after 128; contexts of 1,001.67 on average as 1,024 and
 * the new token. */
static void by_hand(void **state)
{
    (void)state;
    static const struct {
        const struct km_op *op;
        struct km_chunk chunks[2];
        uint32_t chunk_count, decodes;
        uint64_t context;
        double tokens, past, decode_context, prefill_scale, decode_scale;
    } cases[] = {
        {&shared_heads, {{300, 100}, {400, 0}}, 2, 3, 3005, 500, 128, 3 * 1025, 1.1, 1.1},
        {&own_heads, {{300, 100}, {400, 0}}, 2, 3, 3005, 500, 128, 3 * 1025, 1.0, 1.0},
        {&shared_heads, {{300, 64}}, 1, 1, 1024, 300, 64, 1025, 1.0, 1.0},
        {&shared_heads, {{1, 1}, {1, 65}}, 2, 0, 0, 1, 64 + 128, 0, 1.1, 1.0}, /* sqrt 2 is about 1 */
        {&shared_heads, {{0, 0}}, 0, 2, 3, 0, 0, 2 * 65, 1.0, 1.1},
    };
    struct shipped vidur;
    open_shipped("a100-80g-sxm", "llama-3.1-8b", "vidur", &vidur);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_attention_load load;
        struct km_step_shape step =
            step_of(cases[i].chunks, cases[i].chunk_count, cases[i].decodes, cases[i].context);
        km_attention_load(&one, &vidur.engine, cases[i].op, &step, &load);
        double tokens = cases[i].tokens, past = cases[i].past;
        assert_true(load.prefill_tokens == tokens && load.past == past);
        assert_true(load.prefill_pairs == tokens * (past + (tokens + 1.0) / 2.0));
        assert_true(tokens == 0.0 || load.prefill_context == past + tokens);
        assert_true(load.decode_context == cases[i].decode_context);
        assert_true(load.prefill_scale == cases[i].prefill_scale &&
                    load.decode_scale == cases[i].decode_scale);
        assert_true(load.apart && !load.mixed);
    }
    km_arena_release(&vidur.arena);
}

/* Without the section nothing is rounded, summed up or scaled. */
static void as_run(void **state)
{
    (void)state;
    struct shipped ideal;
    struct km_attention_load load;
    const struct km_chunk chunks[] = {{300, 100}, {400, 0}};
    const struct km_step_shape step = step_of(chunks, 2, 3, 3005);
    open_shipped("a100-80g-sxm", "llama-3.1-8b", "ideal", &ideal);
    km_attention_load(&one, &ideal.engine, &shared_heads, &step, &load);
    assert_true(load.prefill_tokens == 700.0 && load.past == 100.0 && load.chunks == 2.0);
    assert_true(load.prefill_pairs == 300.0 * (100.0 + 150.5) + 400.0 * 200.5);
    assert_true(load.decode_context == 3005.0 && load.decodes == 3.0);
    assert_true(load.prefill_scale == 1.0 && load.decode_scale == 1.0 && load.mixed && !load.apart);
    bool captured;
    assert_int_equal(km_engine_padded_tokens(&ideal.engine, 703, &captured), 703);
    km_arena_release(&ideal.arena);
}

static void rounds_tokens(void **state)
{
    (void)state;
    struct shipped vidur;
    bool captured;
    open_shipped("a100-80g-sxm", "llama-3.1-8b", "vidur", &vidur);
    assert_int_equal(km_engine_padded_tokens(&vidur.engine, 1, &captured), 8);
    assert_false(captured);
    assert_int_equal(km_engine_padded_tokens(&vidur.engine, 8, &captured), 8);
    assert_int_equal(km_engine_padded_tokens(&vidur.engine, 703, &captured), 704);
    km_arena_release(&vidur.arena);
}

/* Vidur's own tables under Vidur's rules: every operator takes what its predictor would read off them. Llama
 * 3.1 8B on two ranks; milliseconds. */
static void whole_step(void **state)
{
    (void)state;
    static const struct folder_file files[] = {
        {"mlp.csv",
         "time_stats.attn_pre_proj.median,time_stats.mlp_act.median,n_head,n_kv_head,n_embd,n_expanded_embd,"
         "use_gated_mlp,num_tokens,num_tensor_parallel_workers\n"
         "0.070,0.020,32,8,4096,14336,True,704,2\n"},
        {"attention.csv",
         "time_stats.attn_prefill.median,time_stats.attn_decode.median,time_stats.attn_kv_cache_save.median,"
         "n_q_head,n_kv_head,n_embd,batch_size,prefill_chunk_size,kv_cache_size,is_prefill,"
         "num_tensor_parallel_workers\n"
         "0.150,,0.004,32,8,4096,1,500,128,True,2\n,0.030,0.002,32,8,4096,3,0,1024,False,2\n"},
        {"all_reduce.csv", "time_stats.all_reduce.median,size,num_workers,devices_per_node\n"
                           "0.085,5767168,2,2\n"}, /* 704 rows of 4,096 values */
        {0}};
    struct shipped vidur;
    struct km_error error;
    struct km_text json = {0};
    char path[] = "/tmp/kingman-vidur-XXXXXX";
    void *cost;
    open_shipped("a100-80g-sxm", "llama-3.1-8b", "vidur", &vidur);
    const struct folder folder = make_folder(files);
    const struct km_import_config import = {.source = folder.path, .device = &vidur.device};
    must(km_import((const struct km_importer *)(const void *)km_registry_find(km_import_registry, "vidur"),
                   &import, 0, &json, &error),
         &error);
    remove_folder(&folder);
    int file = mkstemp(path);
    assert_true(file >= 0 && write(file, km_text_c(&json), json.length) == (ssize_t)json.length);
    close(file);
    struct km_cost_config config = shipped_config(&vidur, path);
    config.layout.tensor_parallel = 2;
    must(km_cost_profile.create(&config, &cost, &error), &error);
    const struct km_chunk chunks[] = {{300, 100}, {400, 0}};
    const struct km_step_shape step = step_of(chunks, 2, 3, 3005);
    const struct {
        const char *name;
        double one_ms;
    } ops[] = {{"qkv_proj", 0.070},
               {"activation", 0.020},
               {"attention", 1.1 * 0.150 + 1.1 * 0.030},
               {"all_reduce", 0.085 + 0.020}};
    for (size_t i = 0; i < COUNT(ops); i++) {
        struct op_times times = time_op(&km_cost_profile, cost, &step, ops[i].name);
        assert_int_equal(times.origin, KM_ORIGIN_MEASURED);
        assert_near(times.time_s / times.count, ops[i].one_ms * 1e-3, 5e-4);
    }
    /* the embedding, the LM head and sampling are not in the sum */
    double decodes_s = 0.0, whole_s = 0.0;
    const struct km_step_shape three = step_of(NULL, 0, 3, 3005);
    km_cost_profile.step(cost, &three, &whole_s);
    vidur.engine.composition.layers_only = false;
    km_cost_profile.step(cost, &three, &decodes_s);
    double head_s = time_op(&km_cost_profile, cost, &three, "lm_head").time_s;
    assert_true(head_s > 0.0 && decodes_s > whole_s + head_s);
    km_cost_profile.destroy(cost);
    km_text_release(&json);
    km_arena_release(&vidur.arena);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(as_run),
        cmocka_unit_test(rounds_tokens),
        cmocka_unit_test(whole_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
