#include "calibration/compact.h"
#include "calibration/import.h"

#include "base/file.h"
#include "cost/profile_roofline.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define DATA     KM_SOURCE_DIR "/tests/data/profiles/"

static void must(enum km_status status, const struct km_error *error)
{
    char line[1200];
    if (status == KM_OK)
        return;
    km_error_format(error, line, sizeof line);
    fail_msg("%s", line);
}

struct world {
    struct km_arena arena;
    struct km_device device;
    struct km_model model;
};

static int open_world(void **state)
{
    struct world *w = km_alloc(sizeof *w);
    struct km_error error;
    must(km_device_read(KM_SOURCE_DIR "/configs/devices/rtx-4090.yaml", &w->arena, &w->device, &error),
         &error);
    must(km_model_read(KM_SOURCE_DIR "/models/llama-3.1-8b.json", &w->arena, &w->model, &error), &error);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    km_arena_release(&w->arena);
    free(w);
    return 0;
}

static enum km_status import(const struct world *w, const char *kind, const char *source, size_t limit_bytes,
                             struct km_profile *out, struct km_error *error)
{
    const struct km_importer *importer =
        (const struct km_importer *)(const void *)km_registry_find(km_import_registry, kind);
    const struct km_import_config config = {
        .source = source, .device = &w->device, .model = &w->model, .tensor_parallel = 1};
    struct km_text json = {0};
    assert_non_null(importer);
    enum km_status status = km_import(importer, &config, limit_bytes, &json, error);
    if (status == KM_OK)
        must(km_profile_parse(km_text_c(&json), json.length, NULL, out, error), error);
    km_text_release(&json);
    return status;
}

/* The row with these dims, or NULL. */
static const struct km_profile_row *find(const struct km_profile *profile, enum km_profile_class class,
                                         const double *dims)
{
    const struct km_profile_table *table = &profile->tables[class];
    for (size_t i = 0; i < table->count; i++)
        if (memcmp(table->rows[i].dims, dims, sizeof table->rows[i].dims) == 0)
            return &table->rows[i];
    return NULL;
}

static void assert_row(const struct km_profile *profile, enum km_profile_class class, const double *dims,
                       double us)
{
    const struct km_profile_row *row = find(profile, class, dims);
    assert_non_null(row);
    if (fabs(row->us - us) > 5e-4 * us)
        fail_msg("%s: %g us, expected %g", km_profile_schemas[class].name, row->us, us);
}

#define AT(...) ((const double[KM_PROFILE_DIMS]){__VA_ARGS__})

static void llmservingsim(void **state)
{
    struct km_profile p;
    struct km_error error;
    double value;
    must(import(*state, "llmservingsim", DATA "llmservingsim", 0, &p, &error), &error);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 6144, 4096, 16), 55);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 4096, 4096, 16), 38);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 28672, 4096, 16), 247);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 4096, 14336, 16), 127);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 128256, 4096, 8), 1100);
    assert_int_equal(p.tables[KM_PROFILE_GEMM].count, 5);
    assert_row(&p, KM_PROFILE_STREAM, AT(0, 32768, 16), 1.9); /* norm */
    assert_row(&p, KM_PROFILE_STREAM, AT(1, 86016, 16), 2.6); /* activation */
    assert_row(&p, KM_PROFILE_STREAM, AT(2, 20480, 16), 2.2); /* rope */
    assert_row(&p, KM_PROFILE_STREAM, AT(4, 16384, 16), 2.8); /* embed */
    assert_row(&p, KM_PROFILE_STREAM, AT(5, 513024, 8), 30);  /* sample */
    assert_int_equal(p.tables[KM_PROFILE_STREAM].count, 5);   /* the final norm is one more norm */
    assert_row(&p, KM_PROFILE_PREFILL, AT(128, KM_BF16, 32, 8, 0, 1, 64, 256), 40);
    assert_row(&p, KM_PROFILE_DECODE, AT(128, KM_BF16, 32, 8, 0, 16, 1024), 99);
    assert_row(&p, KM_PROFILE_MIXED, AT(128, KM_BF16, 32, 8, 256, 0, 16, 1024), 130);
    assert_true(km_profile_scalar(&p, "attention_writes_kv", &value) && value == 1.0);
    /* the even batch of skew.csv agrees with attention.csv: its ratios count, averaged over the past */
    assert_row(&p, KM_PROFILE_SKEW, AT(0, 16, 200, 1024), 1.2);
    assert_row(&p, KM_PROFILE_SKEW, AT(256, 16, 200, 1024), 1.3);
    assert_non_null(strstr(p.provenance, "LLMServingSim"));
    assert_non_null(strstr(p.provenance, "0.19.0"));
    km_profile_release(&p);
}

static void llmservingsim_skew_that_contradicts(void **state)
{
    struct km_profile p;
    struct km_error error;
    must(import(*state, "llmservingsim", DATA "llmservingsim-skew", 0, &p, &error), &error);
    assert_int_equal(p.tables[KM_PROFILE_SKEW].count, 0);
    assert_non_null(strstr(p.provenance, "left out: batches without skew take 3 times"));
    km_profile_release(&p);
}

static void vidur(void **state)
{
    struct km_profile p;
    struct km_error error;
    must(import(*state, "vidur", DATA "vidur", 0, &p, &error), &error);
    /* two tensor ranks; milliseconds; a shape measured twice counts with its mean */
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_FP16, KM_FP16, 3072, 4096, 64), 30);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_FP16, KM_FP16, 4096, 2048, 64), 20);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_FP16, KM_FP16, 14336, 4096, 64), 110);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_FP16, KM_FP16, 4096, 7168, 64), 60);
    assert_row(&p, KM_PROFILE_PREFILL, AT(128, KM_FP16, 16, 4, 0, 1, 32, 128), 45);
    assert_row(&p, KM_PROFILE_DECODE, AT(128, KM_FP16, 16, 4, 0, 8, 513), 25);
    assert_row(&p, KM_PROFILE_COLLECTIVE, AT(0, 0, 0, 2, 2048), 43);
    assert_row(&p, KM_PROFILE_COLLECTIVE, AT(4, 0, 0, 2, 2048), 24);
    assert_int_equal(p.tables[KM_PROFILE_COLLECTIVE].count, 2); /* one more is between nodes */
    km_profile_release(&p);
}

static void plain(void **state)
{
    struct km_profile p;
    struct km_error error;
    must(import(*state, "csv", DATA "good/plain.csv", 0, &p, &error), &error);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 4096, 4096, 1), 12.9);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 4096, 4096, 64), 13.6);
    assert_row(&p, KM_PROFILE_DECODE, AT(128, KM_BF16, 32, 8, 0, 64, 1024), 69);
    assert_row(&p, KM_PROFILE_SCALAR, AT(0), 1.1);
    assert_non_null(strstr(p.provenance, "my own \\\"bench\\\""));
    assert_non_null(strstr(p.provenance, "\"driver\":\t\"580\""));
    km_profile_release(&p);
}

/* One message a fault, with its place. */
static void plain_faults(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "there are no times of operators in it"},
        {"# source: x\nop,name,us\n", "there are no times of operators in it"},
        {"gemm,1\n", "1:1: expected a line of column names that starts with \"op\""},
        {"op,name,us\nscalar,a\n", "2: 2 cells under a header of 3"},
        {"op,name,us\nscaler,a,1\n", "2:1: op: unknown class of operators \"scaler\""},
        {"op,name,ms\nscalar,a,1\n", "2: no column \"us\" above"},
        {"op,name,us,m\nscalar,a,1,2\n", "2: scalar has no dim \"m\""},
        {"op,n,k,us\ngemm,1,2,3\n", "2: gemm needs a column \"weights\""},
        {"op,us,us\n", "1:7: column \"us\" appears twice"},
        {"op,name,us\nscalar,a,nan\n", "2:10: us: expected a number, got \"nan\""},
        {"op,name,us\nscalar,a,0x10\n", "2:10: us: expected a number, got \"0x10\""},
        {"op,name,us\nscalar,a,1e999\n", "2:10: us: expected a number, got \"1e999\""},
        {"op,name,us\nscalar,,1\n", "2:8: name: unknown: \"\""},
        {"op,name,us\nscalar,a,1\nscalar,a,2\n", "3: scalar: the same dims as line 2 of "},
        {"op,kind,bytes_per_row,rows,us\nstream,norm,1,1,-3\n",
         "2:17: us: expected a number from 0 to 1e+12, got -3"},
        {"op,kind,bytes_per_row,rows,us\nstream,norm,1,1,0\n", "2:17: us: a time must be above 0, got 0"},
        {"op,kind,bytes_per_row,rows,us\nstream,norm,1.5,1,3\n",
         "2:13: bytes_per_row: expected a whole number, got 1.5"},
        {"op,kind,bytes_per_row,rows,us\nstream,nrom,1,1,3\n", "2:8: kind: unknown: \"nrom\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[] = "/tmp/kingman-import-XXXXXX", line[1200], expected[1200];
        struct km_profile p;
        struct km_error error = {0};
        int file = mkstemp(path);
        assert_true(file >= 0);
        assert_int_equal(write(file, cases[i].text, strlen(cases[i].text)), strlen(cases[i].text));
        close(file);
        assert_int_equal(import(*state, "csv", path, 0, &p, &error), KM_BAD_INPUT);
        km_error_format(&error, line, sizeof line);
        snprintf(expected, sizeof expected, "%s:%s%s%s", path, cases[i].message[0] > '9' ? " " : "",
                 cases[i].message,
                 strstr(cases[i].message, "of ") && strstr(cases[i].message, "line 2") ? path : "");
        unlink(path);
        assert_string_equal(line, expected);
    }
}

static void faults_of_folders(void **state)
{
    static const struct {
        const char *kind, *folder, *message;
    } cases[] = {
        {"llmservingsim", "bad/llmservingsim-column", "dense.csv:1: no column \"time_us\""},
        {"llmservingsim", "bad/llmservingsim-negative",
         "dense.csv:3:13: time_us: expected a number from 0 to 1e+12, got -3"},
        {"llmservingsim", "bad/llmservingsim-twice",
         "dense.csv:3: gemm: the same dims as line 2 of " DATA "bad/llmservingsim-twice/dense.csv"},
        {"llmservingsim", "bad/llmservingsim-cut", "attention.csv:3: 2 cells under a header of 5"},
        {"llmservingsim", "bad/llmservingsim-missing",
         "attention.csv: cannot open: No such file or directory"},
        {"vidur", "bad/llmservingsim-column", "mlp.csv: cannot open: No such file or directory"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char folder[512], line[1200], expected[1200];
        struct km_profile p;
        struct km_error error = {0};
        snprintf(folder, sizeof folder, DATA "%s", cases[i].folder);
        assert_int_equal(import(*state, cases[i].kind, folder, 0, &p, &error), KM_BAD_INPUT);
        km_error_format(&error, line, sizeof line);
        snprintf(expected, sizeof expected, "%s/%s", folder, cases[i].message);
        assert_string_equal(line, expected);
    }
}

/* Thinning a smooth table keeps its answers within the tolerance, its ends, and the limit. */
static void compacting(void **state)
{
    const struct world *w = *state;
    struct km_profile full = {.device = "rtx-4090", .provenance = "{}", .path = ""}, thin = full;
    for (double n = 256; n <= 32768; n *= 2)
        for (double k = 256; k <= 32768; k *= 2)
            for (double m = 1; m <= 16384; m = ceil(m * 1.3)) {
                struct km_profile_row row = {.dims = {KM_BF16, KM_BF16, n, k, m}};
                double share = 0.75 * m / (m + 60.0) * n / (n + 500.0) + 0.02;
                row.us =
                    round(1e7 * km_profile_ideal_s(&w->device, KM_PROFILE_GEMM, row.dims) / share) / 10.0;
                km_profile_add(&full, KM_PROFILE_GEMM, &row);
                km_profile_add(&thin, KM_PROFILE_GEMM, &row);
            }
    struct km_profile_twins twins;
    assert_true(km_profile_finish(&full, &twins) && km_profile_finish(&thin, &twins));
    double tolerance = km_compact(&thin, &w->device, 12000);
    assert_true(tolerance > 0.0 && tolerance < 0.1);
    struct km_text json = {0};
    km_profile_write(&thin, &json);
    assert_true(json.length <= 12000 + 100); /* and the provenance */
    assert_true(thin.tables[KM_PROFILE_GEMM].count < full.tables[KM_PROFILE_GEMM].count / 4);
    km_profile_bind(&thin, &w->device);
    double squares = 0.0;
    for (size_t i = 0; i < full.tables[KM_PROFILE_GEMM].count; i++) {
        const struct km_profile_row *row = &full.tables[KM_PROFILE_GEMM].rows[i];
        struct km_profile_answer answer;
        assert_true(km_profile_lookup(&thin, KM_PROFILE_GEMM, row->dims, &answer));
        assert_false(answer.outside);
        double time_s = km_profile_ideal_s(&w->device, KM_PROFILE_GEMM, row->dims) / answer.value;
        squares += pow(log(time_s / (row->us * 1e-6)), 2.0);
    }
    assert_true(sqrt(squares / (double)full.tables[KM_PROFILE_GEMM].count) < 2.0 * tolerance);
    km_text_release(&json);
    km_profile_release(&full);
    km_profile_release(&thin);
}

/* Real tables, where they are to be had. */
static void recorded_tables(void **state)
{
    const char *folder = KM_SOURCE_DIR "/../shared/data/vllm-rtx4090-llama-3.1-8b";
    char path[600];
    snprintf(path, sizeof path, "%s/dense.csv", folder);
    if (!km_file_exists(path))
        skip();
    struct km_profile p;
    struct km_error error;
    must(import(*state, "llmservingsim", folder, 1000000, &p, &error), &error);
    assert_int_equal(p.tables[KM_PROFILE_GEMM].count, 4 * 152 + 40);
    assert_int_equal(p.tables[KM_PROFILE_MIXED].count, 8448);
    assert_int_equal(p.tables[KM_PROFILE_PREFILL].count, 96);
    assert_int_equal(p.tables[KM_PROFILE_DECODE].count, 99);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_BF16, KM_BF16, 6144, 4096, 1), 54.9);
    assert_row(&p, KM_PROFILE_DECODE, AT(128, KM_BF16, 32, 8, 0, 32, 1024), 181.4);
    km_profile_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llmservingsim), cmocka_unit_test(llmservingsim_skew_that_contradicts),
        cmocka_unit_test(vidur),         cmocka_unit_test(plain),
        cmocka_unit_test(plain_faults),  cmocka_unit_test(faults_of_folders),
        cmocka_unit_test(compacting),    cmocka_unit_test(recorded_tables),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
