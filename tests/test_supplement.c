#include "cost/profile/measured.h"
#include "support/check.h"
#include "support/importing.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const struct km_cost_model km_cost_profile, km_cost_roofline;

#define HEAD(supplement)                                                                                     \
    "{\"schema\": 1, \"device\": \"h200-sxm\"," supplement "\"provenance\": {\"source\": \"test\""
#define OWN ", \"kernels_of\": \"other\"}"
#define COLLECTIVE(implementation, ranks, us)                                                                \
    "{\"fixed\": {\"kind\": \"all_reduce\", \"implementation\": \"" implementation                           \
    "\", \"mode\": \"graph\", \"ranks\": " ranks "}, \"dims\": [\"bytes\"], \"rows\": [[32768, " us          \
    "], [65536, " us "], [131072, " us "]]}"
/* Qwen3 30B-A3B on four ranks, tensor parallel: o_proj of 16 rows; a product of the experts; norms. */
#define O_PROJ(us)                                                                                           \
    "\"gemm\": {\"fixed\": {\"weights\": \"bf16\", \"activations\": \"bf16\"}, \"dims\": [\"n\", \"k\", "    \
    "\"m\"], \"rows\": [[2048, 1024, 16, " us "]]}"
#define GROUPED                                                                                              \
    ", \"grouped_gemm\": {\"fixed\": {\"weights\": \"bf16\", \"activations\": \"bf16\", \"experts\": 128, "  \
    "\"top_k\": 8}, \"dims\": [\"n\", \"k\", \"m\"], \"rows\": [[384, 2048, 16, 60], [2048, 192, 16, 40]]}"
#define MOE                                                                                                  \
    ", \"moe\": {\"fixed\": {\"weights\": \"bf16\", \"activations\": \"bf16\", \"experts\": 128, "           \
    "\"top_k\": 8, "                                                                                         \
    "\"ranks\": 1}, \"dims\": [\"hidden\", \"width\", \"m\"], \"rows\": [[2048, 192, 16, 90]]}"
#define MOE_ROUTED(rows)                                                                                     \
    ", \"moe\": {\"fixed\": {\"weights\": \"bf16\", \"activations\": \"bf16\", \"experts\": 128, "           \
    "\"top_k\": 8, \"ranks\": 1}, \"dims\": [\"hidden\", \"width\", \"routing\", \"m\"], \"rows\": [" rows   \
    "]}"
#define NORM(us)                                                                                             \
    ", \"stream\": {\"fixed\": {\"kind\": \"norm\", \"bytes_per_row\": 16384}, \"dims\": [\"rows\"], "       \
    "\"rows\": "                                                                                             \
    "[[16, " us "]]}"
#define END "}}"

static const char own[] = HEAD("\"supplement\": \"theirs\",") OWN ", \"tables\": {" O_PROJ("9") GROUPED
    ", \"collective\": [" COLLECTIVE("nccl", "2", "30") ", " COLLECTIVE("one_shot", "4", "6") "]" END;
static const char theirs[] = HEAD("") "}, \"tables\": {" O_PROJ("7") MOE NORM(
    "5") ", \"collective\": [" COLLECTIVE("nccl", "4", "20") ", " COLLECTIVE("custom", "4", "8") "]" END;

struct world {
    struct shipped shipped;
    struct folder folder;
    char path[120];
};

static struct world open_world(const char *first, const char *second)
{
    struct world w;
    struct folder_file files[] = {{"own.json", first}, {second ? "theirs.json" : NULL, second}, {0}};
    open_shipped("h200-sxm", "qwen3-30b-a3b", "vllm-0.26", &w.shipped);
    w.shipped.engine.all_reduce_count = 1;
    w.shipped.engine.all_reduce[0] = (struct km_all_reduce_rule){.algorithm = KM_ALL_REDUCE_ONE_SHOT};
    w.folder = make_folder(files);
    snprintf(w.path, sizeof w.path, "%s/own.json", w.folder.path);
    return w;
}

static void close_world(struct world *w)
{
    remove_folder(&w->folder);
    km_arena_release(&w->shipped.arena);
}

static const struct km_step_shape step = {
    .sampled = 16,
    .decode = {
        .count = 16, .sum_context = 16384, .sum_windowed = 16384, .below_window = 16, .max_context = 1024}};

struct noted {
    const char *name;
    double one_s;
    enum km_origin origin;
    bool supplement;
};

static void note(void *context, const struct km_op_cost *cost)
{
    struct noted *noted = context;
    if (strcmp(cost->op->name, noted->name) != 0)
        return;
    noted->one_s = cost->time_s / cost->op->count;
    noted->origin = cost->origin;
    noted->supplement = cost->supplement;
}

static struct noted ask(const void *cost, const char *name)
{
    struct noted noted = {.name = name, .one_s = -1.0};
    km_cost_profile.breakdown(cost, &step, note, &noted);
    assert_true(noted.one_s >= 0.0);
    return noted;
}

/* The profile answers where it can, the supplement where it cannot; which kernel is taken is the engine's. */
static void answers(void **state)
{
    (void)state;
    static const struct {
        enum km_experts_kernel experts;
        enum km_peer_kernel peers;
        enum km_all_reduce algorithm;
        const char *op;
        double us;
        bool supplement;
    } cases[] = {
        {0, 0, KM_ALL_REDUCE_ONE_SHOT, "o_proj", 9, false}, /* both have it */
        {KM_EXPERTS_ANY, 0, KM_ALL_REDUCE_ONE_SHOT, "experts_up", 60, false},
        {KM_EXPERTS_GROUPED, 0, KM_ALL_REDUCE_ONE_SHOT, "experts_down", 40, false},
        {KM_EXPERTS_FUSED, 0, KM_ALL_REDUCE_ONE_SHOT, "experts_up", 60, true}, /* 2/3 of 90 */
        {KM_EXPERTS_FUSED, 0, KM_ALL_REDUCE_ONE_SHOT, "experts_down", 30, true},
        {KM_EXPERTS_FUSED, 0, KM_ALL_REDUCE_ONE_SHOT, "experts_act", 0, false}, /* contained */
        {0, KM_PEERS_ANY, KM_ALL_REDUCE_ONE_SHOT, "all_reduce", 6, false},
        {0, KM_PEERS_CUSTOM, KM_ALL_REDUCE_ONE_SHOT, "all_reduce", 8, true},
        {0, KM_PEERS_CUSTOM, KM_ALL_REDUCE_RING, "all_reduce", 20, true}, /* NCCL of four ranks */
        {0, KM_PEERS_ANY, KM_ALL_REDUCE_RING, "all_reduce", 20, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world w = open_world(own, theirs);
        struct km_error error;
        void *cost;
        w.shipped.engine.name = "other"; /* whose kernels the profile's are */
        w.shipped.engine.experts_kernel = cases[i].experts;
        w.shipped.engine.peer_kernel = cases[i].peers;
        w.shipped.engine.all_reduce[0].algorithm = cases[i].algorithm;
        struct km_cost_config config = shipped_config(&w.shipped, w.path);
        config.layout.tensor_parallel = 4;
        must(km_cost_profile.create(&config, &cost, &error), &error);
        struct noted noted = ask(cost, cases[i].op);
        assert_near(noted.one_s + 1.0, cases[i].us * 1e-6 + 1.0, 1e-12);
        assert_int_equal(noted.origin, KM_ORIGIN_MEASURED);
        assert_int_equal(noted.supplement, cases[i].supplement);
        km_cost_profile.destroy(cost);
        close_world(&w);
    }
}

/* Beyond the sizes of vLLM's kernel, what was measured there counts. */
static void custom_within_its_sizes(void **state)
{
    (void)state;
    static const char larger[] = HEAD("") "}, \"tables\": {" O_PROJ("7") ", \"collective\": [" COLLECTIVE(
        "custom", "4", "8") ", {\"fixed\": {\"kind\": \"all_reduce\", \"implementation\": "
                            "\"nccl\", \"mode\": \"graph\", \"ranks\": 4}, \"dims\": [\"bytes\"], \"rows\": "
                            "[[1048576, 50]]}]" END;
    struct world w = open_world(larger, NULL);
    struct km_error error;
    void *cost;
    w.shipped.engine.peer_kernel = KM_PEERS_CUSTOM;
    struct km_cost_config config = shipped_config(&w.shipped, w.path);
    config.layout.tensor_parallel = 4;
    must(km_cost_profile.create(&config, &cost, &error), &error);
    const struct km_chunk chunk = {.tokens = 256}; /* of 4 KiB each */
    const struct km_step_shape prompt = {
        .chunks = &chunk, .chunk_count = 1, .prefill_tokens = 256, .sampled = 1};
    struct op_times times = time_op(&km_cost_profile, cost, &prompt, "all_reduce");
    assert_near(times.time_s, 50e-6 * times.count, 1e-9);
    assert_int_equal(times.origin, KM_ORIGIN_MEASURED);
    km_cost_profile.destroy(cost);
    close_world(&w);
}

static void add_supplement(void *context, const struct km_op_cost *cost)
{
    *(double *)context += cost->supplement ? cost->time_s : 0.0;
}

/* The profile's kernels are another program's and stand in for the engine's; the supplement's are its own:
 * they need no floor. Coverage says how much time is the supplement's. */
static void whose_kernels(void **state)
{
    (void)state;
    struct world w = open_world(own, theirs);
    struct km_error error;
    void *cost, *described;
    w.shipped.engine.all_reduce[0].fixed_s = 50e-6;
    w.shipped.engine.peer_kernel = KM_PEERS_ANY;
    struct km_cost_config config = shipped_config(&w.shipped, w.path);
    config.layout.tensor_parallel = 4;
    must(km_cost_profile.create(&config, &cost, &error), &error);
    must(km_cost_roofline.create(&config, &described, &error), &error);
    struct noted norm = ask(cost, "norm");
    assert_true(norm.supplement && norm.origin == KM_ORIGIN_MEASURED);
    assert_near(norm.one_s, 5e-6, 1e-9);
    assert_true(time_op(&km_cost_roofline, described, &step, "norm").time_s > 0.0);
    struct noted reduce = ask(cost, "all_reduce"); /* one-shot of 6 us, less than the description's 50 */
    assert_true(reduce.origin == KM_ORIGIN_MODEL && !reduce.supplement);
    double step_s, supplement_s = 0.0;
    km_cost_profile.step(cost, &step, &step_s);
    km_cost_profile.breakdown(cost, &step, add_supplement, &supplement_s);
    struct km_coverage coverage;
    km_cost_profile.coverage(cost, &coverage);
    assert_true(coverage.supplement_s > 0.0 && coverage.supplement_s < step_s);
    assert_near(coverage.supplement_s, supplement_s, 1e-9);
    km_cost_profile.destroy(cost);
    km_cost_roofline.destroy(described);
    close_world(&w);
}

/* A supplement may have one of its own: what neither profile has, the third answers. A fourth is refused. */
static void chain_of_three(void **state)
{
    (void)state;
    static const char first[] = HEAD("\"supplement\": \"theirs\",") "}, \"tables\": {" O_PROJ("9") END;
    static const char second[] = HEAD("\"supplement\": \"last\",") "}, \"tables\": {" O_PROJ("7") MOE END;
    static const char third[] = HEAD("") "}, \"tables\": {" O_PROJ("5") NORM("6") END;
    static const char fourth[] = HEAD("\"supplement\": \"own\",") "}, \"tables\": {" O_PROJ("5") END;
    struct world w = open_world(first, second);
    struct folder_file files[] = {{"own.json", first}, {"theirs.json", second}, {"last.json", third}, {0}};
    struct km_error error = {0};
    void *cost;
    for (int endless = 0; endless < 2; endless++) {
        char line[1200], expected[1200];
        remove_folder(&w.folder);
        files[2].text = endless ? fourth : third;
        w.folder = make_folder(files);
        snprintf(w.path, sizeof w.path, "%s/own.json", w.folder.path);
        struct km_cost_config config = shipped_config(&w.shipped, w.path);
        config.layout.tensor_parallel = 4;
        if (!endless) {
            must(km_cost_profile.create(&config, &cost, &error), &error);
            assert_near(ask(cost, "o_proj").one_s, 9e-6, 1e-9);
            assert_near(ask(cost, "experts_up").one_s, 60e-6, 1e-9); /* 2/3 of the second's 90 */
            assert_near(ask(cost, "norm").one_s, 6e-6, 1e-9);
            assert_true(ask(cost, "norm").supplement && !ask(cost, "o_proj").supplement);
            km_cost_profile.destroy(cost);
            continue;
        }
        assert_int_equal(km_cost_profile.create(&config, &cost, &error), KM_BAD_INPUT);
        km_error_format(&error, line, sizeof line);
        snprintf(expected, sizeof expected,
                 "%s/last.json: names a supplement, and is one of one: a chain holds 3 profiles",
                 w.folder.path);
        assert_string_equal(line, expected);
    }
    close_world(&w);
}

/* Rows of balanced routing: 16 tokens of 8 experts hit all 128, where random ones hit 128 (1 - (15/16)^16) =
 * 82.4. The share of the roofline carries over, so that the weights not read take no time. Rows of uniform
 * routing count before them. */
static void routing_of_rows(void **state)
{
    (void)state;
    static const char balanced[] =
        HEAD("") "}, \"tables\": {" O_PROJ("9") MOE_ROUTED("[2048, 192, \"balanced\", 16, 90]") END;
    static const char both[] = HEAD("") "}, \"tables\": {" O_PROJ("9")
        MOE_ROUTED("[2048, 192, \"balanced\", 16, 90], [2048, 192, \"uniform\", 16, 63]") END;
    const double expert = 3.0 * 2048.0 * 192.0 * 2.0, tokens = 16.0 * 8.0 * 2.0 * 2048.0 * 2.0,
                 launch_us = 1.1;
    const double hit = 128.0 * (1.0 - pow(15.0 / 16.0, 16.0));
    const double random_us = (hit * expert + tokens) / 4.8e6 + launch_us,
                 all_us = (128.0 * expert + tokens) / 4.8e6 + launch_us;
    const char *profiles[] = {balanced, both};
    const double whole_us[] = {90.0 * random_us / all_us, 63.0};
    for (size_t i = 0; i < COUNT(profiles); i++) {
        struct world w = open_world(profiles[i], NULL);
        struct km_error error;
        void *cost;
        w.shipped.engine.experts_kernel = KM_EXPERTS_FUSED;
        struct km_cost_config config = shipped_config(&w.shipped, w.path);
        config.layout.tensor_parallel = 4;
        must(km_cost_profile.create(&config, &cost, &error), &error);
        assert_near(ask(cost, "experts_up").one_s, 1e-6 * whole_us[i] * 2.0 / 3.0, 1e-9);
        assert_near(ask(cost, "experts_down").one_s, 1e-6 * whole_us[i] / 3.0, 1e-9);
        km_cost_profile.destroy(cost);
        close_world(&w);
    }
}

/* Sixteen tokens that all choose the same 8 experts take what one token does, whose 8 are as many; among all 128, what 16 take. */
static void tokens_that_choose_alike(void **state)
{
    (void)state;
    static const char profile[] = HEAD("") "}, \"tables\": {" O_PROJ("9")
        MOE_ROUTED("[2048, 192, \"uniform\", 1, 20], [2048, 192, \"uniform\", 16, 63]") END;
    static const struct {
        uint32_t distinct;
        double us;
    } cases[] = {{0, 63}, {128, 63}, {8, 20}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world w = open_world(profile, NULL);
        struct km_error error;
        void *cost;
        w.shipped.engine.experts_kernel = KM_EXPERTS_FUSED;
        w.shipped.model.distinct_experts = cases[i].distinct;
        struct km_cost_config config = shipped_config(&w.shipped, w.path);
        config.layout.tensor_parallel = 4;
        must(km_cost_profile.create(&config, &cost, &error), &error);
        assert_near(ask(cost, "experts_up").one_s, 1e-6 * cases[i].us * 2.0 / 3.0, 1e-9);
        km_cost_profile.destroy(cost);
        close_world(&w);
    }
}

/* One message a fault, with its place. */
static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *own, *theirs, *file, *message;
    } cases[] = {
        {own, NULL, "theirs.json", ": cannot open: No such file or directory"},
        {own, "{", "theirs.json", ":1:2: the text ends here, in the middle of a value"},
        {own, "{\"schema\": 1, \"device\": \"b200\", \"provenance\": {\"source\": \"t\"}, \"tables\": {}}",
         "theirs.json", ": was measured on b200, but the cluster's device is h200-sxm"},
        {HEAD("\"supplement\": \"../a\",") "}, \"tables\": {}}", NULL, "own.json",
         ":1:50: supplement: expected the name of a profile in the same folder"},
        {HEAD("\"supplement\": 7,") "}, \"tables\": {}}", NULL, "own.json",
         ":1:50: supplement: expected a string, got 7"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world w = open_world(cases[i].own, cases[i].theirs);
        struct km_cost_config config = shipped_config(&w.shipped, w.path);
        struct km_error error = {0};
        char line[1200], expected[1200];
        void *cost;
        assert_int_equal(km_cost_profile.create(&config, &cost, &error), KM_BAD_INPUT);
        km_error_format(&error, line, sizeof line);
        snprintf(expected, sizeof expected, "%s/%s%s", w.folder.path, cases[i].file, cases[i].message);
        assert_string_equal(line, expected);
        close_world(&w);
    }
}

static void is_written(void **state)
{
    (void)state;
    struct km_profile profile, again;
    struct km_text text = {0};
    struct km_error error;
    must(km_profile_parse(own, strlen(own), NULL, &profile, &error), &error);
    assert_string_equal(profile.supplement, "theirs");
    km_profile_write(&profile, &text);
    must(km_profile_parse(km_text_c(&text), text.length, NULL, &again, &error), &error);
    assert_string_equal(again.supplement, "theirs");
    km_text_release(&text);
    km_profile_release(&profile);
    km_profile_release(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),         cmocka_unit_test(custom_within_its_sizes),
        cmocka_unit_test(whose_kernels),   cmocka_unit_test(faults),
        cmocka_unit_test(is_written),      cmocka_unit_test(chain_of_three),
        cmocka_unit_test(routing_of_rows), cmocka_unit_test(tokens_that_choose_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
