#include "base/settings.h"

#include "base/suggest.h"
#include "support/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum colour { RED, GREEN };
static const char *const colours[] = {"red", "green", NULL};

static const struct km_entry continuous = {"continuous", "one"}, dynamic = {"dynamic", "two"};
static const struct km_entry *const policies[] = {&continuous, &dynamic, NULL};

struct inner {
    uint32_t depth;
    double share;
};

struct target {
    bool flag;
    uint32_t seqs;
    uint64_t seed;
    double rate, share;
    const char *name, *policy;
    enum colour colour;
    struct inner inner;
};

static const struct km_setting inner_table[] = {
    {"depth", KM_SETTING_U32, offsetof(struct inner, depth), KM_BETWEEN(1, 10), .doc = "how deep"},
    {"share", KM_SETTING_NUMBER, offsetof(struct inner, share), KM_BETWEEN(0, 1), .doc = "how much"},
    {0},
};

static const struct km_setting table[] = {
    {"flag", KM_SETTING_BOOL, offsetof(struct target, flag), .optional = true, .doc = "yes or no"},
    {"seqs", KM_SETTING_U32, offsetof(struct target, seqs), KM_AT_LEAST(1), .doc = "sequences"},
    {"seed", KM_SETTING_U64, offsetof(struct target, seed), .optional = true, .nullable = true,
     .doc = "seed"},
    {"rate", KM_SETTING_NUMBER, offsetof(struct target, rate), KM_ABOVE(0), .optional = true, .doc = "rate"},
    {"share", KM_SETTING_NUMBER, offsetof(struct target, share), KM_ABOVE_UP_TO(0, 1), .optional = true,
     .doc = "share"},
    {"name", KM_SETTING_STRING, offsetof(struct target, name), .optional = true, .nullable = true,
     .doc = "name"},
    {"policy", KM_SETTING_CHOICE, offsetof(struct target, policy), .registry = policies, .optional = true,
     .doc = "policy"},
    {"colour", KM_SETTING_ENUM, offsetof(struct target, colour), .names = colours, .optional = true,
     .doc = "colour"},
    {"inner", KM_SETTING_SECTION, offsetof(struct target, inner), .table = inner_table, .optional = true,
     .doc = "section"},
    {0},
};

static bool explain(const char *key, struct km_text *out)
{
    if (strcmp(key, "seqz") != 0)
        return false;
    km_text_puts(out, "another tongue's word for seqs");
    return true;
}

static enum km_status read_text(const char *text, enum km_settings_mode mode, struct target *target,
                                uint64_t *given, struct km_arena *arena, struct km_error *error)
{
    struct km_yaml *root;
    struct km_settings_context context = {.arena = arena, .folder = "", .explain_unknown = explain};
    enum km_status status = km_yaml_parse(text, strlen(text), "t.yaml", true, arena, &root, error);
    if (status != KM_OK)
        return status;
    return km_settings_read(root, table, mode, target, given, &context, error);
}

static void everything_is_read(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_error error;
    struct target t = {.rate = 3.0};
    uint64_t given;
    assert_int_equal(
        read_text("inner: {share: 0.25, depth: 10}\nflag: true\nseqs: 8_192\nseed: 18446744073709551615\n"
                  "share: 1\nname: \"7\"\npolicy: dynamic\ncolour: green\n",
                  KM_SETTINGS_WHOLE, &t, &given, &arena, &error),
        KM_OK);
    assert_true(t.flag);
    assert_int_equal(t.seqs, 8192);
    assert_true(t.seed == UINT64_MAX);
    assert_true(t.rate == 3.0); /* absent: the default stays */
    assert_true(t.share == 1.0);
    assert_string_equal(t.name, "7");
    assert_ptr_equal(t.policy, dynamic.name);
    assert_int_equal(t.colour, GREEN);
    assert_int_equal(t.inner.depth, 10);
    assert_true(given == 0x1f7);
    struct km_text json = {0};
    km_settings_write_json(table, &t, &json);
    assert_string_equal(km_text_c(&json),
                        "{\"flag\": true, \"seqs\": 8192, \"seed\": 18446744073709551615, \"rate\": 3, "
                        "\"share\": 1, \"name\": \"7\", \"policy\": \"dynamic\", \"colour\": \"green\", "
                        "\"inner\": {\"depth\": 10, \"share\": 0.25}}");
    km_text_release(&json);
    km_arena_release(&arena);
}

static void numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value; /* < 0: refused */
    } cases[] = {
        {"1", 1},        {"1e9", 1e9},  {"4.8e12", 4.8e12}, {".5", 0.5},   {"5.", 5},     {"+2.5E-3", 2.5e-3},
        {"1_000", 1000}, {"\"1\"", -1}, {".inf", -1},       {".nan", -1},  {"inf", -1},   {"nan", -1},
        {"0x10", -1},    {"1e", -1},    {"e5", -1},         {"1e999", -1}, {"-1", -1},    {"0", -1},
        {"1__0", -1},    {"_1", -1},    {"1_", -1},         {"1 2", -1},   {"1.5.2", -1}, {"[1]", -1},
        {"1e-400", -1},  {"4.8TB", -1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_error error;
        struct target t = {0};
        char text[64];
        snprintf(text, sizeof text, "rate: %s", cases[i].text);
        enum km_status status = read_text(text, KM_SETTINGS_PARTIAL, &t, NULL, &arena, &error);
        if (status != (cases[i].value < 0 ? KM_BAD_INPUT : KM_OK))
            fail_msg("%s: status %d", text, status);
        if (status == KM_OK)
            assert_true(t.rate == cases[i].value);
        km_arena_release(&arena);
    }
}

static void messages(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"seqs: 8k", "t.yaml:1:7: seqs: expected an integer ≥ 1, got \"8k\""},
        {"seqs: 0", "t.yaml:1:7: seqs: expected an integer ≥ 1, got \"0\""},
        {"seqs: -1", "t.yaml:1:7: seqs: expected an integer ≥ 1, got \"-1\""},
        {"seqs: 1.5", "t.yaml:1:7: seqs: expected an integer ≥ 1, got \"1.5\""},
        {"seqs: 010", "t.yaml:1:7: seqs: expected an integer ≥ 1, got \"010\""},
        {"seqs: 1e3", "t.yaml:1:7: seqs: expected an integer ≥ 1, got \"1e3\""},
        {"seqs: \"8\"", "t.yaml:1:7: seqs: expected an integer ≥ 1, got the text \"8\""},
        {"seqs: 4294967296", "t.yaml:1:7: seqs: expected an integer ≥ 1, got \"4294967296\" (too large)"},
        {"seqs: 99999999999999999999999",
         "t.yaml:1:7: seqs: expected an integer ≥ 1, got \"99999999999999999999999\" (too large)"},
        {"seqs:", "t.yaml:1:6: seqs: expected an integer ≥ 1, got nothing"},
        {"seqs: [1]", "t.yaml:1:7: seqs: expected an integer ≥ 1, got a list"},
        {"seqs: {a: 1}", "t.yaml:1:7: seqs: expected an integer ≥ 1, got a mapping"},
        {"sqes: 1", "t.yaml:1:1: sqes: unknown key; did you mean \"seqs\"?"},
        {"zzzzzz: 1", "t.yaml:1:1: zzzzzz: unknown key"},
        {"seqz: 1", "t.yaml:1:1: seqz: unknown key; another tongue's word for seqs"},
        {"flag: true", "t.yaml:1:1: seqs: missing"},
        {"seqs: 1\nflag: yes", "t.yaml:2:7: flag: expected true or false, got \"yes\""},
        {"seqs: 1\nflag: 1", "t.yaml:2:7: flag: expected true or false, got \"1\""},
        {"seqs: 1\nrate: 0", "t.yaml:2:7: rate: expected a number > 0, got \"0\""},
        {"seqs: 1\nshare: 1.5", "t.yaml:2:8: share: expected a number > 0 and ≤ 1, got \"1.5\""},
        {"seqs: 1\nname: \"\"", "t.yaml:2:7: name: expected text, got the text \"\""},
        {"seqs: 1\npolicy: dynamc", "t.yaml:2:9: policy: unknown name \"dynamc\"; did you mean \"dynamic\"?"},
        {"seqs: 1\npolicy: xyz", "t.yaml:2:9: policy: unknown name \"xyz\"; known: continuous, dynamic"},
        {"seqs: 1\npolicy: [a]", "t.yaml:2:9: policy: expected a name, got a list"},
        {"seqs: 1\ncolour: gren", "t.yaml:2:9: colour: unknown name \"gren\"; did you mean \"green\"?"},
        {"seqs: 1\ncolour: 1", "t.yaml:2:9: colour: unknown name \"1\"; known: red, green"},
        {"seqs: 1\ninner: 3", "t.yaml:2:8: inner: expected a mapping, got \"3\""},
        {"seqs: 1\ninner: {depth: 11, share: 0}",
         "t.yaml:2:16: inner.depth: expected an integer from 1 to 10, got \"11\""},
        {"seqs: 1\ninner: {depth: 1}", "t.yaml:2:8: inner.share: missing"},
        {"seqs: 1\ninner: {dept: 1}", "t.yaml:2:9: inner.dept: unknown key; did you mean \"depth\"?"},
        {"seqs: 1\ninner:", "t.yaml:2:7: inner.depth: missing"},
        {"[1]", "t.yaml:1:1: expected a mapping, got a list"},
        {"", "t.yaml:1:1: expected a mapping, got nothing"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_error error = {0};
        struct target t = {0};
        char line[1200];
        enum km_status status = read_text(cases[i].text, KM_SETTINGS_WHOLE, &t, NULL, &arena, &error);
        if (status != KM_BAD_INPUT)
            fail_msg("accepted: %s", cases[i].text);
        km_error_format(&error, line, sizeof line);
        assert_string_equal(line, cases[i].message);
        km_arena_release(&arena);
    }
}

static void null_is_zero_and_back(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_error error;
    struct target t = {.seed = 4, .name = "x", .policy = "dynamic"};
    assert_int_equal(read_text("seed: null\nname: ~\n", KM_SETTINGS_PARTIAL, &t, NULL, &arena, &error),
                     KM_OK);
    assert_true(t.seed == 0);
    assert_null(t.name);
    struct km_text json = {0};
    km_settings_write_json(table, &t, &json);
    assert_non_null(strstr(km_text_c(&json), "\"seed\": null"));
    assert_non_null(strstr(km_text_c(&json), "\"name\": null"));
    km_text_release(&json);
    km_arena_release(&arena);
}

/* What is written reads back as the same bits. */
static void numbers_round_trip(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252ULL;
    for (int i = 0; i < 20000; i++) {
        struct target t = {.seqs = 1, .share = 1, .policy = "dynamic", .inner = {.depth = 1}}, back = {0};
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        double value = (double)(x >> 11) * 0x1p-53;
        t.rate = value * (i % 2 ? 1e-12 : 1e15) + 1e-300;
        struct km_text json = {0};
        struct km_arena arena = {0};
        struct km_error error;
        km_settings_write_json(table, &t, &json);
        if (read_text(km_text_c(&json), KM_SETTINGS_WHOLE, &back, NULL, &arena, &error) != KM_OK)
            fail_msg("%s: %s", km_text_c(&json), error.message);
        assert_true(back.rate == t.rate);
        km_text_release(&json);
        km_arena_release(&arena);
    }
}

static void strings_are_quoted(void **state)
{
    (void)state;
    struct km_text out = {0};
    km_settings_write_string("a\"b\\c\nd\xc3\xa9", &out);
    assert_string_equal(km_text_c(&out), "\"a\\\"b\\\\c\\u000ad\xc3\xa9\"");
    km_text_release(&out);
}

static void tables_are_listed(void **state)
{
    (void)state;
    struct km_text out = {0};
    km_settings_list(table, "x", &out);
    assert_non_null(strstr(km_text_c(&out), "x.seqs  an integer ≥ 1  sequences\n"));
    assert_non_null(strstr(km_text_c(&out), "x.policy  one of continuous, dynamic  policy\n"));
    assert_non_null(strstr(km_text_c(&out), "x.inner.depth  an integer from 1 to 10  how deep\n"));
    km_text_release(&out);
}

static void distances(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        size_t distance;
    } cases[] = {
        {"", "", 0},
        {"abc", "", 3},
        {"", "abc", 3},
        {"abc", "abc", 0},
        {"abc", "acb", 1},
        {"kitten", "sitting", 3},
        {"max_num_sqs", "max_num_seqs", 1},
        {"ca", "abc", 3},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(km_edit_distance(cases[i].a, cases[i].b), cases[i].distance);
    assert_true(km_edit_distance(
                    "a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") ==
                SIZE_MAX);
    assert_string_equal(km_suggest_registry("dynmic", policies), "dynamic");
    assert_null(km_suggest_registry("roofline", policies));
    assert_null(km_suggest_registry("", policies));
    assert_string_equal(km_suggest_registry("dyn", policies), "dynamic");
    assert_null(km_suggest_registry("dy", policies));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_read), cmocka_unit_test(numbers),
        cmocka_unit_test(messages),           cmocka_unit_test(null_is_zero_and_back),
        cmocka_unit_test(numbers_round_trip), cmocka_unit_test(strings_are_quoted),
        cmocka_unit_test(tables_are_listed),  cmocka_unit_test(distances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
