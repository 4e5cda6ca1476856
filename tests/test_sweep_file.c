/* The output file of a sweep: whatever happens to it, it ends as if nothing had. */
#define _XOPEN_SOURCE 700 /* mkdtemp() */

#include "sweep/file.h"

#include "base/file.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define RUNS 40

static const char *const names[] = {"run", "value", "sweep"};
static const struct km_rows formats[] = {{KM_ROWS_CSV, names, 3, "f1"}, {KM_ROWS_JSONL, names, 3, "f1"}};
static char folder[] = "/tmp/kingman-sweep-XXXXXX", path[200], journal[210];

struct seen { /* rows told, in order */
    uint64_t count;
    struct km_text text;
};

static void see(void *context, const char *line, size_t length)
{
    struct seen *seen = context;
    seen->count++;
    km_text_append(&seen->text, line, length);
}

static void row_of(const struct km_rows *rows, uint64_t run, struct km_text *out)
{
    char number[24], value[40];
    snprintf(number, sizeof number, "%llu", (unsigned long long)run);
    snprintf(value, sizeof value, "\"value %llu\"", (unsigned long long)(run * run));
    const char *cells[] = {number, value, "\"f1\""};
    km_text_reset(out);
    km_rows_write(rows, cells, out);
}

/* What an undisturbed sweep writes. */
static void whole(const struct km_rows *rows, struct km_text *out)
{
    struct km_text row = {0};
    km_rows_write_header(rows, out);
    for (uint64_t run = 0; run < RUNS; run++) {
        row_of(rows, run, &row);
        km_text_append(out, row.bytes, row.length);
    }
    km_text_release(&row);
}

static enum km_status open_file(const struct km_rows *rows, struct seen *seen, struct km_sweep_file **out,
                                struct km_error *error)
{
    *error = (struct km_error){0};
    return km_sweep_file_open(path, rows, RUNS, see, seen, out, error);
}

static void assert_bytes(const char *file, const char *want, size_t length)
{
    char *bytes;
    size_t count;
    assert_int_equal(km_file_read(file, 1 << 20, &bytes, &count, NULL), KM_OK);
    assert_int_equal(count, length);
    assert_memory_equal(bytes, want, length);
    free(bytes);
}

static void put_bytes(const char *file, const char *bytes, size_t length)
{
    FILE *stream = fopen(file, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, length, stream), length);
    assert_int_equal(fclose(stream), 0);
}

static int clean(void **state)
{
    (void)state;
    remove(path);
    remove(journal);
    return 0;
}

/* Cut a file as a crash may: after any byte, or with zeros where bytes should have been. */
static void damage(const char *file)
{
    struct stat info;
    if (stat(file, &info) != 0 || rand() % 3 == 0)
        return;
    off_t keep = info.st_size ? rand() % (info.st_size + 1) : 0;
    assert_int_equal(truncate(file, keep), 0);
    if (rand() % 3 == 0)
        assert_int_equal(truncate(file, keep + rand() % 50), 0);
}

/* A sweep that is stopped again and again, its files damaged each time, its rows in any order. */
static void test_any_crash_is_survived(void **state)
{
    (void)state;
    srand(3);
    for (int round = 0; round < 300; round++) {
        const struct km_rows *rows = &formats[round % 2];
        struct km_text want = {0}, row = {0};
        whole(rows, &want);
        clean(NULL);
        for (bool complete = false; !complete;) {
            struct seen seen = {0};
            struct km_sweep_file *file;
            struct km_error error;
            if (open_file(rows, &seen, &file, &error) != KM_OK)
                fail_msg("%s:%d: %s", error.file, error.line, error.message);
            uint64_t missing[RUNS], count = 0;
            for (uint64_t run = 0; run < RUNS; run++)
                if (!km_sweep_file_has(file, run))
                    missing[count++] = run;
            assert_int_equal(km_sweep_file_count(file), RUNS - count);
            uint64_t adds = rand() % 4 ? (uint64_t)rand() % (count + 1) : count;
            for (uint64_t i = 0; i < adds; i++) {
                /* mostly near the front, as threads are */
                uint64_t pick = i + (uint64_t)rand() % (rand() % 3 && count - i > 4 ? 4 : count - i);
                uint64_t run = missing[pick];
                missing[pick] = missing[i];
                row_of(rows, run, &row);
                assert_int_equal(km_sweep_file_add(file, run, row.bytes, row.length, &error), KM_OK);
                assert_true(km_sweep_file_has(file, run));
            }
            complete = adds == count;
            assert_int_equal(km_sweep_file_close(file, &error), KM_OK);
            size_t header = want.length - seen.text.length;
            if (complete)
                assert_memory_equal(seen.text.bytes, want.bytes + header, seen.text.length);
            assert_int_equal(complete, seen.count == RUNS);
            km_text_release(&seen.text);
            if (!complete) {
                damage(path);
                damage(journal);
            }
        }
        assert_bytes(path, want.bytes, want.length);
        assert_int_equal(access(journal, F_OK), -1);
        km_text_release(&want);
        km_text_release(&row);
    }
}

static void test_early_rows_are_kept(void **state)
{
    (void)state;
    struct seen seen = {0}, again = {0};
    struct km_sweep_file *file;
    struct km_error error;
    struct km_text row = {0};
    assert_int_equal(open_file(&formats[0], &seen, &file, &error), KM_OK);
    for (uint64_t run = 1; run < RUNS; run++) {
        row_of(&formats[0], run, &row);
        assert_int_equal(km_sweep_file_add(file, run, row.bytes, row.length, &error), KM_OK);
    }
    assert_int_equal(km_sweep_file_close(file, &error), KM_OK);
    assert_int_equal(seen.count, 0);
    assert_int_equal(open_file(&formats[0], &again, &file, &error), KM_OK);
    assert_int_equal(km_sweep_file_count(file), RUNS - 1);
    row_of(&formats[0], 0, &row);
    assert_int_equal(km_sweep_file_add(file, 0, row.bytes, row.length, &error), KM_OK);
    assert_int_equal(again.count, RUNS);
    assert_int_equal(km_sweep_file_close(file, &error), KM_OK);
    km_text_release(&row);
    km_text_release(&again.text);
}

static void test_order_without_a_file(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct km_sweep_file *file;
    struct km_text row = {0}, want = {0};
    assert_int_equal(km_sweep_file_open(NULL, &formats[1], RUNS, see, &seen, &file, NULL), KM_OK);
    for (uint64_t run = RUNS; run-- > 0;) {
        row_of(&formats[1], run, &row);
        assert_int_equal(km_sweep_file_add(file, run, row.bytes, row.length, NULL), KM_OK);
    }
    assert_int_equal(km_sweep_file_close(file, NULL), KM_OK);
    whole(&formats[1], &want);
    assert_string_equal(km_text_c(&seen.text), km_text_c(&want));
    km_text_release(&seen.text);
    km_text_release(&row);
    km_text_release(&want);
}

/* What is not this sweep's is refused, and stays as it was. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        int format, line;
        const char *message;
    } table[] = {
        {"my notes\n", 0, 1,
         "not the output of this sweep: other columns; choose another --output, or remove it"},
        {"my notes", 0, 1, "not the output of this sweep; choose another --output, or remove it"},
        {"r", 1, 1, "not the output of this sweep; choose another --output, or remove it"},
        {"run,other,sweep\n", 0, 1,
         "not the output of this sweep: other columns; choose another --output, or remove it"},
        {"run,value,sweep,check\n0,1,f2,08b058fa1db78154\n", 0, 2,
         "a row of another sweep: the scenario, its overrides, a file it names or kingman's version is not "
         "what it "
         "was; choose another --output, or remove it"},
        {"run,value,sweep,check\n0,1,f1,08b05bfa1db7866d\n2,1,f1,9bd651a833aeafb3\n", 0, 3,
         "expected the row of run 1"},
        {"run,value,sweep,check\n0,1\n", 0, 2,
         "not a row of this sweep, or changed since; choose another --output, or remove it"},
        {"{\"run\": 0, \"value\": 1, \"sweep\": \"f2\", \"check\": \"b5b7157b58fb1059\"}\n", 1, 1,
         "a row of another sweep: the scenario, its overrides, a file it names or kingman's version is not "
         "what it "
         "was; choose another --output, or remove it"},
        {"run,value,sweep,check\n0,2,f1,08b05bfa1db7866d\n", 0, 2,
         "not a row of this sweep, or changed since; choose another --output, or remove it"},
        {"{\"a\": 1}\n", 1, 1,
         "not a row of this sweep, or changed since; choose another --output, or remove it"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct seen seen = {0};
        struct km_sweep_file *file;
        struct km_error error;
        put_bytes(path, table[i].bytes, strlen(table[i].bytes));
        assert_int_equal(open_file(&formats[table[i].format], &seen, &file, &error), KM_BAD_INPUT);
        assert_string_equal(error.message, table[i].message);
        assert_string_equal(error.file, path);
        assert_int_equal(error.line, table[i].line);
        assert_bytes(path, table[i].bytes, strlen(table[i].bytes));
        assert_int_equal(access(journal, F_OK), -1);
        km_text_release(&seen.text);
    }
}

static void test_places_where_nothing_can_be_written(void **state)
{
    (void)state;
    struct km_sweep_file *file;
    struct km_error error = {0};
    assert_int_equal(km_sweep_file_open("/no/such/folder/x.csv", formats, RUNS, see, NULL, &file, &error),
                     KM_IO);
    assert_string_equal(error.message, "cannot write: No such file or directory");
    assert_int_equal(km_sweep_file_open(folder, formats, RUNS, see, NULL, &file, &error), KM_IO);
    assert_string_equal(error.message, "cannot write: Is a directory");
    assert_int_equal(km_sweep_file_open("/dev/null", formats, RUNS, see, NULL, &file, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "not a regular file: a sweep appends to its output");
}

static void test_two_processes_do_not_share_a_file(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct km_sweep_file *file, *other;
    struct km_error error;
    assert_int_equal(open_file(&formats[0], &seen, &file, &error), KM_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool refused = open_file(&formats[0], &seen, &other, &error) == KM_BAD_INPUT &&
                       strcmp(error.message, "another process is writing it") == 0;
        _exit(refused ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(km_sweep_file_close(file, &error), KM_OK);
}

/* A disk that is full in the middle of a row: one error, and whole rows. */
static void test_a_full_disk(void **state)
{
    (void)state;
    struct km_text want = {0}, row = {0};
    whole(&formats[0], &want);
    for (rlim_t room = 25; room < 400; room += 13) {
        struct seen seen = {0}, again = {0};
        struct km_sweep_file *file;
        struct km_error error;
        clean(NULL);
        assert_int_equal(open_file(&formats[0], &seen, &file, &error), KM_OK);
        struct rlimit limit, smaller;
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
        smaller = (struct rlimit){room, limit.rlim_max};
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &smaller), 0);
        enum km_status status = KM_OK;
        for (uint64_t run = 0; run < RUNS && status == KM_OK; run++) {
            row_of(&formats[0], run, &row);
            status = km_sweep_file_add(file, run, row.bytes, row.length, &error);
        }
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        assert_int_equal(status, KM_IO);
        assert_string_equal(error.message, "cannot write: File too large");
        km_sweep_file_close(file, &error);
        char *bytes;
        size_t count;
        assert_int_equal(km_file_read(path, 1 << 20, &bytes, &count, NULL), KM_OK);
        assert_true(count <= room && bytes[count - 1] == '\n');
        assert_memory_equal(bytes, want.bytes, count);
        free(bytes);
        assert_int_equal(open_file(&formats[0], &again, &file, &error), KM_OK);
        assert_true(again.count > 0 || room < 64);
        assert_int_equal(km_sweep_file_close(file, &error), KM_OK);
        km_text_release(&seen.text);
        km_text_release(&again.text);
    }
    km_text_release(&want);
    km_text_release(&row);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/out", folder);
    snprintf(journal, sizeof journal, "%s.partial", path);
    return 0;
}

static int tear_down(void **state)
{
    clean(state);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_any_crash_is_survived, clean),
        cmocka_unit_test_teardown(test_early_rows_are_kept, clean),
        cmocka_unit_test_teardown(test_order_without_a_file, clean),
        cmocka_unit_test_teardown(test_refusals, clean),
        cmocka_unit_test_teardown(test_places_where_nothing_can_be_written, clean),
        cmocka_unit_test_teardown(test_two_processes_do_not_share_a_file, clean),
        cmocka_unit_test_teardown(test_a_full_disk, clean),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
