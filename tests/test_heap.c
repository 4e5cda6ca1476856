#include "base/heap.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ITEMS 60u

/* The reference: what each item's key is, found by looking at all of them. */
struct reference {
    bool present[ITEMS];
    uint64_t key[ITEMS], tie[ITEMS];
};

static uint32_t smallest(const struct reference *r)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < ITEMS; i++)
        if (r->present[i] && (best == UINT32_MAX || r->key[i] < r->key[best] ||
                              (r->key[i] == r->key[best] && r->tie[i] < r->tie[best])))
            best = i;
    return best;
}

static size_t present(const struct reference *r)
{
    size_t count = 0;
    for (uint32_t i = 0; i < ITEMS; i++)
        count += r->present[i];
    return count;
}

static void assert_agrees(const struct km_heap *heap, const struct reference *r)
{
    uint32_t best = smallest(r);
    assert_int_equal(heap->count, present(r));
    assert_int_equal(km_heap_key(heap), best == UINT32_MAX ? UINT64_MAX : r->key[best]);
    if (best != UINT32_MAX)
        assert_int_equal(heap->entries[0].item, best);
    for (uint32_t i = 0; i < ITEMS; i++)
        assert_int_equal(km_heap_contains(heap, i), r->present[i]);
}

static void empty(void **state)
{
    (void)state;
    struct km_heap heap = {0};
    assert_int_equal(km_heap_key(&heap), UINT64_MAX);
    assert_false(km_heap_contains(&heap, 0));
    assert_false(km_heap_contains(&heap, 1000000));
    km_heap_remove(&heap, 3);
    km_heap_remove(&heap, 1000000);
    assert_int_equal(heap.count, 0);
    km_heap_release(&heap);
}

static void equal_keys_leave_by_tie(void **state)
{
    (void)state;
    struct km_heap heap = {0};
    const uint64_t ties[] = {5, 2, 9, 0, 7, 1};
    const uint32_t order[] = {3, 5, 1, 0, 4, 2};
    for (uint32_t i = 0; i < 6; i++)
        km_heap_push(&heap, 42, ties[i], i);
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(km_heap_pop(&heap), order[i]);
    km_heap_release(&heap);
}

static void extreme_keys(void **state)
{
    (void)state;
    struct km_heap heap = {0};
    km_heap_push(&heap, UINT64_MAX, UINT64_MAX, 0);
    km_heap_push(&heap, 0, UINT64_MAX, 1);
    km_heap_push(&heap, UINT64_MAX, 0, 2);
    km_heap_push(&heap, 0, 0, 3);
    assert_int_equal(km_heap_pop(&heap), 3);
    assert_int_equal(km_heap_pop(&heap), 1);
    assert_int_equal(km_heap_pop(&heap), 2);
    assert_int_equal(km_heap_pop(&heap), 0);
    km_heap_release(&heap);
}

/* Pushes, pops and removals of present and absent items in any order leave what looking at all would. */
static void random_against_reference(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(7, KM_RANDOM_ARRIVALS);
    for (int round = 0; round < 20; round++) {
        struct km_heap heap = {0};
        struct reference r = {0};
        uint64_t span = round % 2 ? 4 : 1000000; /* few keys: many ties */
        for (uint64_t operation = 0; operation < 2000; operation++) {
            uint32_t item = (uint32_t)gsl_rng_uniform_int(rng, ITEMS);
            unsigned long what = gsl_rng_uniform_int(rng, 5);
            if (what < 3 && !r.present[item]) {
                r.present[item] = true;
                r.key[item] = gsl_rng_uniform_int(rng, span);
                r.tie[item] = operation;
                km_heap_push(&heap, r.key[item], r.tie[item], item);
            } else if (what == 3 && heap.count) {
                uint32_t best = smallest(&r);
                assert_int_equal(km_heap_pop(&heap), best);
                r.present[best] = false;
            } else if (what == 4) {
                km_heap_remove(&heap, item);
                r.present[item] = false;
            }
            assert_agrees(&heap, &r);
        }
        while (heap.count) {
            uint32_t best = smallest(&r);
            assert_int_equal(km_heap_pop(&heap), best);
            r.present[best] = false;
        }
        assert_int_equal(present(&r), 0);
        km_heap_release(&heap);
    }
    gsl_rng_free(rng);
}

/* Items need not be small or dense. */
static void sparse_items(void **state)
{
    (void)state;
    struct km_heap heap = {0};
    for (uint32_t i = 0; i < 100; i++)
        km_heap_push(&heap, 100 - i, 0, i * 997);
    for (uint32_t i = 100; i-- > 0;) {
        assert_true(km_heap_contains(&heap, i * 997));
        assert_false(km_heap_contains(&heap, i * 997 + 1));
        assert_int_equal(km_heap_pop(&heap), i * 997);
        assert_false(km_heap_contains(&heap, i * 997));
    }
    km_heap_release(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),        cmocka_unit_test(equal_keys_leave_by_tie),
        cmocka_unit_test(extreme_keys), cmocka_unit_test(random_against_reference),
        cmocka_unit_test(sparse_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
