#include "kv/growth.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define MOST_MEMBERS 40u

/* The reference walks over the members and takes every step of every one of them: a member whose context is a
 * multiple of the block size has no room left for its next token. */
static uint64_t walked_blocks(const int64_t *base, uint32_t count, uint32_t block_size, uint64_t clock,
                              uint64_t steps)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < count; i++)
        for (uint64_t s = 0; s < steps; s++)
            blocks += (base[i] + (int64_t)(clock + s)) % (int64_t)block_size == 0;
    return blocks;
}

static uint64_t walked_steps(const int64_t *base, uint32_t count, uint32_t block_size, uint64_t clock,
                             uint64_t free_blocks, uint64_t limit)
{
    uint64_t steps = 0;
    while (steps < limit && walked_blocks(base, count, block_size, clock, steps + 1) <= free_blocks)
        steps++;
    return steps;
}

static void nobody(void **state)
{
    (void)state;
    struct km_growth growth;
    km_growth_init(&growth, 16);
    assert_int_equal(km_growth_blocks(&growth, 5, 1000), 0);
    assert_int_equal(km_growth_steps(&growth, 5, 0, 77), 77);
    km_growth_release(&growth);
}

/* One sequence of 14 tokens in blocks of 16 fills its block with 2 more tokens; the third takes one. */
static void by_hand(void **state)
{
    (void)state;
    struct km_growth growth;
    km_growth_init(&growth, 16);
    km_growth_add(&growth, 14);
    assert_int_equal(km_growth_blocks(&growth, 0, 2), 0);
    assert_int_equal(km_growth_blocks(&growth, 0, 3), 1);
    assert_int_equal(km_growth_blocks(&growth, 0, 18), 1);
    assert_int_equal(km_growth_blocks(&growth, 0, 19), 2);
    assert_int_equal(km_growth_blocks(&growth, 2, 1), 1);
    assert_int_equal(km_growth_blocks(&growth, 3, 15), 0);
    assert_int_equal(km_growth_steps(&growth, 0, 0, 100), 2);
    assert_int_equal(km_growth_steps(&growth, 0, 1, 100), 18);
    assert_int_equal(km_growth_steps(&growth, 0, 1, 10), 10);
    assert_int_equal(km_growth_steps(&growth, 2, 0, 100), 0);
    km_growth_remove(&growth, 14);
    assert_int_equal(km_growth_blocks(&growth, 0, 100), 0);
    km_growth_release(&growth);
}

static void random_against_walking(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(3, KM_RANDOM_PROMPT_TOKENS);
    const uint32_t sizes[] = {1, 2, 3, 5, 16, 32};
    for (int round = 0; round < 400; round++) {
        uint32_t block_size = sizes[gsl_rng_uniform_int(rng, 6)], count = 0;
        int64_t base[MOST_MEMBERS];
        struct km_growth growth;
        km_growth_init(&growth, block_size);
        uint64_t clock = gsl_rng_uniform_int(rng, 1000);
        for (int operation = 0; operation < 30; operation++) {
            if (count < MOST_MEMBERS && gsl_rng_uniform_int(rng, 3) > 0) {
                /* contexts from 1, so that bases may be far below zero */
                base[count] = (int64_t)gsl_rng_uniform_int(rng, 200) + 1 - (int64_t)clock;
                km_growth_add(&growth, base[count++]);
            } else if (count) {
                uint32_t gone = (uint32_t)gsl_rng_uniform_int(rng, count);
                km_growth_remove(&growth, base[gone]);
                base[gone] = base[--count];
            }
            uint64_t steps = gsl_rng_uniform_int(rng, 70), limit = gsl_rng_uniform_int(rng, 120);
            uint64_t blocks = gsl_rng_uniform_int(rng, 90);
            assert_int_equal(growth.count, count);
            assert_int_equal(km_growth_blocks(&growth, clock, steps),
                             walked_blocks(base, count, block_size, clock, steps));
            assert_int_equal(km_growth_steps(&growth, clock, blocks, limit),
                             walked_steps(base, count, block_size, clock, blocks, limit));
            clock += steps;
        }
        km_growth_release(&growth);
    }
    gsl_rng_free(rng);
}

/* Limits that no walk could reach do not wrap. */
static void huge_limits(void **state)
{
    (void)state;
    struct km_growth growth;
    km_growth_init(&growth, 16);
    km_growth_add(&growth, 0);
    assert_int_equal(km_growth_steps(&growth, 0, UINT64_MAX, UINT64_MAX), UINT64_MAX);
    assert_int_equal(km_growth_steps(&growth, 0, 0, UINT64_MAX), 0);
    assert_int_equal(km_growth_steps(&growth, 1, 0, UINT64_MAX), 15);
    assert_int_equal(km_growth_steps(&growth, 1, 1000000, UINT64_MAX), 15 + 16 * 1000000);
    km_growth_release(&growth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(random_against_walking),
        cmocka_unit_test(huge_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
