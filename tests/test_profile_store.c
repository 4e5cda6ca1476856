/* Profiles shared by many cost models: the same answers as from a file of one's own, read once. */
#include "cost/profile/store.h"

#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PROFILE KM_SOURCE_DIR "/configs/profiles/h200-sxm.json"
#define VIEWS   8

struct task {
    struct km_profile_store *store;
    const struct km_device *device;
    struct km_profile views[VIEWS];
    enum km_status statuses[VIEWS];
};

static void view(void *context, uint64_t index)
{
    struct task *task = context;
    struct km_error error;
    task->statuses[index] = km_profile_store_view(task->store, PROFILE, &task->views[index], &error);
    if (task->statuses[index] == KM_OK)
        km_profile_bind(&task->views[index], task->device);
}

static void test_views_are_the_file(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_device device;
    struct km_profile own;
    struct km_error error;
    assert_int_equal(km_device_read(KM_SOURCE_DIR "/configs/devices/h200-sxm.yaml", &arena, &device, &error),
                     KM_OK);
    assert_int_equal(km_profile_read(PROFILE, &own, &error), KM_OK);
    km_profile_bind(&own, &device);
    struct task task = {.store = km_profile_store_create(), .device = &device};
    km_pool_run(4, VIEWS, view, &task);
    size_t rows = 0;
    for (int i = 0; i < VIEWS; i++) {
        assert_int_equal(task.statuses[i], KM_OK);
        assert_string_equal(task.views[i].device, own.device);
        for (int class = 0; class < KM_PROFILE_CLASSES; class ++) {
            const struct km_profile_table *mine = &own.tables[class], *theirs = &task.views[i].tables[class];
            assert_int_equal(mine->count, theirs->count);
            assert_ptr_equal(theirs->rows, task.views[0].tables[class].rows); /* read once */
            for (size_t row = 0; row < mine->count; row++, rows++)
                assert_memory_equal(&mine->answers[row], &theirs->answers[row], sizeof *mine->answers);
        }
    }
    assert_true(rows > 1000);
    for (int i = 0; i < VIEWS; i++)
        km_profile_view_release(&task.views[i]);
    km_profile_store_destroy(task.store);
    km_profile_release(&own);
    km_arena_release(&arena);
}

static void test_a_file_that_cannot_be_read(void **state)
{
    (void)state;
    struct km_profile_store *store = km_profile_store_create();
    struct km_profile profile;
    for (int i = 0; i < 2; i++) {
        struct km_error error = {0};
        assert_int_equal(km_profile_store_view(store, "no/such.json", &profile, &error), KM_BAD_INPUT);
        assert_string_equal(error.file, "no/such.json");
    }
    km_profile_store_destroy(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views_are_the_file),
        cmocka_unit_test(test_a_file_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
