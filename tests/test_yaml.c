#include "base/yaml.h"
#include "support/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct km_yaml *parse(const char *text, struct km_arena *arena)
{
    struct km_yaml *root;
    struct km_error error;
    if (km_yaml_parse(text, strlen(text), "t.yaml", true, arena, &root, &error) != KM_OK) {
        char line[1200];
        km_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
    return root;
}

static void positions(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_yaml *root =
        parse("# comment\nmodel: llama\nengine:\n  kv: {block_size: 16, list: [a, \"7\"]}\n", &arena);
    assert_int_equal(root->kind, KM_YAML_MAPPING);
    assert_int_equal(root->count, 2);
    struct km_yaml *model = km_yaml_get(root, "model");
    assert_string_equal(model->text, "llama");
    assert_int_equal(model->line, 2);
    assert_int_equal(model->column, 8);
    assert_int_equal(model->key_line, 2);
    assert_int_equal(model->key_column, 1);
    struct km_yaml *list = km_yaml_get(km_yaml_get(km_yaml_get(root, "engine"), "kv"), "list");
    assert_int_equal(list->kind, KM_YAML_SEQUENCE);
    assert_int_equal(list->line, 4);
    assert_int_equal(list->column, 30);
    assert_false(list->items[0]->quoted);
    assert_true(list->items[1]->quoted);
    char path[64];
    km_yaml_path(list->items[1], path, sizeof path);
    assert_string_equal(path, "engine.kv.list[1]");
    km_yaml_path(list->items[1], path, 12);
    assert_string_equal(path, "engine.k...");
    assert_null(km_yaml_get(root, "cost"));
    assert_null(km_yaml_get(NULL, "cost"));
    assert_null(km_yaml_get(model, "cost"));
    km_arena_release(&arena);
}

static void nulls_and_emptiness(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    assert_true(km_yaml_is_null(parse("", &arena)));
    assert_true(km_yaml_is_null(parse("# nothing\n", &arena)));
    struct km_yaml *root = parse("a:\nb: ~\nc: null\nd: \"\"\ne: 'null'\nf: {}\n", &arena);
    const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(km_yaml_is_null(km_yaml_get(root, names[i])), i < 3);
    km_arena_release(&arena);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a: &x 1\n", "t.yaml:1:4: anchors (&) are not supported"},
        {"a: &x [1]\n", "t.yaml:1:4: anchors (&) are not supported"},
        {"a: *x\n", "t.yaml:1:4: aliases (*) are not supported"},
        {"a: !!int 1\n", "t.yaml:1:4: tags (!) are not supported"},
        {"a: !x {b: 1}\n", "t.yaml:1:4: tags (!) are not supported"},
        {"a: 1\n---\nb: 1\n", "t.yaml:2:1: a second document (---) is not supported"},
        {"a: 1\nb: 2\na: 3\n", "t.yaml:3:1: a: given twice, first in line 1"},
        {"x:\n  a: 1\n  a: 3\n", "t.yaml:3:3: a: given twice, first in line 2"},
        {"[1]: 2\n", "t.yaml:1:1: a key must be plain text"},
        {"a: \"x\\0y\"\n", "t.yaml:1:4: NUL character in text"},
        {"a: [1, 2\n", "t.yaml:2:1: did not find expected ',' or ']' while parsing a flow sequence"},
        {"a:\n\tb: 1\n",
         "t.yaml:2:1: found character that cannot start any token while scanning for the next token"},
        {"a: 1\n  b: 2\n", "t.yaml:2:4: mapping values are not allowed in this context"},
        {"a: \"x\n", "t.yaml:2:1: found unexpected end of stream while scanning a quoted scalar"},
        {"a: 1\nb: \xff\n", "t.yaml:2:4: invalid leading UTF-8 octet"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
         "t.yaml:1:33: nested too deeply"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_yaml *root;
        struct km_error error;
        char line[1200];
        assert_int_equal(
            km_yaml_parse(cases[i].text, strlen(cases[i].text), "t.yaml", true, &arena, &root, &error),
            KM_BAD_INPUT);
        km_error_format(&error, line, sizeof line);
        assert_string_equal(line, cases[i].message);
        km_arena_release(&arena);
    }
}

static void size_is_limited(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_yaml *root;
    struct km_error error;
    size_t bytes = KM_YAML_LIMIT_BYTES + 1;
    char *text = malloc(bytes);
    assert_non_null(text);
    memset(text, 'a', bytes);
    assert_int_equal(km_yaml_parse(text, bytes, "t.yaml", true, &arena, &root, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "larger than 1048576 bytes");
    free(text);
    assert_int_equal(km_yaml_read("no/such.yaml", &arena, &root, &error), KM_BAD_INPUT);
    assert_string_equal(error.file, "no/such.yaml");
    km_arena_release(&arena);
}

static void too_many_keys(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    char *text = malloc(KM_YAML_LIMIT_KEYS * 16 + 64);
    assert_non_null(text);
    size_t used = 0;
    for (int i = 0; i <= KM_YAML_LIMIT_KEYS; i++)
        used += (size_t)sprintf(text + used, "k%d: 1\n", i);
    struct km_yaml *root;
    struct km_error error;
    assert_int_equal(km_yaml_parse(text, used, "t.yaml", true, &arena, &root, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "too many keys in one mapping");
    assert_int_equal(error.line, KM_YAML_LIMIT_KEYS + 1);
    free(text);
    km_arena_release(&arena);
}

static void overrides(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_error error;
    struct km_yaml *root = parse("a: {b: 1}\nn:\ns: text\n", &arena);
    assert_int_equal(km_yaml_override(root, "a.b", "2", "--set a.b=2", &arena, &error), KM_OK);
    assert_string_equal(km_yaml_get(km_yaml_get(root, "a"), "b")->text, "2");
    assert_int_equal(km_yaml_get(root, "a")->count, 1);
    assert_int_equal(km_yaml_override(root, "x.y.z", "[1, 2]", "--set x.y.z", &arena, &error), KM_OK);
    struct km_yaml *z = km_yaml_get(km_yaml_get(km_yaml_get(root, "x"), "y"), "z");
    assert_int_equal(z->count, 2);
    km_yaml_fail(z->items[1], &error, "bad");
    char line[1200];
    km_error_format(&error, line, sizeof line);
    assert_string_equal(line, "--set x.y.z: x.y.z[1]: bad");
    assert_int_equal(km_yaml_override(root, "n.m", "1", "--set n.m=1", &arena, &error), KM_OK);
    assert_int_equal(km_yaml_override(root, "slo.ttft_p99.9_s", "1", "--set", &arena, &error), KM_OK);
    assert_non_null(km_yaml_get(km_yaml_get(root, "slo"), "ttft_p99.9_s"));
    assert_int_equal(km_yaml_set(km_yaml_get(root, "a"), "c.d.e", "[3]", "--set", &arena, &error), KM_OK);
    assert_int_equal(km_yaml_set(km_yaml_get(root, "a"), "b", "4", "--set", &arena, &error), KM_OK);
    assert_int_equal(km_yaml_get(root, "a")->count, 2);
    assert_int_equal(km_yaml_get(km_yaml_get(root, "a"), "c.d.e")->count, 1);
    assert_int_equal(km_yaml_set(km_yaml_get(root, "s"), "b.c", "4", "--set", &arena, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "s: not a mapping, cannot hold \"b.c\"");
    assert_int_equal(km_yaml_set(root, "", "4", "--set", &arena, &error), KM_BAD_INPUT);
    static const struct {
        const char *key, *value, *message;
    } bad[] = {
        {"s.t", "1", "--set: s: not a mapping, cannot hold \"t\""},
        {"a..b", "1", "--set: empty part in the key \"a..b\""},
        {"", "1", "--set: empty part in the key \"\""},
        {"a.b", "[1", "--set: did not find expected ',' or ']' while parsing a flow sequence"},
        {"a.b", "{c: 1, c: 2}", "--set: c: given twice"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(km_yaml_override(root, bad[i].key, bad[i].value, "--set", &arena, &error),
                         KM_BAD_INPUT);
        km_error_format(&error, line, sizeof line);
        assert_string_equal(line, bad[i].message);
    }
    km_arena_release(&arena);
}

/* Any bytes at all give a tree or one error, never a crash. */
static void random_bytes(void **state)
{
    (void)state;
    static const char letters[] = "ab: -[]{},\"'\n\t#&*!|>?%@\\0.~\xc3\xa9\xff";
    uint32_t x = 12345;
    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t n = 0;
        for (; n < sizeof text; n++) {
            x = x * 1664525u + 1013904223u;
            if (x >> 26 == 0)
                break;
            text[n] = letters[(x >> 16) % (sizeof letters - 1)];
        }
        struct km_arena arena = {0};
        struct km_yaml *root = NULL;
        struct km_error error = {0};
        if (km_yaml_parse(text, n, "t", true, &arena, &root, &error) == KM_OK)
            assert_non_null(root);
        else
            assert_true(error.message[0] != '\0');
        km_arena_release(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions),       cmocka_unit_test(nulls_and_emptiness), cmocka_unit_test(refusals),
        cmocka_unit_test(size_is_limited), cmocka_unit_test(too_many_keys),       cmocka_unit_test(overrides),
        cmocka_unit_test(random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
