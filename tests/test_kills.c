/* SIGKILL before every system call that changes a file, and at random moments: afterwards there are the old
 * files or the new ones, each whole, and the same command makes them what they would have been. SIGTERM at
 * the same places leaves no temporary file either. */
#include "support/faulty.h"

#include "base/progress.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define USUAL_POINTS  16 /* calls of each command */
#define USUAL_MOMENTS 10 /* of each command */
#define ALL_MOMENTS   200

static void goes_on(const struct subject *subject, const char *when)
{
    const struct fault none = {0};
    struct ended ended = run_faulty(subject, &none);
    if (ended.code != 0 || outputs_now(subject) != OUTPUTS_AFTER || has_leftovers(subject))
        fail_msg("%s does not succeed after %s: exit %d: %s", subject->name, when, ended.code, faulty_err());
}

static void expect_whole(const struct subject *subject, const char *when)
{
    if (outputs_now(subject) == OUTPUTS_BROKEN)
        fail_msg("%s: files are broken after %s", subject->name, when);
}

static unsigned long count_calls(const struct subject *subject)
{
    const struct fault counted = {.counted = true};
    stage(subject);
    unsigned long count = run_faulty(subject, &counted).calls;
    if (count == 0)
        skip(); /* the kernel gives no signals for system calls here */
    return count;
}

static void test_killed_at_every_call(void **state)
{
    (void)state;
    for (const struct subject *s = subjects; s->name; s++) {
        unsigned long count = count_calls(s), stride = point_stride(count, USUAL_POINTS), asked = 0;
        for (unsigned long n = 1; n <= count; n += stride, asked++) {
            char call[40];
            snprintf(call, sizeof call, "%lu:kill", n);
            const struct fault fault = {.call = call};
            stage(s);
            assert_int_equal(run_faulty(s, &fault).code, 1000 + SIGKILL);
            expect_whole(s, call);
            goes_on(s, call);
        }
        print_message("%s: killed before %lu of %lu calls that change files, nothing lost\n", s->name, asked,
                      count);
    }
}

/* What may still run does; what was begun and cannot end is taken back. */
static void test_terminated_at_every_call(void **state)
{
    (void)state;
    for (const struct subject *s = subjects; s->name; s++) {
        unsigned long count = count_calls(s), stride = point_stride(count, USUAL_POINTS);
        for (unsigned long n = 1; n <= count; n += stride) {
            char call[40];
            snprintf(call, sizeof call, "%lu:term", n);
            const struct fault fault = {.call = call};
            stage(s);
            int code = run_faulty(s, &fault).code;
            if (code != 0 && code != 130 && code != 1000 + SIGTERM)
                fail_msg("%s: SIGTERM before call %s: exit %d: %s", s->name, call, code, faulty_err());
            /* Interrupted, a run still writes what it has: other figures, but whole. */
            if (code == 1000 + SIGTERM)
                expect_whole(s, call);
            if (has_leftovers(s) && !s->resumes)
                fail_msg("%s: SIGTERM before call %s leaves files behind", s->name, call);
            stage(s);
        }
    }
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void test_killed_at_random_moments(void **state)
{
    (void)state;
    unsigned long moments = ALL_MOMENTS / point_stride(ALL_MOMENTS, USUAL_MOMENTS);
    uint64_t random = 1;
    for (const struct subject *s = subjects; s->name; s++) {
        const struct fault none = {0};
        unsigned long killed = 0, old = 0, new = 0;
        stage(s);
        double start_s = now_s();
        assert_int_equal(run_faulty(s, &none).code, 0);
        double takes_s = now_s() - start_s;
        struct km_progress progress;
        km_progress_begin(&progress, stderr, s->name);
        for (unsigned long i = 0; i < moments; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
            double after_s = takes_s * (double)(random >> 32) / 4294967296.0;
            stage(s);
            pid_t child = begin_faulty(s, &none);
            nanosleep(
                &(const struct timespec){(time_t)after_s, (long)((after_s - (double)(time_t)after_s) * 1e9)},
                NULL);
            kill(child, SIGKILL);
            killed += finish_faulty(s, child).code == 1000 + SIGKILL;
            expect_whole(s, "a random moment");
            enum outputs outputs = outputs_now(s);
            old += outputs == OUTPUTS_BEFORE;
            new += outputs == OUTPUTS_AFTER;
            goes_on(s, "a random moment");
            km_progress_tell(&progress, (double)i / (double)moments);
        }
        km_progress_end(&progress);
        assert_true(killed > 0);
        print_message("%s: killed at %lu of %lu random moments within %.0f ms: %lu times the old files, %lu "
                      "times the new\n",
                      s->name, killed, moments, takes_s * 1e3, old, new);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_at_every_call),
        cmocka_unit_test(test_terminated_at_every_call),
        cmocka_unit_test(test_killed_at_random_moments),
    };
    return cmocka_run_group_tests(tests, open_faulty_folders, close_faulty_folders);
}
