#include "support/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT_BYTES ((size_t)1 << 24)

static char folder[] = "/tmp/kingman-test-XXXXXX";

int open_program_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

int close_program_folder(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

const char *program_folder(void)
{
    return folder;
}

static FILE *open_file(const char *name, const char *mode)
{
    char path[300];
    assert_true((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) < sizeof path);
    return fopen(path, mode);
}

char *slurp(const char *name)
{
    FILE *file = open_file(name, "rb");
    if (!file)
        return NULL;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_true(size >= 0 && (size_t)size < LIMIT_BYTES);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), (size_t)size);
    text[size] = '\0';
    fclose(file);
    return text;
}

void put(const char *name, const char *text)
{
    FILE *file = open_file(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

struct outcome kingman(const char *arguments)
{
    return kingman_in("", arguments);
}

struct outcome kingman_in(const char *environment, const char *arguments)
{
    char command[4000];
    int length = snprintf(command, sizeof command, "cd %s && ASAN_OPTIONS=exitcode=99 %s %s %s > out 2> err",
                          folder, environment, KM_BINARY, arguments);
    assert_true(length > 0 && (size_t)length < sizeof command);
    int status = system(command);
    assert_true(WIFEXITED(status));
    return (struct outcome){WEXITSTATUS(status), slurp("out"), slurp("err")};
}

void release(struct outcome *outcome)
{
    free(outcome->out);
    free(outcome->err);
}

size_t count_lines(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}
