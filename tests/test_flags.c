/* What is answered to vLLM's flags and SGLang's arguments. */
#include "engine/flags.h"
#include "scenario/scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define SCENARIO KM_SOURCE_DIR "/configs/quickstart.yaml"

/* Is there a line "key  what it holds  meaning"? */
static bool is_listed(const char *list, const char *key)
{
    size_t length = strlen(key);
    for (const char *at = strstr(list, key); at; at = strstr(at + 1, key))
        if ((at == list || at[-1] == '\n') && strncmp(at + length, "  ", 2) == 0)
            return true;
    return false;
}

/* Or one of a key that ends with this name? */
static bool ends_a_key(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = strstr(list, name); at; at = strstr(at + 1, name))
        if (at > list && at[-1] == '.' && strncmp(at + length, "  ", 2) == 0)
            return true;
    return false;
}

/* A row that has gone stale: its key is none, or there is a key of its name by now. */
static void rows_are_true(void **state)
{
    (void)state;
    struct km_text list = {0};
    km_scenario_list_settings(&list);
    const char *keys = km_text_c(&list);
    for (const struct km_engine_flag *flag = km_engine_flags; flag->flag; flag++) {
        bool negated;
        assert_ptr_equal(km_engine_flag_find(flag->flag, &negated), flag); /* the only one of its name */
        assert_false(negated);
        if (flag->key && !is_listed(keys, flag->key))
            fail_msg("%s: there is no %s", flag->flag, flag->key);
        if (!flag->key && ends_a_key(keys, flag->flag))
            fail_msg("%s: not modelled, and a key", flag->flag);
        assert_true(flag->key || flag->note);
        assert_true(strcmp(flag->engine, "vLLM") == 0 || strcmp(flag->engine, "SGLang") == 0);
    }
    km_text_release(&list);
}

static void spellings(void **state)
{
    (void)state;
    static const struct {
        const char *name, *flag;
        bool negated;
    } cases[] = {
        {"max_num_seqs", "max_num_seqs", false},
        {"--max-num-seqs", "max_num_seqs", false},
        {"max-num_seqs", "max_num_seqs", false},
        {"-tp", "tp", false},
        {"no_async_scheduling", "async_scheduling", true},
        {"--no-enable-prefix-caching", "enable_prefix_caching", true},
        {"max_num_seq", NULL, false},
        {"max_num_seqs_", NULL, false},
        {"no_", NULL, true},
        {"", NULL, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool negated;
        const struct km_engine_flag *flag = km_engine_flag_find(cases[i].name, &negated);
        if (!cases[i].flag)
            assert_null(flag);
        else
            assert_string_equal(flag->flag, cases[i].flag);
        assert_int_equal(negated, cases[i].negated);
    }
}

/* What users of these engines type. */
static void answers(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *message;
    } cases[] = {
        {"engine.max_num_seqs", "64", "vLLM's max_num_seqs is engine.batching.max_num_seqs here"},
        {"engine.kv_cache_dtype", "fp8", "vLLM's kv_cache_dtype is precision.kv_cache here"},
        {"engine.enforce_eager", "true",
         "vLLM's enforce_eager is engine.cudagraph_capture_sizes here (true: none)"},
        {"engine.kv.kv_cache_memory_bytes", "17179869184",
         "vLLM's kv_cache_memory_bytes is engine.kv.num_gpu_blocks_override here (in blocks: kingman explain "
         "says "
         "their bytes)"},
        {"engine.speculative_config", "{method: mtp}",
         "vLLM's speculative_config is not modelled: speculative decoding"},
        {"engine.kv.cpu_offload_gb", "10", "vLLM's cpu_offload_gb is not modelled: weights in host memory"},
        {"cluster.prefill_replicas", "1",
         "vLLM's prefill_replicas is not modelled: disaggregated prefill and KV connectors"},
        {"max-num-batched-tokens", "64",
         "vLLM's max_num_batched_tokens is engine.batching.max_num_batched_tokens here"},
        {"engine.kv.no-enable-prefix-caching", "true",
         "vLLM's enable_prefix_caching is engine.kv.enable_prefix_caching here; no_ is false"},
        {"engine.max_running_requests", "64",
         "SGLang's max_running_requests is engine.batching.max_num_seqs here"},
        {"cluster.tp_size", "2", "SGLang's tp_size is cluster.tensor_parallel_size here"},
        {"cluster.dp_size", "2",
         "SGLang's dp_size is cluster.replicas here (with enable_dp_attention: cluster.data_parallel_size)"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_override override = {cases[i].key, cases[i].value};
        struct km_scenario scenario;
        struct km_error error = {0};
        char expected[600];
        assert_int_equal(km_scenario_read(SCENARIO, &override, 1, &scenario, &error), KM_BAD_INPUT);
        snprintf(expected, sizeof expected, "%s: unknown key; %s", cases[i].key, cases[i].message);
        assert_string_equal(error.message, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_true),
        cmocka_unit_test(spellings),
        cmocka_unit_test(answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
