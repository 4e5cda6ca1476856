/* Axes: what a section of keys and values spans. */
#include "scenario/axes.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const reserved[] = {"replications", "budget", NULL};

static enum km_status read_text(const char *text, struct km_arena *arena, struct km_axes *out,
                                struct km_error *error)
{
    struct km_yaml *root;
    *error = (struct km_error){0};
    enum km_status status = km_yaml_parse(text, strlen(text), "axes.yaml", true, arena, &root, error);
    return status == KM_OK ? km_axes_read(root, reserved, arena, out, error) : status;
}

static void joined(const struct km_axis *axis, char *out, size_t size)
{
    *out = '\0';
    for (uint32_t i = 0; i < axis->count; i++) {
        size_t length = strlen(out);
        snprintf(out + length, size - length, "%s%s", i ? " | " : "", axis->values[i]);
    }
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *text, *values;
    } table[] = {
        {"k: [32, 64, 128]", "32 | 64 | 128"},
        {"k: 7", "7"},
        {"k: h200-sxm", "h200-sxm"},
        {"k:\n  - a\n  - b c", "a | b c"},
        {"k: {from: 1, to: 20, points: 3}", "1 | 10.5 | 20"},
        {"k: {from: 1, to: 5, points: 5}", "1 | 2 | 3 | 4 | 5"},
        {"k: {from: 20, to: 10, points: 3}", "20 | 15 | 10"},
        {"k: {from: -1, to: 1, points: 3}", "-1 | 0 | 1"},
        {"k: {from: 0, to: 3, points: 4}", "0 | 1 | 2 | 3"},
        {"k: {from: 4, to: 4, points: 1}", "4"},
        {"k: {from: 4, to: 9, points: 1}", "4"},
        {"k: {from: 0.1, to: 10, points: 3, spacing: log}", "0.1 | 1 | 10"},
        {"k: {from: 1, to: 1024, points: 11, spacing: log}",
         "1 | 2 | 4 | 8 | 16 | 32 | 64 | 128 | 256 | 512 | 1024"},
        {"k: {from: 0.1, to: 0.3, points: 3, spacing: linear}", "0.1 | 0.2 | 0.3"},
        /* a mapping that is no range is one value */
        {"k: {process: poisson, rate_per_s: 6}", "{process: poisson, rate_per_s: 6}"},
        {"k: [{distribution: constant, value: 3}, {distribution: geometric, mean: 4}]",
         "{distribution: constant, value: 3} | {distribution: geometric, mean: 4}"},
        {"k: [[1, 2], [4]]", "[1, 2] | [4]"},
        /* text stays text */
        {"k: [\"8\", 8, 'a, b']", "\"8\" | 8 | \"a, b\""},
        {"k:\n  - [a b, \"c, d\"]", "[a b, \"c, d\"]"},
        {"k: [true, null, ~]", "true | null | ~"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct km_arena arena = {0};
        struct km_axes axes;
        struct km_error error;
        char values[400];
        if (read_text(table[i].text, &arena, &axes, &error) != KM_OK)
            fail_msg("%s: %s", table[i].text, error.message);
        assert_int_equal(axes.count, 1);
        assert_int_equal(axes.points, axes.axes[0].count);
        assert_string_equal(axes.axes[0].key, "k");
        joined(&axes.axes[0], values, sizeof values);
        assert_string_equal(values, table[i].values);
        km_arena_release(&arena);
    }
}

static void test_the_last_axis_moves_fastest(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_axes axes;
    struct km_error error;
    assert_int_equal(
        read_text("a.b: [1, 2]\nreplications: 4\nc: x\nd.e: {from: 1, to: 3, points: 3}\nbudget: {from: 1}\n",
                  &arena, &axes, &error),
        KM_OK);
    assert_int_equal(axes.count, 3);
    assert_int_equal(axes.points, 6);
    static const char *const want[] = {"1x1", "1x2", "1x3", "2x1", "2x2", "2x3"};
    for (uint64_t point = 0; point < axes.points; point++) {
        struct km_override at[3];
        char text[20];
        km_axes_point(&axes, point, at);
        assert_string_equal(at[0].key, "a.b");
        assert_string_equal(at[1].key, "c");
        assert_string_equal(at[2].key, "d.e");
        snprintf(text, sizeof text, "%s%s%s", at[0].value, at[1].value, at[2].value);
        assert_string_equal(text, want[point]);
    }
    km_arena_release(&arena);
}

static void test_no_axes_span_one_point(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_axes axes;
    struct km_error error;
    assert_int_equal(read_text("replications: 3", &arena, &axes, &error), KM_OK);
    assert_int_equal(axes.count, 0);
    assert_int_equal(axes.points, 1);
    km_arena_release(&arena);
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } table[] = {
        {"[1, 2]", "axes.yaml:1:1: expected a mapping such as {cluster.replicas: [1, 2, 4]}"},
        {"k: []", "axes.yaml:1:4: k: expected at least one value"},
        {"k: [1, 2, 1]", "axes.yaml:1:11: k[2]: 1 is there twice"},
        {"k: {from: 1, to: 2}", "axes.yaml:1:4: k.points: missing"},
        {"k: {to: 2, points: 3}", "axes.yaml:1:4: k.from: missing"},
        {"k: {from: 1, to: 2, points: 0}",
         "axes.yaml:1:29: k.points: expected an integer from 1 to 100000, got \"0\""},
        {"k: {from: 1, to: 2, points: 3, step: 1}", "axes.yaml:1:32: k.step: unknown key"},
        {"k: {from: 0, to: 2, points: 3, spacing: log}",
         "axes.yaml:1:4: k: logarithmic spacing needs from and to above 0"},
        {"k: {from: 1, to: x, points: 3}", "axes.yaml:1:18: k.to: expected a number, got \"x\""},
        {"k: {from: 1, to: inf, points: 3}", "axes.yaml:1:18: k.to: expected a number, got \"inf\""},
        {"k: {from: 4, to: 4, points: 2}", "axes.yaml:1:4: k: 4 is there twice"},
        {"k: {from: -1e308, to: 1.5e308, points: 3}", "axes.yaml:1:4: k: from and to are too far apart"},
        {"a: {from: 1, to: 2, points: 100000}\nb: {from: 1, to: 2, points: 1000}",
         "axes.yaml:1:1: spans more than 10000000 points"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct km_arena arena = {0};
        struct km_axes axes;
        struct km_error error;
        char line[1200];
        assert_int_equal(read_text(table[i].text, &arena, &axes, &error), KM_BAD_INPUT);
        km_error_format(&error, line, sizeof line);
        assert_string_equal(line, table[i].message);
        km_arena_release(&arena);
    }
}

/* A value written on one line is the tree it was. */
static void test_writing_keeps_the_tree(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "a: 1\nb:\n  - x, y\n  - 'z'\n  - {c: d e, f: [1, {g: \"\\\"\"}]}\n",
        "k:\n  - a#b\n  - \"#c\"\n  - |\n    two\n    lines\n",
        "k: {empty: , none: [], nothing: {}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct km_arena arena = {0};
        struct km_yaml *root, *again;
        struct km_text first = {0}, second = {0};
        assert_int_equal(km_yaml_parse(texts[i], strlen(texts[i]), "t", true, &arena, &root, NULL), KM_OK);
        km_yaml_write(root, &first);
        assert_int_equal(km_yaml_parse(first.bytes, first.length, "t", true, &arena, &again, NULL), KM_OK);
        km_yaml_write(again, &second);
        assert_string_equal(first.bytes, second.bytes);
        assert_int_equal(root->count, again->count);
        assert_null(strchr(first.bytes, '\n'));
        km_text_release(&first);
        km_text_release(&second);
        km_arena_release(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_the_last_axis_moves_fastest),
        cmocka_unit_test(test_no_axes_span_one_point),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_writing_keeps_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
