/* The tail of ragged attention and the power limit, by numbers worked out by hand. */
#include "cost/attention_tail.h"
#include "cost/power.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define assert_close(a, b) assert_near(a, b, 1e-9)

/* 100 multiprocessors at 1 TB/s and 1 PFLOP/s; 4 KV heads of 1,000 bytes a token, 16 query heads. */
static const struct km_device device = {.multiprocessors = 100,
                                        .bandwidth_bytes_per_s = 1e12,
                                        .peak_flops_per_s = {[KM_BF16] = 1e15},
                                        .attention_prefill_efficiency = 0.5};
static const struct km_op op = {.kind = KM_OP_ATTENTION,
                                .activations = KM_BF16,
                                .kv_bytes = 4000.0,
                                .tile_flops = 16 * 500.0,
                                .heads = 16.0,
                                .kv_heads = 4.0};

static void decode_tails(void **state)
{
    /* Sequences, their contexts together, the longest; how far the longest piece is beyond the mean's, in
     * tokens: a piece is at most 1/25 of the whole. */
    static const struct {
        double decodes, whole, longest, beyond_tokens;
    } cases[] = {
        {100, 100000, 1000, 0},            /* even */
        {100, 100000, 2000, 1000},         /* the longest is one piece */
        {100, 100000, 50000, 4000 - 1000}, /* it is split */
        {10, 100000, 50000, 0},            /* everybody is */
        {1, 1000, 1000, 0},
    };
    const struct km_engine engine = {.decode_tail_share = 0.5};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct km_attention_load load = {.decodes = cases[i].decodes,
                                               .decode_context = cases[i].whole,
                                               .longest_context = cases[i].longest};
        /* one token of one head on one multiprocessor: 1,000 bytes at 10 GB/s */
        double expected_s = 0.5 * cases[i].beyond_tokens * 1e-7;
        assert_true(fabs(km_attention_tail_s(&device, &engine, &op, &load) - expected_s) < 1e-15);
    }
}

static void mixed_tails(void **state)
{
    (void)state;
    const struct km_engine engine = {.mixed_tail_share = 0.8, .mixed_tile_rows = 128};
    const struct km_attention_load load = {
        .decodes = 10, .decode_context = 20000, .longest_context = 8000, .mixed = true};
    /* a token: 128 rows of 500 FLOPs, at a hundredth of half a PFLOP/s */
    assert_close(km_attention_tail_s(&device, &engine, &op, &load), 0.8 * 8000 * 128 * 500 / 5e12);
    const struct km_engine none = {.mixed_tail_share = 0.8};
    assert_true(km_attention_tail_s(&device, &none, &op, &load) == 0.0);
    struct km_device unknown = device;
    unknown.multiprocessors = 0;
    assert_true(km_attention_tail_s(&unknown, &engine, &op, &load) == 0.0);
    const struct km_attention_load prompts = {.prefill_tokens = 100, .mixed = true};
    assert_true(km_attention_tail_s(&device, &engine, &op, &prompts) == 0.0);
}

static void tiles(void **state)
{
    (void)state;
    struct km_engine engine = {.mixed_tile_rows = 128};
    assert_true(km_mixed_tile_rows(&engine, &op) == 128.0);
    engine.mixed_tile_packs_heads = true;
    assert_true(km_mixed_tile_rows(&engine, &op) == 32.0);
    engine.mixed_tile_rows = 2;
    assert_true(km_mixed_tile_rows(&engine, &op) == 1.0);
    engine.mixed_tile_rows = 0;
    assert_true(km_mixed_tile_rows(&engine, &op) == 1.0);
}

/* A step cut in two sees the same mean duty in all, and leaves the same state. */
static void power(void **state)
{
    const struct km_power_use use = {.share = 0.8, .rise = 0.3, .time_s = 0.05};
    struct km_power whole = {0}, cut = {0};
    (void)state;
    double mean = km_power_step(&whole, &use, 1.0, 0.1);
    assert_close(mean, 0.8 * (1.0 - (1.0 - exp(-2.0)) / 2.0));
    assert_close(whole.duty, 0.8 * (1.0 - exp(-2.0)));
    double first = km_power_step(&cut, &use, 1.0, 0.03), second = km_power_step(&cut, &use, 1.03, 0.07);
    assert_close(0.3 * first + 0.7 * second, mean);
    assert_close(cut.duty, whole.duty);
    /* a pause of one time constant */
    double after = km_power_step(&whole, &use, 1.15, 1e-9);
    assert_true(fabs(after - cut.duty * exp(-1.0)) < 1e-6);
    /* for ever */
    assert_true(fabs(km_power_step(&whole, &use, 2.0, 1e6) - 0.8) < 1e-6);
    const struct km_power_use none = {.share = 0.8};
    assert_true(km_power_step(&whole, &none, 2e6, 1.0) == 0.0);
}

/* Streams draw a part of what products draw: between products the state tends to that, as far as the device
 * was busy, and it does not matter in how many pieces. */
static void streams(void **state)
{
    (void)state;
    const struct km_power_use use = {.share = 0.5, .rise = 0.2, .time_s = 0.05, .stream = 0.8};
    struct km_power power = {0};
    assert_true(fabs(km_power_step(&power, &use, 0.0, 1e6) - 0.9) < 1e-6);
    power.other_ps = 300000000000000; /* all of five minutes */
    assert_true(fabs(km_power_step(&power, &use, 1e6 + 300.0, 1e-9) - 0.8) < 1e-6);
    power.other_ps = 150000000000000;
    power.other_ps += 1500000000000;
    assert_true(fabs(km_power_step(&power, &use, 1e6 + 603.0, 1e-9) - 0.4) < 1e-6); /* half of the time */
    assert_int_equal(power.other_ps, 0);
    assert_true(fabs(km_power_step(&power, &use, 2e6, 1e-9) - 0.0) < 1e-6); /* none */
    power.other_ps = UINT64_MAX;                                            /* never more than all of it */
    assert_true(fabs(km_power_step(&power, &use, 2e6 + 600.0, 1e-9) - 0.8) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_tails), cmocka_unit_test(mixed_tails), cmocka_unit_test(tiles),
        cmocka_unit_test(power),        cmocka_unit_test(streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
