#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *formatted(const struct km_error *error)
{
    static char text[1200];
    km_error_format(error, text, sizeof text);
    return text;
}

static void test_refused_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "f:1:1: empty: expected a JSON value"},
        {" \n ", "f:2:2: empty: expected a JSON value"},
        {"{\"a\": 1", "f:1:8: the text ends here, in the middle of a value"},
        {"[1, 2", "f:1:6: the text ends here, in the middle of a value"},
        {"\"abc", "f:1:5: the text ends here, in the middle of a value"},
        {"{} {}", "f:1:4: text after the end of the JSON value"},
        {"[1,]", "f:1:4: expected a value"},
        {"{\"a\": 1,}", "f:1:9: expected a key in double quotes"},
        {"{'a': 1}", "f:1:2: expected a key in double quotes"},
        {"{\"a\" 1}", "f:1:6: expected ':' after a key"},
        {"{\"a\": 1 \"b\": 2}", "f:1:9: expected ',' or '}'"},
        {"[1 2]", "f:1:4: expected ',' or ']'"},
        {"{\n  \"a\": tru\n}", "f:2:8: expected a value"},
        {"[NaN]", "f:1:2: expected a value"},
        {"[Infinity]", "f:1:2: expected a value"},
        {"[01]", "f:1:3: expected ',' or ']'"},
        {"[1.]", "f:1:4: expected a digit"},
        {"[-]", "f:1:3: expected a digit"},
        {"[1e]", "f:1:4: expected a digit"},
        {"[+1]", "f:1:2: expected a value"},
        {"[1e999]", "f:1:2: [0]: number out of range"},
        {"{\"x\": {\"y\": [0, -1e400]}}", "f:1:17: x.y[1]: number out of range"},
        {"[\"a\tb\"]", "f:1:4: control character in a string (a missing quote?)"},
        {"[\"\\x\"]", "f:1:4: unknown escape in a string"},
        {"[\"\\u12g4\"]", "f:1:7: expected four hexadecimal digits after \\u"},
        {"[\"\\u0000\"]", "f:1:5: \\u0000 is not accepted in a string"},
        {"[\"\xff\"]", "f:1:3: invalid UTF-8 in a string"},
        {"[\"\xc0\xaf\"]", "f:1:3: invalid UTF-8 in a string"},
        {"[\"\xed\xa0\x80\"]", "f:1:3: invalid UTF-8 in a string"},
        {"{\"a\": 1, \"b\": {\"c\": 2,\n \"c\": 3}}", "f:2:7: b.c: the key appears twice"},
        {"[1111111111111111111111111111111111111111111111111111111111111111]",
         "f:1:2: number longer than 63 characters"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct km_json json;
        struct km_error error = {0};
        assert_int_equal(km_json_parse(cases[i].text, strlen(cases[i].text), "f", &json, &error),
                         KM_BAD_INPUT);
        assert_string_equal(formatted(&error), cases[i].message);
        assert_null(json.root);
    }
}

static void test_unpaired_surrogate(void **state)
{
    (void)state;
    struct km_json json;
    struct km_error error = {0};
    const char *text = "[\"\\ud800\"]";
    assert_int_equal(km_json_parse(text, strlen(text), "f", &json, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "cannot be read as JSON");
}

static void test_depth(void **state)
{
    (void)state;
    for (int extra = 0; extra <= 1; extra++) {
        char text[2 * KM_JSON_DEPTH + 4] = "";
        size_t depth = (size_t)KM_JSON_DEPTH + (size_t)extra;
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        struct km_json json;
        struct km_error error = {0};
        enum km_status status = km_json_parse(text, 2 * depth, NULL, &json, &error);
        assert_int_equal(status, extra ? KM_BAD_INPUT : KM_OK);
        if (extra)
            assert_string_equal(formatted(&error), "nested too deeply");
        km_json_release(&json);
    }
}

static const char sample[] = "\xef\xbb\xbf{\n"
                             "  \"name\": \"caf\xc3\xa9 \\u00e9\", \"count\": 32,\n"
                             "  \"big\": 9007199254740992, \"ratio\": 0.5, \"on\": true, \"off\": false,\n"
                             "  \"none\": null, \"list\": [1, \"two\", {\"deep\": [true]}],\n"
                             "  \"object\": {\"text\": \"32\"}\n"
                             "}\n";

static void open_sample(struct km_json *json)
{
    struct km_error error = {0};
    assert_int_equal(km_json_parse(sample, strlen(sample), "s.json", json, &error), KM_OK);
}

static void test_getters(void **state)
{
    (void)state;
    struct km_json json;
    open_sample(&json);
    const cJSON *root = json.root;
    struct km_error error = {0};
    int64_t integer = 0;
    uint32_t u32 = 0;
    double number = 0;
    bool on = false, off = true;
    const char *text = NULL;
    const cJSON *node = NULL;
    assert_int_equal(
        km_json_integer(&json, root, "big", KM_JSON_REQUIRED, 0, INT64_C(1) << 53, &integer, &error), 0);
    assert_true(integer == INT64_C(9007199254740992));
    assert_int_equal(km_json_u32(&json, root, "count", KM_JSON_REQUIRED, 1, 64, &u32, &error), 0);
    assert_int_equal(u32, 32);
    assert_int_equal(km_json_number(&json, root, "ratio", KM_JSON_REQUIRED, 0, 1, &number, &error), 0);
    assert_true(number == 0.5);
    assert_int_equal(km_json_bool(&json, root, "on", KM_JSON_REQUIRED, &on, &error), 0);
    assert_int_equal(km_json_bool(&json, root, "off", KM_JSON_REQUIRED, &off, &error), 0);
    assert_true(on && !off);
    assert_int_equal(km_json_string(&json, root, "name", KM_JSON_REQUIRED, &text, &error), 0);
    assert_string_equal(text, "caf\xc3\xa9 \xc3\xa9");
    assert_int_equal(km_json_array(&json, root, "list", KM_JSON_REQUIRED, &node, &error), 0);
    assert_int_equal(cJSON_GetArraySize(node), 3);
    assert_int_equal(km_json_object(&json, root, "object", KM_JSON_REQUIRED, &node, &error), 0);
    assert_non_null(km_json_get(node, "text"));
    /* absent and null are the same, and leave the default */
    u32 = 7;
    assert_int_equal(km_json_u32(&json, root, "none", KM_JSON_OPTIONAL, 1, 64, &u32, &error), 0);
    assert_int_equal(km_json_u32(&json, root, "nowhere", KM_JSON_OPTIONAL, 1, 64, &u32, &error), 0);
    assert_int_equal(u32, 7);
    assert_null(km_json_get(json.root, "none"));
    assert_null(km_json_get(NULL, "none"));
    km_json_release(&json);
}

static void test_getter_errors(void **state)
{
    (void)state;
    struct km_json json;
    open_sample(&json);
    const cJSON *root = json.root, *object = km_json_get(root, "object"), *node = NULL;
    const cJSON *list = km_json_get(root, "list");
    struct km_error error = {0};
    uint32_t u32 = 0;
    int64_t integer = 0;
    double number = 0;
    bool flag = false;
    const char *text = NULL;
#define REFUSED(call, text_expected)                                                                         \
    do {                                                                                                     \
        assert_int_equal(call, KM_BAD_INPUT);                                                                \
        assert_string_equal(formatted(&error), text_expected);                                               \
    } while (0)
    REFUSED(km_json_u32(&json, object, "text", KM_JSON_OPTIONAL, 1, 64, &u32, &error),
            "s.json:5:22: object.text: expected an integer from 1 to 64, got \"32\"");
    REFUSED(km_json_u32(&json, root, "count", KM_JSON_OPTIONAL, 33, 64, &u32, &error),
            "s.json:2:35: count: expected an integer from 33 to 64, got 32");
    REFUSED(km_json_u32(&json, root, "ratio", KM_JSON_OPTIONAL, 0, 64, &u32, &error),
            "s.json:3:37: ratio: expected an integer from 0 to 64, got 0.5");
    REFUSED(km_json_number(&json, root, "ratio", KM_JSON_OPTIONAL, 1, 2, &number, &error),
            "s.json:3:37: ratio: expected a number from 1 to 2, got 0.5");
    REFUSED(km_json_bool(&json, root, "count", KM_JSON_OPTIONAL, &flag, &error),
            "s.json:2:35: count: expected true or false, got 32");
    REFUSED(km_json_string(&json, root, "list", KM_JSON_OPTIONAL, &text, &error),
            "s.json:4:25: list: expected a string, got an array");
    REFUSED(km_json_array(&json, root, "object", KM_JSON_OPTIONAL, &node, &error),
            "s.json:5:13: object: expected an array, got an object");
    REFUSED(km_json_object(&json, root, "on", KM_JSON_OPTIONAL, &node, &error),
            "s.json:3:48: on: expected an object, got true");
    REFUSED(km_json_u32(&json, root, "nowhere", KM_JSON_REQUIRED, 1, 64, &u32, &error),
            "s.json:1:1: nowhere: missing");
    REFUSED(km_json_u32(&json, object, "nowhere", KM_JSON_REQUIRED, 1, 64, &u32, &error),
            "s.json:5:13: object.nowhere: missing");
    REFUSED(km_json_value_integer(&json, list->child->next, 0, 9, &integer, &error),
            "s.json:4:29: list[1]: expected an integer from 0 to 9, got \"two\"");
    REFUSED(km_json_fail(&json, km_json_get(list->child->next->next, "deep")->child, &error, "no %s", "good"),
            "s.json:4:46: list[2].deep[0]: no good");
    const char *const keys[] = {"name", "count", "big", "ratio", "on", "off", "none", "list", NULL};
    REFUSED(km_json_known_keys(&json, root, keys, &error), "s.json:5:13: object: unknown key");
#undef REFUSED
    km_json_release(&json);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct km_json json;
    struct km_error error = {0};
    assert_int_equal(km_json_read(KM_SOURCE_DIR "/nowhere.json", &json, &error), KM_BAD_INPUT);
    assert_non_null(strstr(error.message, "cannot open"));
    assert_int_equal(error.line, 0);
}

/* Every value's reported place must hold that value: write a random document and look there. */
static size_t write_random(char *out, size_t room, unsigned *seed, int depth)
{
    *seed = *seed * 1103515245u + 12345u;
    unsigned pick = (*seed >> 16) % 6, count = (*seed >> 20) % 4;
    size_t n = 0;
    if (pick >= 3 || depth == 0 || room < 4000)
        return (size_t)snprintf(out, room, pick % 2 ? "%u" : "\"\xc3\xa9%u\"", *seed >> 8);
    n += (size_t)snprintf(out, room, pick == 0 ? "[ " : "{\n");
    for (unsigned i = 0; i < count; i++) {
        if (pick != 0)
            n += (size_t)snprintf(out + n, room - n, "\"k\\u0041%u\": ", i);
        n += write_random(out + n, room - n, seed, depth - 1);
        n += (size_t)snprintf(out + n, room - n, i + 1 < count ? ",\n" : " ");
    }
    return n + (size_t)snprintf(out + n, room - n, pick == 0 ? "]" : "}");
}

static void check_places(const struct km_json *json, const cJSON *value)
{
    int line, column;
    km_json_position(json, value, &line, &column);
    const char *at = json->text;
    for (int i = 1; i < line; i++)
        at = strchr(at, '\n') + 1;
    for (int i = 1; i < column; at++)
        i += (at[1] & 0xc0) != 0x80;
    if (cJSON_IsNumber(value))
        assert_true(strtod(at, NULL) == value->valuedouble);
    else if (cJSON_IsString(value))
        assert_memory_equal(at + 1, value->valuestring, strlen(value->valuestring));
    else
        assert_int_equal(*at, cJSON_IsArray(value) ? '[' : '{');
    const cJSON *child;
    cJSON_ArrayForEach(child, value) check_places(json, child);
}

static void test_random_positions(void **state)
{
    (void)state;
    static char text[1 << 16];
    for (unsigned round = 1; round <= 300; round++) {
        unsigned seed = round * 2654435761u;
        size_t length = write_random(text, sizeof text, &seed, 5);
        struct km_json json;
        struct km_error error = {0};
        assert_int_equal(km_json_parse(text, length, "r", &json, &error), KM_OK);
        check_places(&json, json.root);
        km_json_release(&json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_texts),
        cmocka_unit_test(test_unpaired_surrogate),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_getters),
        cmocka_unit_test(test_getter_errors),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_random_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
