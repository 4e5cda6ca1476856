/* What a step's attention has to do, what the linear law makes of a step, by hand. */
#include "cost/attention_load.h"
#include "cost/cost.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct km_layout one = {.tensor_parallel = 1, .pipeline_parallel = 1};

/* A chunk of 10 tokens after 25: query j sees 25 + j keys, 10 * 25 + 55 = 305 pairs. In a window of 30 it
 * sees min(25 + j, 30): 26 + ... + 30 for the first five, 30 for the others, 140 + 150 = 290; of the cache it
 * reads at most 30 + 10 tokens, here all 35. Beyond the window, after 100, it is 10 * 30. */
static void prompts(void **state)
{
    (void)state;
    static const struct {
        uint32_t past, window;
        double pairs, context;
    } rows[] = {{25, 0, 305, 35}, {25, 30, 290, 35}, {100, 0, 1055, 110}, {100, 30, 300, 40}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct km_engine engine = {0};
        const struct km_chunk chunk = {.tokens = 10, .past = rows[i].past};
        const struct km_step_shape shape = {
            .chunks = &chunk, .chunk_count = 1, .prefill_tokens = 10, .sampled = 1};
        const struct km_op op = {.window = rows[i].window};
        struct km_attention_load load;
        km_attention_load(&one, &engine, &op, &shape, &load);
        assert_true(load.prefill_pairs == rows[i].pairs && load.prefill_context == rows[i].context);
        assert_true(load.prefill_tokens == 10 && load.past == rows[i].past && load.chunks == 1 &&
                    load.decodes == 0);
    }
}

/* Three decodes of 10, 20 and 60 tokens: 90 in all, 10 + 20 + 30 in a window of 30. */
static void decodes(void **state)
{
    (void)state;
    const struct km_engine engine = {0};
    const struct km_step_shape shape = {
        .sampled = 3,
        .decode = {.count = 3, .sum_context = 90, .sum_windowed = 60, .below_window = 2, .max_context = 60}};
    struct km_attention_load load;
    km_attention_load(&one, &engine, &(const struct km_op){.window = 0}, &shape, &load);
    assert_true(load.decodes == 3 && load.decode_context == 90 && load.longest_context == 60 && !load.mixed);
    km_attention_load(&one, &engine, &(const struct km_op){.window = 30}, &shape, &load);
    assert_true(load.decodes == 3 && load.decode_context == 60 && load.longest_context == 30);
}

/* k1 b + k2 of two prompts and k3 m + k4 of the rows, five with a padded one: 2 * 1 + 10 + 5 * 100 + 1000. */
static void linear_law(void **state)
{
    (void)state;
    const struct km_cost_config config = {.layout = one,
                                          .linear = {.k1 = 1, .k2 = 10, .k3 = 100, .k4 = 1000}};
    const struct km_cost_model *linear = km_cost_find("linear");
    const struct km_chunk chunks[2] = {{.tokens = 7}, {.tokens = 9}};
    const struct km_step_shape shape = {
        .chunks = chunks,
        .chunk_count = 2,
        .prefill_tokens = 16,
        .sampled = 4,
        .decode = {.count = 2, .padding = 1, .sum_context = 50, .max_context = 25}};
    void *law;
    double stage_s = 0;
    assert_int_equal(linear->create(&config, &law, NULL), KM_OK);
    linear->step(law, &shape, &stage_s);
    assert_true(stage_s == 1512);
    linear->decode_fixed(law, 3, &stage_s);
    assert_true(stage_s == 1300);
    linear->destroy(law);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts),
        cmocka_unit_test(decodes),
        cmocka_unit_test(linear_law),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
