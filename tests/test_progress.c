#define _XOPEN_SOURCE 600 /* pseudo-terminals */

#include "base/progress.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void lines(void **state)
{
    (void)state;
    static const struct {
        double start_share, share, elapsed_wall_s;
        const char *want;
    } table[] = {
        {0, 0, 0, "run  [..............................]   0 %  --:-- left"},
        {0, 0.5, 65, "run  [###############...............]  50 %  1:05 left"},
        {0, 0.1, 1000, "run  [###...........................]  10 %  2:30:00 left"},
        {0, 1, 5, "run  [##############################] 100 %  0:00 left"},
        {0, 7, 5, "run  [##############################] 100 %  0:00 left"},
        {0, 1e-12, 1e6, "run  [..............................]   0 %  --:-- left"},
        {0, -1, 12, "run  0:12"},
        {0.5, 0.75, 65, "run  [######################........]  75 %  1:05 left"},
        {0.5, 0.5, 65, "run  [###############...............]  50 %  --:-- left"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char line[160];
        km_progress_format(line, sizeof line, "run", table[i].start_share, table[i].share,
                           table[i].elapsed_wall_s);
        assert_string_equal(line, table[i].want);
    }
    char small[8];
    km_progress_format(small, sizeof small, "a long label", 0, 0.5, 1);
    assert_string_equal(small, "a long ");
}

/* Call update for a while, as a simulation would; returns the number of calls. */
static long drive(FILE *stream)
{
    struct km_progress progress;
    km_progress_begin(&progress, stream, "run");
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    long calls = 0;
    do {
        for (int i = 0; i < 1000; i++, calls++)
            km_progress_update(&progress, 0.25);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec) < 1.2);
    km_progress_end(&progress);
    km_progress_end(&progress);
    return calls;
}

static void a_few_calls_are_all_looked_at(void **state)
{
    (void)state;
    struct km_progress progress;
    FILE *file = tmpfile();
    assert_non_null(file);
    km_progress_begin(&progress, file, "run");
    km_progress_resume(&progress, 0.5);
    progress.terminal = true;
    progress.start_wall_s -= 10; /* ten seconds ago */
    progress.next_wall_s -= 10;
    km_progress_tell(&progress, 0.75);
    char line[160] = "";
    rewind(file);
    assert_non_null(fgets(line, sizeof line, file));
    assert_non_null(strstr(line, "75 %  0:10 left"));
    fclose(file);
}

/* A phase is named, and its time left is by its own pace; notes stand behind. Too long a line is cut where a
 * terminal of unknown width, 80 columns, ends. */
static void phases_have_their_own_clocks(void **state)
{
    (void)state;
    struct km_progress progress;
    FILE *file = tmpfile();
    assert_non_null(file);
    km_progress_begin(&progress, file, "plan");
    const struct km_watch watch = km_progress_watch(&progress);
    progress.terminal = true;
    static const struct {
        const char *phase, *note;
        double share, passed_s; /* since the last call */
        const char *want;
    } steps[] = {
        {"bounds", NULL, 0, 0, "\rbounds  [..............................]   0 %  --:-- left\033[K"},
        {"bounds", NULL, 0.5, 60, "\rbounds  [###############...............]  50 %  1:00 left\033[K"},
        {"search", "best", 0, 60, "\rsearch  [..............................]   0 %  --:-- left  best\033[K"},
        {"search", "best", 0.5, 10,
         "\rsearch  [###############...............]  50 %  0:10 left  best\033[K"},
        {"search", "best 4 x h200-sxm, TP 4 x PP 1", 0.5, 0,
         "\rsearch  [###############...............]  50 %  0:10 left  best 4 x h200-sxm, T\033[K"},
        {"fit", "15 parameters", -1, 0, "\rfit  0:00  15 parameters\033[K"},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        char line[160] = "";
        progress.start_wall_s -= steps[i].passed_s;
        progress.next_wall_s = 0;
        rewind(file);
        assert_int_equal(ftruncate(fileno(file), 0), 0);
        km_watch_tell(&watch, steps[i].phase, steps[i].note, steps[i].share);
        rewind(file);
        assert_non_null(fgets(line, sizeof line, file));
        assert_string_equal(line, steps[i].want);
    }
    fclose(file);
}

static void silent_on_a_file(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    drive(file);
    assert_int_equal(ftell(file), 0);
    fclose(file);
}

static void draws_on_a_terminal(void **state)
{
    (void)state;
    int leader = posix_openpt(O_RDWR | O_NOCTTY);
    if (leader < 0 || grantpt(leader) != 0 || unlockpt(leader) != 0)
        skip(); /* no pseudo-terminals here */
    FILE *terminal = fopen(ptsname(leader), "w");
    if (!terminal)
        skip();
    drive(terminal);
    char seen[4096];
    fclose(terminal);
    size_t length = 0;
    ssize_t got;
    while (length < sizeof seen - 1 && (got = read(leader, seen + length, sizeof seen - 1 - length)) > 0)
        length += (size_t)got;
    close(leader);
    assert_true(length > 4);
    seen[length] = '\0';
    int draws = 0;
    for (const char *at = seen; (at = strstr(at, "25 %")); at++)
        draws++;
    assert_in_range(draws, 1, 5); /* from 0.5 s to 1.2 s, five a second at most */
    assert_string_equal(seen + length - 4, "\r\033[K");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(a_few_calls_are_all_looked_at),
        cmocka_unit_test(phases_have_their_own_clocks),
        cmocka_unit_test(silent_on_a_file),
        cmocka_unit_test(draws_on_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
