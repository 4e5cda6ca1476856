/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "base/pool.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

struct task {
    uint64_t *slots;
    uint32_t *runs;
    _Atomic uint64_t highest; /* index started so far, + 1 */
};

static uint64_t mix(uint64_t x)
{
    for (int i = 0; i < 50; i++)
        x = (x ^ (x >> 27)) * 0x9e3779b97f4a7c15u;
    return x;
}

static void job(void *context, uint64_t index)
{
    struct task *task = context;
    uint64_t highest = atomic_load(&task->highest);
    while (highest < index + 1 && !atomic_compare_exchange_weak(&task->highest, &highest, index + 1)) {
    }
    task->slots[index] = mix(index);
    task->runs[index]++;
}

static void test_every_job_runs_once(void **state)
{
    (void)state;
    static const struct {
        uint32_t workers;
        uint64_t jobs;
    } cases[] = {{0, 0},   {1, 0},   {7, 0},    {0, 1},   {1, 1},   {9, 1},
                 {1, 100}, {2, 100}, {3, 1000}, {64, 10}, {0, 5000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t jobs = cases[i].jobs;
        struct task task = {.slots = calloc(jobs + 1, sizeof(uint64_t)),
                            .runs = calloc(jobs + 1, sizeof(uint32_t))};
        km_pool_run(cases[i].workers, jobs, job, &task);
        for (uint64_t k = 0; k < jobs; k++) {
            assert_int_equal(task.runs[k], 1);
            assert_int_equal(task.slots[k], mix(k));
        }
        assert_int_equal(task.runs[jobs], 0);
        assert_int_equal(task.highest, jobs);
        free(task.slots);
        free(task.runs);
    }
}

static void record_order(void *context, uint64_t index)
{
    struct task *task = context;
    task->slots[task->highest++] = index;
}

struct seen {
    double last;
    uint64_t calls;
};

static void see(void *context, const char *phase, const char *note, double share)
{
    struct seen *seen = context;
    assert_string_equal(phase, "phase");
    assert_string_equal(note, "note");
    assert_true(share >= seen->last && share <= 1);
    seen->last = share;
    seen->calls++;
}

/* Told by the caller's thread: never backwards, from 0 to all. With one worker after every job. */
static void test_a_watch_sees_all_done(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 4; workers++) {
        uint64_t slots[101] = {0};
        uint32_t runs[101] = {0};
        struct task task = {.slots = slots, .runs = runs};
        struct seen seen = {0};
        const struct km_watch watch = {see, &seen};
        km_pool_run_watched(workers, 100, job, &task, &watch, "phase", "note");
        assert_true(seen.last >= 1);
        assert_true(seen.calls >= 2 && (workers > 1 || seen.calls == 101));
    }
}

static void test_one_worker_goes_in_order(void **state)
{
    (void)state;
    uint64_t slots[50];
    struct task task = {.slots = slots};
    km_pool_run(1, 50, record_order, &task);
    for (uint64_t i = 0; i < 50; i++)
        assert_int_equal(slots[i], i);
}

/* Two jobs that each wait for the other end only if they run at the same time. */
struct meeting {
    _Atomic int present;
};

static void meet(void *context, uint64_t index)
{
    (void)index;
    struct meeting *meeting = context;
    atomic_fetch_add(&meeting->present, 1);
    while (atomic_load(&meeting->present) < 2) {
    }
}

static void test_workers_run_at_the_same_time(void **state)
{
    (void)state;
    struct meeting meeting = {0};
    km_pool_run(2, 2, meet, &meeting);
    assert_int_equal(meeting.present, 2);
}

struct nest {
    uint64_t sums[8];
};

static void add_index(void *context, uint64_t index)
{
    atomic_fetch_add((_Atomic uint64_t *)context, index);
}

static void nested(void *context, uint64_t index)
{
    struct nest *nest = context;
    _Atomic uint64_t sum = 0;
    km_pool_run(3, 100 * (index + 1), add_index, &sum);
    nest->sums[index] = sum;
}

static void test_a_job_may_run_jobs(void **state)
{
    (void)state;
    struct nest nest = {0};
    km_pool_run(4, 8, nested, &nest);
    for (uint64_t i = 0; i < 8; i++) {
        uint64_t n = 100 * (i + 1);
        assert_int_equal(nest.sums[i], n * (n - 1) / 2);
    }
}

static void test_cores(void **state)
{
    (void)state;
    uint32_t cores = km_pool_cores();
    assert_true(cores >= 1);
    assert_int_equal(km_pool_share(1), cores);
    assert_int_equal(km_pool_share(1u << 30), 1);
    for (uint32_t processes = 1; processes < 10; processes++)
        assert_true(km_pool_share(processes) >= km_pool_share(processes + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_job_runs_once),          cmocka_unit_test(test_one_worker_goes_in_order),
        cmocka_unit_test(test_workers_run_at_the_same_time), cmocka_unit_test(test_a_job_may_run_jobs),
        cmocka_unit_test(test_a_watch_sees_all_done),        cmocka_unit_test(test_cores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
