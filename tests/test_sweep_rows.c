/* Rows of a sweep, written and read back. */
#include "sweep/rows.h"

#include "base/fingerprint.h"
#include "base/settings.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const names[] = {"run", "a.b", "reason, if any", "sweep"};
static const struct km_rows csv = {KM_ROWS_CSV, names, 4, "00ff"}, jsonl = {KM_ROWS_JSONL, names, 4, "00ff"};

static void test_lines(void **state)
{
    (void)state;
    static const struct {
        const char *cells[4], *csv, *jsonl;
    } table[] = {
        {{"0", "1.5", "null", "\"00ff\""},
         "0,1.5,,00ff,55d4fb5431d4d1a5\n",
         "{\"run\": 0, \"a.b\": 1.5, \"reason, if any\": null, \"sweep\": \"00ff\""
         ", \"check\": \"cdbf8461a390d7e4\"}\n"},
        {{"17", "\"x,y\"", "\"say \\\"no\\\"\"", "\"00ff\""},
         "17,\"x,y\",\"say \"\"no\"\"\",00ff,604a43bcc12f4b5e\n",
         "{\"run\": 17, \"a.b\": \"x,y\", \"reason, if any\": \"say \\\"no\\\"\", \"sweep\": \"00ff\""
         ", \"check\": \"08f572d0112a8c86\"}\n"},
        {{"3", "[1, 2]", "\"two\\nlines\"", "\"00ff\""},
         "3,\"[1, 2]\",two lines,00ff,e54a7265c1fba318\n",
         "{\"run\": 3, \"a.b\": [1, 2], \"reason, if any\": \"two\\nlines\", \"sweep\": \"00ff\""
         ", \"check\": \"1e9dc4c444e46680\"}\n"},
    };
    struct km_text text = {0};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        km_text_reset(&text);
        km_rows_write(&csv, table[i].cells, &text);
        assert_string_equal(km_text_c(&text), table[i].csv);
        km_text_reset(&text);
        km_rows_write(&jsonl, table[i].cells, &text);
        assert_string_equal(km_text_c(&text), table[i].jsonl);
    }
    km_text_reset(&text);
    km_rows_write_header(&csv, &text);
    assert_string_equal(km_text_c(&text), "run,a.b,\"reason, if any\",sweep,check\n");
    km_text_reset(&text);
    km_rows_write_header(&jsonl, &text);
    assert_string_equal(km_text_c(&text), "");
    km_text_release(&text);
}

static void test_values_of_axes(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *json;
    } table[] = {
        {"32", "32"},
        {"-1.5e3", "-1.5e3"},
        {"true", "true"},
        {"null", "null"},
        {"[1, 2]", "[1, 2]"},
        {"\"8\"", "\"8\""},
        {"h200-sxm", "\"h200-sxm\""},
        {"8_192", "\"8_192\""},
        {"{process: poisson}", "\"{process: poisson}\""},
        {"", "\"\""},
        {"1 2", "\"1 2\""},
    };
    struct km_arena arena = {0};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_string_equal(km_rows_value(table[i].yaml, &arena), table[i].json);
    km_arena_release(&arena);
}

/* Random texts come back, whatever is in them; cut short, a line is never a row. */
static void test_rows_come_back(void **state)
{
    (void)state;
    static const char letters[] = "ab1,\"'[]{}: \\;#.-";
    srand(7);
    for (int round = 0; round < 400; round++) {
        const struct km_rows *rows = round % 2 ? &csv : &jsonl;
        struct km_arena arena = {0};
        struct km_text line = {0}, quoted[2] = {{0}, {0}};
        char texts[2][20];
        for (int k = 0; k < 2; k++) {
            int length = rand() % 12;
            for (int i = 0; i < length; i++)
                texts[k][i] = letters[(size_t)rand() % (sizeof letters - 1)];
            texts[k][length] = '\0';
            km_settings_write_string(texts[k], &quoted[k]);
        }
        char number[24];
        snprintf(number, sizeof number, "%d", round);
        const char *cells[] = {number, km_text_c(&quoted[0]), km_text_c(&quoted[1]), "\"00ff\""}, *back[4];
        km_rows_write(rows, cells, &line);
        assert_true(km_rows_read(rows, line.bytes, line.length, &arena, back));
        assert_int_equal(km_rows_run(back), round);
        assert_string_equal(back[1], texts[0]);
        assert_string_equal(back[2], texts[1]);
        assert_string_equal(back[3], "00ff");
        for (size_t cut = 0; cut < line.length; cut++)
            assert_false(km_rows_read(rows, line.bytes, cut, &arena, back));
        for (size_t i = 0; i + 1 < line.length; i++) {
            line.bytes[i] ^= 1; /* a digit for another, for one */
            assert_false(km_rows_read(rows, line.bytes, line.length, &arena, back));
            line.bytes[i] ^= 1;
        }
        km_text_release(&line);
        km_text_release(&quoted[0]);
        km_text_release(&quoted[1]);
        km_arena_release(&arena);
    }
}

/* The line with its check behind it, as a row ends: what is wrong with it is then something else. */
static void seal(const char *line, bool json, struct km_text *out)
{
    size_t length = strlen(line) - 1; /* without \n; of an object, without its brace */
    length -= json && length > 0 && line[length - 1] == '}';
    const uint64_t check = km_fingerprint_add(KM_FINGERPRINT_START, line, length);
    km_text_reset(out);
    km_text_append(out, line, length);
    km_text_printf(out, json ? ", \"check\": \"%016" PRIx64 "\"}\n" : ",%016" PRIx64 "\n", check);
}

static void test_what_is_no_row(void **state)
{
    (void)state;
    static const char *const table[] = {
        "\n",
        "0,1,2\n",
        "0,1,2,00ff,5\n",
        "0,\"1,2,00ff\n",
        "0,\"1\"x,2,00ff\n",
        "{}\n",
        "[0, 1, \"00ff\"]\n",
        "{\"run\": 0}\n",
        "{\"run\": 0, \"reason, if any\": 1, \"a.b\": 1, \"sweep\": \"00ff\"}\n",
        "{\"run\": 0, \"a.b\": 1, \"reason, if any\": 1, \"sweep\": \"00ff\", \"more\": 1}\n",
        "{\"run\": 0, \"a.b\": 1, \"reason, if any\": 1, \"sweep\": \"00ff\"",
    };
    struct km_arena arena = {0};
    struct km_text text = {0};
    const char *cells[4];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_false(km_rows_read(&csv, table[i], strlen(table[i]), &arena, cells));
        assert_false(km_rows_read(&jsonl, table[i], strlen(table[i]), &arena, cells));
        seal(table[i], false, &text);
        assert_false(km_rows_read(&csv, text.bytes, text.length, &arena, cells));
        seal(table[i], true, &text);
        assert_false(km_rows_read(&jsonl, text.bytes, text.length, &arena, cells));
    }
    seal("0,1,2,00ff\n", false, &text);
    assert_true(km_rows_read(&csv, text.bytes, text.length, &arena, cells));
    km_text_release(&text);
    assert_false(km_rows_read(&csv, "0,1\0,2,00ff\n", 12, &arena, cells));
    static const char *const numbers[] = {"", "x", "-1", "1x", "1.0", "99999999999999999999"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_true(km_rows_run(&numbers[i]) == UINT64_MAX);
    km_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_values_of_axes),
        cmocka_unit_test(test_rows_come_back),
        cmocka_unit_test(test_what_is_no_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
