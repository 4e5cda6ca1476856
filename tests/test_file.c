/* Files that appear only when they are complete, and what is there that is no file. */
#include "base/file.h"
#include "base/outfile.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/km-file-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails when a temporary was left behind */
}

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void assert_holds(const char *path, const char *expected)
{
    char *text;
    size_t bytes;
    assert_int_equal(km_file_read(path, 1000, &text, &bytes, NULL), KM_OK);
    assert_string_equal(text, expected);
    free(text);
}

static void test_appears_when_complete(void **state)
{
    (void)state;
    struct km_outfile file;
    const char *path = in_folder("a");
    assert_int_equal(km_outfile_open(&file, path, NULL), KM_OK);
    fputs("first", file.stream);
    assert_false(km_file_exists(path));
    assert_int_equal(km_outfile_commit(&file, NULL), KM_OK);
    assert_holds(path, "first");

    assert_int_equal(km_outfile_open(&file, path, NULL), KM_OK);
    fputs("second", file.stream);
    km_outfile_abort(&file);
    assert_holds(path, "first");

    struct km_text text = {0};
    km_text_puts(&text, "third");
    assert_int_equal(km_file_write(path, &text, NULL), KM_OK);
    assert_holds(path, "third");
    km_text_release(&text);
    assert_int_equal(remove(path), 0);
}

/* As /dev/null, which must stay what it is. */
static void test_what_is_no_file_stays(void **state)
{
    (void)state;
    const char *path = in_folder("pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    struct km_text text = {0};
    km_text_puts(&text, "through");
    assert_int_equal(km_file_write(path, &text, NULL), KM_OK);
    km_text_release(&text);
    char got[20] = {0};
    assert_int_equal(read(reader, got, sizeof got - 1), 7);
    assert_string_equal(got, "through");
    close(reader);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));

    struct km_outfile file;
    reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(km_outfile_open(&file, path, NULL), KM_OK);
    km_outfile_abort(&file);
    close(reader);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(remove(path), 0);
}

static void test_cannot_be_written(void **state)
{
    (void)state;
    struct km_text text = {0};
    struct km_error error = {0};
    assert_int_equal(km_file_write(folder, &text, &error), KM_IO);
    assert_string_equal(error.message, "cannot write: Is a directory");
    assert_int_equal(km_file_write(in_folder("absent/file"), &text, &error), KM_IO);
    assert_string_equal(error.message, "cannot write: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appears_when_complete),
        cmocka_unit_test(test_what_is_no_file_stays),
        cmocka_unit_test(test_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
