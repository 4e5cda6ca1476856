#include "sim/cohort.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define SLOTS 24u

/* The reference keeps every member's own numbers and walks over them. */
struct member {
    bool in;
    uint64_t context;   /* tokens computed */
    uint64_t remaining; /* tokens still to come */
};

static void walk(const struct member *members, uint64_t window, struct km_decode_shape *out)
{
    *out = (struct km_decode_shape){0};
    for (uint32_t i = 0; i < SLOTS; i++) {
        const struct member *m = &members[i];
        if (!m->in)
            continue;
        out->count++;
        out->sum_context += m->context;
        out->sum_windowed += window && m->context > window ? window : m->context;
        out->below_window += !window || m->context <= window;
        if (m->context > out->max_context)
            out->max_context = m->context;
    }
}

static void assert_shape(struct km_cohort *cohort, const struct member *members, uint64_t window)
{
    struct km_decode_shape got, want;
    km_cohort_shape(cohort, &got);
    walk(members, window, &want);
    assert_int_equal(got.count, want.count);
    assert_int_equal(got.sum_context, want.sum_context);
    assert_int_equal(got.sum_windowed, want.sum_windowed);
    assert_int_equal(got.below_window, want.below_window);
    assert_int_equal(got.max_context, want.max_context);
}

/* From the step just taken (itself included) no member leaves the window for `window_steps` steps, and in the
 * step after them somebody has. */
static void assert_window_steps(const struct km_cohort *cohort, const struct member *members, uint64_t window)
{
    uint64_t soonest = UINT64_MAX;
    for (uint32_t i = 0; window && i < SLOTS; i++)
        if (members[i].in && members[i].context <= window && window - members[i].context + 1 < soonest)
            soonest = window - members[i].context + 1;
    assert_int_equal(km_cohort_window_steps(cohort), soonest);
}

static uint64_t walked_plain_steps(const struct member *members)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < SLOTS; i++)
        if (members[i].in && members[i].remaining < least)
            least = members[i].remaining;
    return least == UINT64_MAX ? 0 : least - 1;
}

static void assert_members(const struct km_cohort *cohort, struct km_slot *slots,
                           const struct member *members)
{
    assert_int_equal(km_cohort_plain_steps(cohort), walked_plain_steps(members));
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_int_equal(km_heap_contains(&cohort->finish, i), members[i].in);
        if (!members[i].in)
            continue;
        assert_int_equal(km_cohort_context(cohort, &slots[i]), members[i].context);
        assert_int_equal(km_cohort_remaining(cohort, &slots[i]), members[i].remaining);
    }
}

static void take_steps(struct km_cohort *cohort, struct member *members, uint64_t steps)
{
    cohort->clock += steps;
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (!members[i].in)
            continue;
        members[i].context += steps;
        members[i].remaining -= steps;
    }
}

static void live(gsl_rng *rng, uint32_t window)
{
    struct km_cohort cohort;
    struct km_slot slots[SLOTS] = {0};
    struct member members[SLOTS] = {0};
    uint64_t admissions = 0;
    const struct km_kv_config kv = {.block_size = 4};
    km_cohort_init(&cohort, &kv, window);
    for (uint32_t i = 0; i < SLOTS; i++)
        slots[i].sequence.slot = i;
    for (int operation = 0; operation < 300; operation++) {
        uint32_t i = (uint32_t)gsl_rng_uniform_int(rng, SLOTS);
        struct member *m = &members[i];
        unsigned long what = gsl_rng_uniform_int(rng, 4);
        if (what == 0 && m->in) {
            km_cohort_leave(&cohort, &slots[i]);
            m->in = false;
        } else if (what <= 1 && !m->in) {
            *m = (struct member){true, gsl_rng_uniform_int(rng, 60) + 1, gsl_rng_uniform_int(rng, 40) + 1};
            slots[i].sequence.admission = ++admissions;
            km_cohort_join(&cohort, &slots[i], (uint32_t)m->context, (uint32_t)m->remaining);
        } else if (cohort.count) {
            /* Up to the step in which somebody ends, in one move; then the ones that ended leave. */
            uint64_t steps = gsl_rng_uniform_int(rng, (unsigned long)km_cohort_plain_steps(&cohort) + 1) + 1;
            take_steps(&cohort, members, steps);
            assert_shape(&cohort, members, window);
            assert_window_steps(&cohort, members, window);
            for (uint32_t j = 0; j < SLOTS; j++)
                if (members[j].in && members[j].remaining == 0) {
                    assert_int_equal(slots[j].finish_clock, cohort.clock);
                    km_cohort_leave(&cohort, &slots[j]);
                    members[j].in = false;
                }
        }
        assert_members(&cohort, slots, members);
    }
    km_cohort_release(&cohort);
}

static void random_lives(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(11, KM_RANDOM_OUTPUT_TOKENS);
    const uint32_t windows[] = {0, 1, 2, 16, 50, 70, 1000};
    for (int round = 0; round < 210; round++)
        live(rng, windows[round % 7]);
    gsl_rng_free(rng);
}

/* A window of 8: a sequence with 6 tokens computed attends to 7, 8, 8, 8 tokens in its next steps. */
static void window_by_hand(void **state)
{
    (void)state;
    struct km_cohort cohort;
    struct km_slot slot = {0};
    struct km_decode_shape shape;
    const uint64_t attended[] = {7, 8, 8, 8};
    const struct km_kv_config kv = {.block_size = 16};
    km_cohort_init(&cohort, &kv, 8);
    km_cohort_join(&cohort, &slot, 6, 10);
    for (uint32_t i = 0; i < 4; i++) {
        cohort.clock++;
        km_cohort_shape(&cohort, &shape);
        assert_int_equal(shape.sum_windowed, attended[i]);
        assert_int_equal(shape.sum_context, 7 + i);
    }
    km_cohort_release(&cohort);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lives),
        cmocka_unit_test(window_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
