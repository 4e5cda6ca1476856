/* Every system call that changes a file - of a run, a plan, a sweep, an explanation, a queue question - fails
 * once, or from then on, or takes half of what it is given: one line, exit 2, and what was there is
 * untouched; a write that falls short is only continued. */
#include "support/faulty.h"

#include "base/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define USUAL_POINTS 8 /* of each command and kind */

static const struct {
    const char *what;
    const char *says; /* how the line ends */
} kinds[] = {
    {"ENOSPC", "No space left on device"},
    {"full", "No space left on device"},
    {"EIO", "Input/output error"},
    {"EINTR", "Interrupted system call"},
    {"short", NULL},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static void goes_on(const struct subject *subject, const char *call)
{
    const struct fault none = {0};
    struct ended ended = run_faulty(subject, &none);
    if (ended.code != 0 || outputs_now(subject) != OUTPUTS_AFTER || has_leftovers(subject))
        fail_msg("%s does not succeed after call %s: exit %d: %s", subject->name, call, ended.code,
                 faulty_err());
}

/* Returns whether the command was refused. */
static bool ends_cleanly(const struct subject *subject, unsigned long number, size_t kind)
{
    char call[40];
    snprintf(call, sizeof call, "%lu:%s", number, kinds[kind].what);
    const struct fault fault = {.call = call};
    stage(subject);
    struct ended ended = run_faulty(subject, &fault);
    const char *err = faulty_err();
    enum outputs now = outputs_now(subject);
    bool answered = ended.code == 0 && !*err && now == OUTPUTS_AFTER;
    /* Once the new files are there, only stdout can fail; between, a rename itself. */
    bool told = kinds[kind].says &&
                (is_one_line(err, kinds[kind].says) || is_one_line(err, "cannot write to stdout"));
    bool refused = ended.code == 2 && told && now != OUTPUTS_BROKEN;
    if (!answered && !refused)
        fail_msg("%s, call %s: exit %d, outputs in state %d, stderr: %s", subject->name, call, ended.code,
                 now, err);
    goes_on(subject, call);
    return refused;
}

static void test_every_call(void **state)
{
    (void)state;
    for (const struct subject *s = subjects; s->name; s++) {
        const struct fault counted = {.counted = true};
        stage(s);
        unsigned long count = run_faulty(s, &counted).calls, stride = point_stride(count, USUAL_POINTS);
        unsigned long asked = 0, refused = 0;
        if (count == 0)
            skip(); /* the kernel gives no signals for system calls here */
        struct km_progress progress;
        km_progress_begin(&progress, stderr, s->name);
        for (unsigned long n = 1; n <= count; n += stride) {
            for (size_t kind = 0; kind < KINDS; kind++, asked++)
                refused += ends_cleanly(s, n, kind);
            km_progress_tell(&progress, (double)n / (double)count);
        }
        km_progress_end(&progress);
        assert_true(refused * 2 > asked);
        print_message("%s: %lu calls that change files; %lu faults brought in: %lu ended in one line and "
                      "exit 2, %lu were borne\n",
                      s->name, count, asked, refused, asked - refused);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_call)};
    return cmocka_run_group_tests(tests, open_faulty_folders, close_faulty_folders);
}
