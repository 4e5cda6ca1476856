/* Shipped models by the repository they come from (models/ids.csv). */
#include "base/file.h"
#include "base/memory.h"
#include "scenario/lookup.h"
#include "scenario/model_id.h"
#include "support/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define IDS KM_SOURCE_DIR "/models/ids.csv"

static char *slurp(const char *path)
{
    char *text;
    size_t bytes;
    struct km_error error = {0};
    if (km_file_read(path, 1 << 20, &text, &bytes, &error) != KM_OK)
        fail_msg("%s", error.message);
    return text;
}

static void what_is_an_id(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_id;
    } names[] = {{"Qwen/Qwen3-8B", true}, {"qwen3-8b", false},      {"models/qwen3-8b.json", false},
                 {"./Qwen3-8B", false},   {"/tmp/model", false},    {"a/b/c", false},
                 {"org/", false},         {"a/config.json", false}, {"", false}};
    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(km_is_model_id(names[i].name), names[i].is_id);
}

static void found(void **state)
{
    (void)state;
    static const struct {
        const char *id, *model, *nearest;
    } cases[] = {{"Qwen/Qwen3-8B", "qwen3-8b", NULL},
                 {"qwen/QWEN3-8b", "qwen3-8b", NULL},
                 {"meta-llama/Llama-3.3-70B-Instruct", "llama-3.1-70b", NULL},
                 {"Qwen/Qwen3-9B", NULL, "Qwen/Qwen3-8B"},
                 {"nobody/nothing-at-all", NULL, NULL}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        const char *nearest;
        const char *model = km_model_of_id(IDS, cases[i].id, &nearest, &arena);
        if (cases[i].model) {
            assert_non_null(model);
            assert_string_equal(model, cases[i].model);
            const char *path = km_lookup_find(KM_LOOKUP_MODEL, cases[i].id, "", &arena);
            assert_non_null(path);
            assert_non_null(strstr(path, cases[i].model));
        } else {
            assert_null(model);
        }
        if (cases[i].nearest)
            assert_string_equal(nearest, cases[i].nearest);
        km_arena_release(&arena);
    }
    struct km_arena arena = {0};
    const char *nearest;
    assert_null(km_model_of_id(KM_SOURCE_DIR "/no-such-file", "a/b", &nearest, &arena));
    km_arena_release(&arena);
}

/* Every line leads to a file, every file has a line, and the table of sources names both. */
static void complete(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    char *ids = slurp(IDS), *readme = slurp(KM_SOURCE_DIR "/models/README.md");
    const char *const *names;
    const size_t count = km_lookup_names(KM_LOOKUP_MODEL, &arena, &names);
    for (size_t i = 0; i < count; i++) {
        char end[128], row[128];
        snprintf(end, sizeof end, ",%s\n", names[i]);
        snprintf(row, sizeof row, "| `%s.json` | `", names[i]);
        if (!strstr(ids, end) || !strstr(readme, row))
            fail_msg("%s has no source in ids.csv or README.md", names[i]);
    }
    char *rest = NULL;
    for (char *line = strtok_r(ids, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *comma = strchr(line, ',');
        assert_non_null(comma);
        if (line[0] != '#' && !km_lookup_find(KM_LOOKUP_MODEL, comma + 1, "", &arena))
            fail_msg("%s: there is no such model", line);
    }
    free(ids);
    free(readme);
    km_arena_release(&arena);
}

static void gguf(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_error error = {0};
    const char *path;
    struct km_yaml *root = NULL;
    static const char text[] = "model: some/model-Q4_K_M.gguf\n";
    assert_int_equal(km_yaml_parse(text, strlen(text), "a.yaml", true, &arena, &root, &error), KM_OK);
    assert_int_equal(km_lookup(KM_LOOKUP_MODEL, km_yaml_get(root, "model"), "", &arena, &path, &error),
                     KM_BAD_INPUT);
    assert_non_null(strstr(error.message, "GGUF files are not read"));
    km_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_an_id), cmocka_unit_test(found),
                                       cmocka_unit_test(complete), cmocka_unit_test(gguf)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
