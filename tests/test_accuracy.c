/* Points, rows and the closest row. Quantiles of the points that ship are computed here once more, from the
 * file's text and by the definition. */
#include "accuracy/accuracy.h"

#include "base/outfile.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define POINTS KM_SOURCE_DIR "/configs/accuracy/points.csv"

/* --- the points that ship ------------------------------------------------------------------------------- */

struct line {
    char text[4096];
    char *cells[32];
    double ratio;
    bool counts;
};

struct lines {
    struct line *items;
    size_t count;
    uint32_t dims[KM_ACCURACY_DIMS];
};

static uint32_t column_of(const struct line *header, const char *name)
{
    for (uint32_t i = 0; header->cells[i]; i++)
        if (strcmp(header->cells[i], name) == 0)
            return i;
    fail_msg("no column %s", name);
    return 0;
}

static void cut(struct line *line)
{
    uint32_t count = 0;
    line->text[strcspn(line->text, "\r\n")] = '\0';
    for (char *at = line->text; at; count++) {
        char *comma = strchr(at, ',');
        line->cells[count] = at;
        if (comma)
            *comma++ = '\0';
        at = comma;
    }
    line->cells[count] = NULL;
}

static struct lines read_lines(void)
{
    struct lines lines = {0};
    FILE *file = fopen(POINTS, "r");
    struct line header;
    assert_non_null(file);
    assert_non_null(fgets(header.text, sizeof header.text, file));
    cut(&header);
    for (int dim = 0; dim < KM_ACCURACY_DIMS; dim++)
        lines.dims[dim] = column_of(&header, km_accuracy_dim_name((enum km_accuracy_dim)dim));
    const uint32_t measured = column_of(&header, "measured"), predicted = column_of(&header, "predicted");
    const uint32_t left_out = column_of(&header, "left_out");
    lines.items = calloc(20000, sizeof *lines.items);
    assert_non_null(lines.items);
    while (lines.count < 20000 && fgets(lines.items[lines.count].text, sizeof header.text, file)) {
        struct line *line = &lines.items[lines.count++];
        cut(line);
        line->ratio = strtod(line->cells[predicted], NULL) / strtod(line->cells[measured], NULL);
        line->counts = line->cells[left_out][0] == '\0';
    }
    fclose(file);
    for (size_t i = 0; i < lines.count; i++) /* cells point into their own line: it has not moved since */
        assert_true(lines.items[i].cells[0] == lines.items[i].text);
    return lines;
}

/* The value below which a share of the sample lies: n values span n - 1 intervals. */
static double quantile_of(double *values, size_t count, double share)
{
    for (size_t i = 1; i < count; i++) /* insertion sort */
        for (size_t j = i; j > 0 && values[j] < values[j - 1]; j--) {
            double swap = values[j];
            values[j] = values[j - 1];
            values[j - 1] = swap;
        }
    double place = share * (double)(count - 1);
    size_t below = (size_t)place;
    if (below + 1 >= count)
        return values[count - 1];
    return values[below] * (1.0 - (place - (double)below)) + values[below + 1] * (place - (double)below);
}

static void check_rows(const struct lines *lines, const struct km_accuracy *accuracy, const char *dims)
{
    bool by[KM_ACCURACY_DIMS] = {false};
    struct km_arena arena = {0};
    struct km_accuracy_row *rows;
    double *ratios = calloc(lines->count + 1, sizeof *ratios);
    size_t in_rows = 0, counting = 0;
    for (int dim = 0; dim < KM_ACCURACY_DIMS; dim++)
        by[dim] = strstr(dims, km_accuracy_dim_name((enum km_accuracy_dim)dim)) != NULL;
    const size_t count = km_accuracy_rows(accuracy, by, &arena, &rows);
    assert_true(count > 0);
    for (size_t r = 0; r < count; r++) {
        size_t n = 0;
        for (size_t i = 0; i < lines->count; i++) {
            bool same = lines->items[i].counts;
            for (int dim = 0; dim < KM_ACCURACY_DIMS; dim++)
                same &= !by[dim] || strcmp(rows[r].key.of[dim], lines->items[i].cells[lines->dims[dim]]) == 0;
            if (same)
                ratios[n++] = lines->items[i].ratio;
        }
        assert_int_equal(rows[r].points, n);
        assert_true(fabs(rows[r].median / quantile_of(ratios, n, 0.5) - 1.0) < 1e-12);
        assert_true(fabs(rows[r].p10 / quantile_of(ratios, n, 0.1) - 1.0) < 1e-12);
        assert_true(fabs(rows[r].p90 / quantile_of(ratios, n, 0.9) - 1.0) < 1e-12);
        in_rows += n;
    }
    for (size_t i = 0; i < lines->count; i++)
        counting += lines->items[i].counts;
    assert_int_equal(in_rows, counting); /* every point is in one row */
    free(ratios);
    km_arena_release(&arena);
}

static void test_shipped_rows(void **state)
{
    (void)state;
    struct lines lines = read_lines();
    struct km_accuracy accuracy;
    struct km_error error = {0};
    assert_int_equal(km_accuracy_read(POINTS, &accuracy, &error), KM_OK);
    assert_int_equal(accuracy.count, lines.count);
    check_rows(&lines, &accuracy, "device,engine,format,kind,cost,metric");
    check_rows(&lines, &accuracy, "device,format,kind,cost,metric");
    check_rows(&lines, &accuracy, "device,cost,metric");
    check_rows(&lines, &accuracy, "cost,metric");
    free(lines.items);
    km_accuracy_release(&accuracy);
}

/* --- small files ---------------------------------------------------------------------------------------- */

#define HEADER "config,device,engine,format,kind,cost,profile,metric,measured,predicted,left_out,source\n"

static enum km_status read_text(const char *text, struct km_accuracy *out, struct km_error *error)
{
    char path[] = "/tmp/kingman-accuracy-XXXXXX";
    struct km_text written = {0};
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    km_text_puts(&written, text);
    assert_int_equal(km_file_write(path, &written, error), KM_OK);
    km_text_release(&written);
    enum km_status status = km_accuracy_read(path, out, error);
    unlink(path);
    return status;
}

/* `count` points of ratios 1/100, 2/100, ... of `from`. */
static void put_points(struct km_text *text, const char *key, uint32_t count, double first)
{
    for (uint32_t i = 0; i < count; i++)
        km_text_printf(text, "c%u,%s,throughput,100,%g,,here\n", i, key, 100.0 * (first + 0.01 * i));
}

static void test_closest(void **state)
{
    (void)state;
    struct km_text text = {0};
    struct km_accuracy accuracy;
    struct km_error error = {0};
    km_text_puts(&text, HEADER);
    put_points(&text, "a,vllm,bf16,dense,profile,p", 9, 1.0);   /* 1.00 ... 1.08 */
    put_points(&text, "a,vllm,fp8,dense,profile,p", 7, 2.0);    /* too few alone */
    put_points(&text, "a,sglang,fp8,dense,profile,q", 3, 2.07); /* with them ten */
    put_points(&text, "a,sglang,int4,dense,profile,p", 4, 3.0); /* four */
    put_points(&text, "a,sglang,int4,moe,profile,p", 5, 3.04);  /* nine of int4 */
    put_points(&text, "b,vllm,bf16,dense,profile,p", 7, 5.0);
    put_points(&text, "b,vllm,bf16,dense,roofline,", 3, 6.0);
    km_text_puts(&text, "f,a,vllm,bf16,dense,profile,p,throughput,100,900,fitted,here\n"
                        "f,a,vllm,bf16,dense,profile,p,throughput,100,,not predicted: why,here\n");
    assert_int_equal(read_text(km_text_c(&text), &accuracy, &error), KM_OK);
    km_text_release(&text);
    assert_int_equal(accuracy.count, 40);
    static const struct {
        const char *device, *engine, *format, *kind, *cost, *metric;
        enum km_accuracy_level level;
        uint32_t points;
        double median, p10, p90;
        const char *words;
    } cases[] = {
        {"a", "vllm-0.26", "bf16", "dense", "profile", "throughput", KM_ACCURACY_SAME, 9, 1.04, 1.008, 1.072,
         "validated: 9 points of a, vllm, bf16, dense, profile p"},
        {"a", "vllm", "fp8", "dense", "profile", "throughput", KM_ACCURACY_ANY_ENGINE, 10, 2.045, 2.009,
         2.081, "not validated on a, vllm, fp8, dense; closest: 10 points of a, fp8, dense"},
        {"a", "vllm", "int4", "mla", "profile", "throughput", KM_ACCURACY_ANY_KIND, 9, 3.04, 3.008, 3.072,
         "not validated on a, vllm, int4, mla; closest: 9 points of a, int4, profile p"},
        {"a", "vllm", "nvfp4", "dense", "profile", "throughput", KM_ACCURACY_ANY_FORMAT, 28, NAN, NAN, NAN,
         "not validated on a, vllm, nvfp4, dense; closest: 28 points of a"},
        {"b", "vllm", "bf16", "dense", "profile", "throughput", KM_ACCURACY_ANY_DEVICE, 35, NAN, NAN, NAN,
         "not validated on b; closest: 35 points of all devices"},
        {"c", "vllm", "bf16", "dense", "profile", "throughput", KM_ACCURACY_ANY_DEVICE, 35, NAN, NAN, NAN,
         "not validated on c; closest: 35 points of all devices"},
        {"a", "vllm", "bf16", "dense", "roofline", "throughput", KM_ACCURACY_NONE, 0, NAN, NAN, NAN,
         "not validated on a: no measurements for cost model roofline"},
        {"a", "vllm", "bf16", "dense", "profile", "tpot", KM_ACCURACY_NONE, 0, NAN, NAN, NAN,
         "not validated on a: no measurements for cost model profile"},
    };
    struct km_accuracy_answer before = {0};
    struct km_arena arena = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct km_accuracy_key asked = {{cases[i].device, cases[i].engine, cases[i].format,
                                               cases[i].kind, cases[i].cost, cases[i].metric}};
        struct km_accuracy_answer answer;
        struct km_text words = {0};
        km_accuracy_closest(&accuracy, &asked, &arena, &answer);
        km_accuracy_describe(&answer, &words);
        if (answer.level != cases[i].level || answer.row.points != cases[i].points ||
            strcmp(km_text_c(&words), cases[i].words) != 0)
            fail_msg("case %zu: level %d, %s", i, (int)answer.level, km_text_c(&words));
        if (!isnan(cases[i].median)) {
            assert_true(fabs(answer.row.median - cases[i].median) < 1e-9);
            assert_true(fabs(answer.row.p10 - cases[i].p10) < 1e-9);
            assert_true(fabs(answer.row.p90 - cases[i].p90) < 1e-9);
        }
        /* 4 and 5 differ in the device asked for, and share a row; 6 and 7 share that there is none. */
        assert_true(km_accuracy_same_row(&answer, &answer));
        if (i > 0)
            assert_int_equal(km_accuracy_same_row(&answer, &before), i == 5 || i == 7);
        before = answer;
        km_text_release(&words);
    }
    km_arena_release(&arena);
    km_accuracy_release(&accuracy);
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        int line, column;
    } cases[] = {
        {"", "no header", 1, 0},
        {"config,device\n", "no column \"engine\"", 1, 0},
        {HEADER "c,a,vllm,bf16,dense,profile,p,speed,1,1,,s\n", "unknown metric \"speed\"", 2, 31},
        {HEADER "c,,vllm,bf16,dense,profile,p,tpot,1,1,,s\n", "no device", 2, 3},
        {HEADER "c,a,vllm,bf16,dense,profile,p,tpot,0,1,,s\n", "expected a number from 1e-12", 2, 36},
        {HEADER "c,a,vllm,bf16,dense,profile,p,tpot,1,nan,,s\n", "expected a number, got \"nan\"", 2, 38},
        {HEADER "c,a,vllm,bf16,dense,profile,p,tpot,1,,,s\n", "neither a prediction nor a reason", 2, 38},
        {HEADER "c,a,vllm\n", "3 cells under a header of 12", 2, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_accuracy accuracy;
        struct km_error error = {0};
        assert_int_equal(read_text(cases[i].text, &accuracy, &error), KM_BAD_INPUT);
        if (!strstr(error.message, cases[i].message) || error.line != cases[i].line ||
            error.column != cases[i].column)
            fail_msg("case %zu: %d:%d: %s", i, error.line, error.column, error.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped_rows),
        cmocka_unit_test(test_closest),
        cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
