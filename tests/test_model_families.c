/* Families of models differ in numbers alone: no code outside the reader of configurations names one. */
#include "model/config.h"
#include "support/check.h"

#include <ctype.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* Blanks comments out; with `strings` all but the text in quotes. */
static void strip_comments(char *text, bool strings)
{
    bool in_string = false;
    for (char *c = text; *c; c++) {
        if (*c == '\\' && in_string && c[1]) {
            c++;
        } else if (*c == '"') {
            in_string = !in_string;
        } else if (!in_string && c[0] == '/' && c[1] == '*') {
            char *end = strstr(c + 2, "*/");
            assert_non_null(end);
            memset(c, ' ', (size_t)(end + 2 - c));
        } else if (!in_string && strings) {
            *c = ' ';
        }
    }
}

/* Is `word` there by itself, in any case, with or without digits behind it? "_" and "-" part words. */
static bool mentions(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = text; *at; at++) {
        size_t i = 0;
        while (i < length && tolower((unsigned char)at[i]) == word[i])
            i++;
        if (i == length && (at == text || !isalnum((unsigned char)at[-1])) && !isalpha((unsigned char)at[i]))
            return true;
    }
    return false;
}

static void check_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    size_t bytes = fread(text, 1, (1 << 20) - 1, file);
    assert_true(bytes > 0 && bytes < (1 << 20) - 1);
    fclose(file);
    char *quoted = calloc(1, 1 << 20);
    assert_non_null(quoted);
    memcpy(quoted, text, bytes);
    strip_comments(text, false);
    strip_comments(quoted, true);
    for (size_t i = 0; km_family_at(i); i++) {
        char word[64];
        snprintf(word, sizeof word, "%s", km_family_at(i)->model_type);
        /* Some first words are this project's own. */
        if (strncmp(word, "seed_", 5) != 0 && strncmp(word, "step", 4) != 0)
            word[strcspn(word, "_0123456789-")] = '\0'; /* "qwen2_moe" is of qwen */
        /* A name as short as a Greek letter's may be one: outside quotes it stands for nothing. */
        if (mentions(strlen(word) < 4 ? quoted : text, word))
            fail_msg("%s mentions %s", path, word);
    }
    free(quoted);
    free(text);
}

static uint32_t check_tree(const char *folder)
{
    uint32_t files = 0;
    DIR *stream = opendir(folder);
    assert_non_null(stream);
    for (const struct dirent *entry = readdir(stream); entry; entry = readdir(stream)) {
        char path[512];
        struct stat info;
        const char *dot = strrchr(entry->d_name, '.');
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        assert_int_equal(stat(path, &info), 0);
        if (S_ISDIR(info.st_mode))
            files += check_tree(path);
        bool source = dot && (strcmp(dot, ".c") == 0 || strcmp(dot, ".h") == 0 || strcmp(dot, ".cu") == 0);
        /* Where families are read, and engine/flags.c, which quotes other projects' words. */
        if (!source || strstr(path, "/model/config") || strstr(path, "/engine/flags.c"))
            continue;
        check_file(path);
        files++;
    }
    closedir(stream);
    return files;
}

static void no_family_by_name(void **state)
{
    (void)state;
    char sample[] = "if (strcmp(name, \"Llama3\")) /* llama */ collaman(gemma_layer);";
    char quoted[sizeof sample];
    memcpy(quoted, sample, sizeof sample);
    strip_comments(sample, false);
    strip_comments(quoted, true);
    assert_true(mentions(sample, "llama") && mentions(sample, "gemma"));
    assert_true(mentions(quoted, "llama") && !mentions(quoted, "gemma"));
    assert_false(mentions(sample, "lama") || mentions(sample, "man"));
    assert_true(check_tree(KM_SOURCE_DIR "/src") > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_family_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
