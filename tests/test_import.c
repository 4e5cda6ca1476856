#include "calibration/compact.h"
#include "support/importing.h"

#include "cost/profile/ideal.h"
#include "support/check.h"

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

#define DATA KM_SOURCE_DIR "/tests/data/profiles/"

static int open_world(void **state)
{
    struct shipped *w = km_alloc(sizeof *w);
    open_shipped("rtx-4090", "llama-3.1-8b", "vllm-0.19", w);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct shipped *w = *state;
    km_arena_release(&w->arena);
    free(w);
    return 0;
}

static void vidur(void **state)
{
    struct km_profile p;
    struct km_error error;
    must(import_tables(*state, "vidur", DATA "vidur", 0, &p, &error), &error);
    /* two tensor ranks; milliseconds; a shape measured twice counts with its mean */
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_FP16, KM_FP16, 3072, 4096, 64), 30);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_FP16, KM_FP16, 4096, 2048, 64), 20);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_FP16, KM_FP16, 14336, 4096, 64), 110);
    assert_row(&p, KM_PROFILE_GEMM, AT(KM_FP16, KM_FP16, 4096, 7168, 64), 60);
    assert_row(&p, KM_PROFILE_PREFILL, AT(128, KM_FP16, 16, 4, 0, 1, 32, 128), 45);
    assert_row(&p, KM_PROFILE_DECODE, AT(128, KM_FP16, 16, 4, 0, 8, 513), 25);
    assert_row(&p, KM_PROFILE_STREAM, AT(3, 2 * 4 * 2 * 128 * 2, 128), 4); /* kv_write */
    assert_row(&p, KM_PROFILE_STREAM, AT(3, 2 * 4 * 2 * 128 * 2, 8), 2);
    assert_row(&p, KM_PROFILE_COLLECTIVE, AT(0, 0, 0, 2, 2048), 43);
    assert_row(&p, KM_PROFILE_COLLECTIVE, AT(4, 0, 0, 2, 2048), 24);
    assert_int_equal(p.tables[KM_PROFILE_COLLECTIVE].count, 2); /* one more is between nodes */
    km_profile_release(&p);
}

static void plain(void **state)
{
    struct km_profile p;
    struct km_error error;
    must(import_tables(*state, "csv", DATA "plain/plain.csv", 0, &p, &error), &error);
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
        {"# source: x\n# prose\n\n# gpu: a\n# gpu: b\nop,name,us\nscalar,a,1\n",
         "5: gpu: the key appears twice"},
        {"# thinned_to_error: 0.1\nop,name,us\nscalar,a,1\n", "1: thinned_to_error: the key appears twice"},
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
        {"op,name,us\nscalar,a\"b,1\n", "2:8: name: unknown: \"a\"b\""},
        {"op,name,us\nscalar,a\xff,1\n", "2:8: name: unknown: \"a\xff\""},
        {"op,name,us\nscalar,a,1\nscalar,a,2\n", "3: scalar: the same dims as line 2 of "},
        {"op,kind,bytes_per_row,rows,us\nstream,norm,1,1,-3\n",
         "2:17: us: expected a number from 0 to 1e+09, got -3"},
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
        assert_int_equal(import_tables(*state, "csv", path, 0, &p, &error), KM_BAD_INPUT);
        km_error_format(&error, line, sizeof line);
        snprintf(expected, sizeof expected, "%s:%s%s%s", path, cases[i].message[0] > '9' ? " " : "",
                 cases[i].message,
                 strstr(cases[i].message, "of ") && strstr(cases[i].message, "line 2") ? path : "");
        unlink(path);
        assert_string_equal(line, expected);
    }
}

#define VIDUR_SHAPE                                                                                          \
    "n_head,n_kv_head,n_embd,n_expanded_embd,use_gated_mlp,num_tokens,num_tensor_parallel_workers"
#define MLP "time_stats.attn_pre_proj.median," VIDUR_SHAPE "\n"
#define ATTENTION                                                                                            \
    "time_stats.attn_prefill.median,time_stats.attn_decode.median,n_q_head,n_kv_head,n_embd,batch_size,"     \
    "prefill_chunk_size,kv_cache_size,is_prefill,num_tensor_parallel_workers\n"
#define COLLECTIVE "time_stats.all_reduce.median,size,num_workers,devices_per_node\n"

/* One message a fault, with its place. */
static void vidur_faults(void **state)
{
    static const struct {
        const char *mlp, *attention, *all_reduce, *message; /* NULL = absent */
    } cases[] = {
        {NULL, ATTENTION, NULL, "mlp.csv: cannot open: No such file or directory"},
        {MLP, NULL, NULL, "attention.csv: cannot open: No such file or directory"},
        {MLP, ATTENTION, NULL, ": there are no times of operators in it"},
        {"", ATTENTION, NULL, "mlp.csv:1: no header: the file is empty"},
        {MLP "0.027,32,8,4096,14336,True,64", ATTENTION, NULL, "mlp.csv:2: 7 cells under a header of 8"},
        {MLP "nan,32,8,4096,14336,True,64,2\n", ATTENTION, NULL,
         "mlp.csv:2:1: time_stats.attn_pre_proj.median: expected a number, got \"nan\""},
        {MLP "soon,32,8,4096,14336,True,64,2\n", ATTENTION, NULL,
         "mlp.csv:2:1: time_stats.attn_pre_proj.median: expected a number, got \"soon\""},
        {MLP "-0.027,32,8,4096,14336,True,64,2\n", ATTENTION, NULL,
         "mlp.csv:2:1: time_stats.attn_pre_proj.median: expected a number from 0 to 1e+12, got -0.027"},
        {MLP "0.027,0,8,4096,14336,True,64,2\n", ATTENTION, NULL, "mlp.csv:2: n_head: 0"},
        {MLP "0.027,32,8,4096,14335,True,64,2\n", ATTENTION, NULL,
         "mlp.csv:2: n_expanded_embd: 14335 is not divisible by 2"},
        {MLP "0.027,30,8,4096,14336,True,64,2\n", ATTENTION, NULL,
         "mlp.csv:2: n_embd: 4096 is not divisible by 30"},
        {MLP "0.027,32,8,4096,14336,True,64,3\n", ATTENTION, NULL,
         "mlp.csv:2: n_head: 32 is not divisible by 3"},
        {MLP "0.027,32,8,4096,14336,perhaps,64,2\n", ATTENTION, NULL,
         "mlp.csv:2:23: use_gated_mlp: expected True or False, got \"perhaps\""},
        {"n_head,n_kv_head\n32,8\n", ATTENTION, NULL, "mlp.csv:1: no column \"n_embd\""},
        {MLP, ATTENTION "0.045,,32,8,4096,1,128,32,maybe,2\n", NULL,
         "attention.csv:2:27: is_prefill: expected True or False, got \"maybe\""},
        {MLP, ATTENTION "inf,,32,8,4096,1,128,32,True,2\n", NULL,
         "attention.csv:2:1: time_stats.attn_prefill.median: expected a number, got \"inf\""},
        {MLP, ATTENTION "0.045,,32,8,4096,1,-128,32,True,2\n", NULL,
         "attention.csv:2:20: prefill_chunk_size: expected a number from 0 to 9.0072e+15, got -128"},
        {MLP, ATTENTION, COLLECTIVE "0.043,2048\n", "all_reduce.csv:2: 2 cells under a header of 4"},
        {MLP, ATTENTION, COLLECTIVE "0.043,2048,two,2\n",
         "all_reduce.csv:2:12: num_workers: expected a number, got \"two\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct folder_file files[4] = {0};
        size_t count = 0;
        if (cases[i].mlp)
            files[count++] = (struct folder_file){"mlp.csv", cases[i].mlp};
        if (cases[i].attention)
            files[count++] = (struct folder_file){"attention.csv", cases[i].attention};
        if (cases[i].all_reduce)
            files[count++] = (struct folder_file){"all_reduce.csv", cases[i].all_reduce};
        assert_import_fails(*state, "vidur", files, cases[i].message);
    }
}

/* Its files are plain tables: one fault of each kind that only a folder has. */
static void aiconfigurator_faults(void **state)
{
    static const struct {
        struct folder_file files[3];
        const char *message;
    } cases[] = {
        {{{0}}, ": no gemm.csv, attention_prefill.csv, ... in it; scripts/aiconfigurator-to-csv makes them"},
        {{{"gemm.csv", "op,weights,activations,n,k,m,us\n"}}, ": there are no times of operators in it"},
        {{{"gemm.csv", "op,weights,activations,n,k,m,us\ngemm,bf16,bf16,1,1,1,nan\n"}},
         "gemm.csv:2:22: us: expected a number, got \"nan\""},
        {{{"gemm.csv", "op,weights,activations,n,k,m,us\ngemm,bf16,bf16,1,1,1,5\n"},
          {"scalar.csv", "op,name,us\nscalar,kernel_gap_us\n"}},
         "scalar.csv:2: 2 cells under a header of 3"},
        {{{"gemm.csv", "op,weights,activations,n,k,m,us\ngemm,bf16,bf16,1,1,1,5\n"},
          {"moe.csv", "op,weights,activations,n,k,m,us\ngemm,bf16,bf16,1,1,1,6\n"}},
         "moe.csv:2: gemm: the same dims as line 2 of FOLDER/gemm.csv"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_import_fails(*state, "aiconfigurator", cases[i].files, cases[i].message);
}

/* Thinning a smooth table keeps its answers within the tolerance, its ends, and the limit. */
static void compacting(void **state)
{
    const struct shipped *w = *state;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vidur),        cmocka_unit_test(vidur_faults),          cmocka_unit_test(plain),
        cmocka_unit_test(plain_faults), cmocka_unit_test(aiconfigurator_faults), cmocka_unit_test(compacting),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
