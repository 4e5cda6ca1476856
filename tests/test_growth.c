#include "kv/growth.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define MOST_MEMBERS 40u

static const struct km_kv_groups whole = {0};

/* The reference walks over the members and takes every step of every one of them: a member whose context is a
 * multiple of the block size has no room left for its next token, and takes a page of every full group; of
 * windowed groups too, while it has fewer blocks than they come to hold. */
struct reference {
    struct km_kv_groups groups;
    uint32_t block_size, count;
    int64_t base[MOST_MEMBERS];
};

static uint64_t walked_pages(const struct reference *r, uint64_t clock, uint64_t steps)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < r->count; i++)
        for (uint64_t s = 0; s < steps; s++) {
            uint64_t context = (uint64_t)(r->base[i] + (int64_t)(clock + s));
            pages += km_kv_pages(&r->groups, r->block_size, context / r->block_size + 1) -
                     km_kv_pages(&r->groups, r->block_size, (context + r->block_size - 1) / r->block_size);
        }
    return pages;
}

static uint64_t walked_steps(const struct reference *r, uint64_t clock, uint64_t free_pages, uint64_t limit)
{
    for (uint64_t steps = 0; steps < limit; steps++) {
        uint64_t need = walked_pages(r, clock + steps, 1);
        if (need > free_pages)
            return steps;
        free_pages -= need;
    }
    return limit;
}

static void nobody(void **state)
{
    (void)state;
    struct km_growth growth;
    km_growth_init(&growth, 16, &whole);
    assert_int_equal(km_growth_pages(&growth, 5, 1000), 0);
    assert_int_equal(km_growth_steps(&growth, 5, 0, 77), 77);
    km_growth_release(&growth);
}

/* One sequence of 14 tokens in blocks of 16 fills its block with 2 more tokens; the third takes one. */
static void by_hand(void **state)
{
    (void)state;
    struct km_growth growth;
    km_growth_init(&growth, 16, &whole);
    km_growth_add(&growth, 14, 0);
    assert_int_equal(km_growth_pages(&growth, 0, 2), 0);
    assert_int_equal(km_growth_pages(&growth, 0, 3), 1);
    assert_int_equal(km_growth_pages(&growth, 0, 18), 1);
    assert_int_equal(km_growth_pages(&growth, 0, 19), 2);
    assert_int_equal(km_growth_pages(&growth, 2, 1), 1);
    assert_int_equal(km_growth_pages(&growth, 3, 15), 0);
    assert_int_equal(km_growth_steps(&growth, 0, 0, 100), 2);
    assert_int_equal(km_growth_steps(&growth, 0, 1, 100), 18);
    assert_int_equal(km_growth_steps(&growth, 0, 1, 10), 10);
    assert_int_equal(km_growth_steps(&growth, 2, 0, 100), 0);
    km_growth_remove(&growth, 14, 0);
    assert_int_equal(km_growth_pages(&growth, 0, 100), 0);
    km_growth_release(&growth);
}

static void random_against_walking(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(3, KM_RANDOM_PROMPT_TOKENS);
    const uint32_t sizes[] = {1, 2, 3, 5, 16, 32};
    const struct km_kv_groups kinds[] = {
        {0},
        {.window_tokens = 50, .full = 1, .windowed = 1},
        {.window_tokens = 64, .full = 1, .windowed = 5},
        {.window_tokens = 17, .full = 2, .windowed = 1},
        {.window_tokens = 100, .full = 0, .windowed = 1},
    };
    for (int round = 0; round < 1000; round++) {
        struct reference r = {.groups = kinds[gsl_rng_uniform_int(rng, 5)],
                              .block_size = sizes[gsl_rng_uniform_int(rng, 6)]};
        struct km_growth growth;
        km_growth_init(&growth, r.block_size, &r.groups);
        uint64_t clock = gsl_rng_uniform_int(rng, 1000);
        for (int operation = 0; operation < 30; operation++) {
            if (r.count < MOST_MEMBERS && gsl_rng_uniform_int(rng, 3) > 0) {
                /* contexts from 1, so that bases may be far below zero */
                r.base[r.count] = (int64_t)gsl_rng_uniform_int(rng, 200) + 1 - (int64_t)clock;
                km_growth_add(&growth, r.base[r.count++], clock);
            } else if (r.count) {
                uint32_t gone = (uint32_t)gsl_rng_uniform_int(rng, r.count);
                km_growth_remove(&growth, r.base[gone], clock);
                r.base[gone] = r.base[--r.count];
            }
            uint64_t steps = gsl_rng_uniform_int(rng, 70), limit = gsl_rng_uniform_int(rng, 120);
            uint64_t pages = gsl_rng_uniform_int(rng, 90), walked = walked_pages(&r, clock, steps);
            assert_int_equal(growth.count, r.count);
            assert_int_equal(km_growth_pages(&growth, clock, steps), walked);
            assert_int_equal(km_growth_steps(&growth, clock, pages, limit),
                             walked_steps(&r, clock, pages, limit));
            assert_int_equal(km_growth_take(&growth, clock, steps), walked);
            clock += steps;
        }
        km_growth_release(&growth);
    }
    gsl_rng_free(rng);
}

/* Gemma-3's groups (6 windowed, 1 full) with a window of 32 in blocks of 16: three blocks, then as many given back
 * as taken. A context of 30: steps 2 (at 32) takes 7, 18 (at 48) and 34 take 1. */
static void windows_by_hand(void **state)
{
    (void)state;
    const struct km_kv_groups groups = {.window_tokens = 32, .full = 1, .windowed = 6};
    struct km_growth growth;
    km_growth_init(&growth, 16, &groups);
    km_growth_add(&growth, 30, 0);
    assert_int_equal(km_growth_pages(&growth, 0, 2), 0);
    assert_int_equal(km_growth_pages(&growth, 0, 3), 7);
    assert_int_equal(km_growth_pages(&growth, 0, 18), 7);
    assert_int_equal(km_growth_pages(&growth, 0, 35), 9);
    assert_int_equal(km_growth_steps(&growth, 0, 6, 100), 2);
    assert_int_equal(km_growth_steps(&growth, 0, 7, 100), 18);
    assert_int_equal(km_growth_steps(&growth, 0, 9, 100), 50);
    assert_int_equal(km_growth_take(&growth, 0, 18), 7);
    assert_int_equal(km_growth_pages(&growth, 18, 1), 1);
    km_growth_remove(&growth, 30, 18);
    assert_int_equal(km_growth_pages(&growth, 18, 100), 0);
    km_growth_release(&growth);
}

/* Limits that no walk could reach do not wrap. */
static void huge_limits(void **state)
{
    (void)state;
    struct km_growth growth;
    km_growth_init(&growth, 16, &whole);
    km_growth_add(&growth, 0, 0);
    assert_int_equal(km_growth_steps(&growth, 0, UINT64_MAX, UINT64_MAX), UINT64_MAX);
    assert_int_equal(km_growth_steps(&growth, 0, 0, UINT64_MAX), 0);
    assert_int_equal(km_growth_steps(&growth, 1, 0, UINT64_MAX), 15);
    assert_int_equal(km_growth_steps(&growth, 1, 1000000, UINT64_MAX), 15 + 16 * 1000000);
    km_growth_release(&growth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody),          cmocka_unit_test(by_hand),
        cmocka_unit_test(windows_by_hand), cmocka_unit_test(random_against_walking),
        cmocka_unit_test(huge_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
