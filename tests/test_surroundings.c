/* A wall clock that goes back an hour at every look, and a locale with decimal commas: neither shows in an
 * answer. */
#define _XOPEN_SOURCE 700 /* pseudo-terminals */

#include "support/faulty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void expect_the_same(const struct subject *subject, const struct fault *fault, const char *where)
{
    stage(subject);
    struct ended ended = run_faulty(subject, fault);
    if (ended.code != 0 || *faulty_err() || outputs_now(subject) != OUTPUTS_AFTER || has_leftovers(subject))
        fail_msg("%s %s: exit %d, outputs in state %d, stderr: %s", subject->name, where, ended.code,
                 outputs_now(subject), faulty_err());
}

static void test_clock_goes_back(void **state)
{
    (void)state;
    const struct fault fault = {.clock = "back", .counted = true};
    for (const struct subject *s = subjects; s->name; s++) {
        expect_the_same(s, &fault, "with a clock that goes back");
        if (has_negative_times(s))
            fail_msg("%s with a clock that goes back prints a negative time:\n%s", s->name, faulty_out());
    }
}

/* About once a second of true time rows are flushed to the disk, whatever the wall clock says: at each look a
 * second has passed. */
static void test_rows_are_flushed(void **state)
{
    (void)state;
    const struct fault fault = {.clock = "back", .counted = true};
    for (const struct subject *s = subjects; s->name; s++) {
        if (!s->resumes)
            continue;
        stage(s);
        struct ended ended = run_faulty(s, &fault);
        if (ended.calls == 0)
            skip();                     /* the kernel gives no signals for system calls here */
        assert_true(ended.synced >= 6); /* a row of each of the six runs */
    }
}

/* A locale of this test's own: that of C, but for the comma. */
static bool make_locale(const char *folder)
{
    char command[500], source[200], printed[20] = "";
    snprintf(source, sizeof source, "%s/comma", folder);
    FILE *file = fopen(source, "w");
    assert_non_null(file);
    fputs("LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \".\"\ngrouping 3;3\nEND LC_NUMERIC\n"
          "LC_CTYPE\ncopy \"POSIX\"\nEND LC_CTYPE\n",
          file);
    assert_int_equal(fclose(file), 0);
    snprintf(command, sizeof command, "localedef -c -i %s -f UTF-8 %s/xx_XX.UTF-8 >/dev/null 2>&1", source,
             folder);
    if (system(command) < 0)
        return false;
    /* Is it one? A program that follows the locale writes a comma. */
    snprintf(command, sizeof command,
             "LOCPATH=%s LC_ALL=xx_XX.UTF-8 bash -c \"printf '%%.1f' 0,5\" 2>/dev/null", folder);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    bool read = fgets(printed, sizeof printed, pipe) != NULL;
    pclose(pipe);
    return read && strcmp(printed, "0,5") == 0;
}

static void test_decimal_commas(void **state)
{
    (void)state;
    char folder[] = "/tmp/kingman-locale-XXXXXX", command[100];
    assert_non_null(mkdtemp(folder));
    bool made = make_locale(folder);
    setenv("LOCPATH", folder, 1);
    const struct fault fault = {.locale = "xx_XX.UTF-8"};
    for (const struct subject *s = subjects; made && s->name; s++)
        expect_the_same(s, &fault, "with decimal commas");
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    if (!made)
        skip(); /* no localedef, or no bash to see it work */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_goes_back),
        cmocka_unit_test(test_rows_are_flushed),
        cmocka_unit_test(test_decimal_commas),
    };
    return cmocka_run_group_tests(tests, open_faulty_folders, close_faulty_folders);
}
