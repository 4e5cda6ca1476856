#include "cost/cost.h"
#include "cost/measured.h"
#include "cost/profile.h"
#include "cost/profile_roofline.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define DATA     KM_SOURCE_DIR "/tests/data/profiles/"

static void assert_close(double a, double b, double relative)
{
    if (!(fabs(a - b) <= relative * fabs(b)))
        fail_msg("%.12g is not %.12g within %g", a, b, relative);
}

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
    struct km_engine engine;
};

static void open_world(struct world *w)
{
    struct km_error error;
    *w = (struct world){0};
    must(km_device_read(KM_SOURCE_DIR "/configs/devices/h200-sxm.yaml", &w->arena, &w->device, &error),
         &error);
    must(km_model_read(KM_SOURCE_DIR "/models/llama-3.1-8b.json", &w->arena, &w->model, &error), &error);
    must(km_engine_read(KM_SOURCE_DIR "/configs/engines/vllm-0.26.yaml", &w->arena, &w->engine, &error),
         &error);
}

static struct km_profile read_small(const struct km_device *device)
{
    struct km_profile profile;
    struct km_error error;
    must(km_profile_read(DATA "good/small.json", &profile, &error), &error);
    if (device)
        km_profile_bind(&profile, device);
    return profile;
}

/* One message a fault, with its place. */
static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *file, *message;
    } cases[] = {
        {"truncated", "13:84: the text ends here, in the middle of a value"},
        {"empty", "1:1: empty: expected a JSON value"},
        {"array", "1:1: a profile is an object"},
        {"nan", "3:46: expected a value"},
        {"infinite", "3:46: tables.scalar.rows[0][1]: number out of range"},
        {"negative-time", "5:17: tables.gemm.rows[1][3]: expected a number from 0 to 1e+12, got -12"},
        {"zero-time", "4:25: tables.gemm.rows[0][3]: a time must be above 0"},
        {"negative-spread", "4:28: tables.gemm.rows[0][4]: expected a number from 0 to 1e+12, got -1"},
        {"negative-size",
         "4:18: tables.gemm.rows[0][1]: expected an integer from 0 to 9007199254740992, got -4096"},
        {"fraction", "4:23: tables.gemm.rows[0][2]: expected an integer from 0 to 9007199254740992, got 1.5"},
        {"text-for-size",
         "4:13: tables.gemm.rows[0][0]: expected an integer from 0 to 9007199254740992, got \"4096\""},
        {"short-row", "4:12: tables.gemm.rows[0]: expected a row of 3 dims, a time and perhaps a spread"},
        {"long-row", "4:12: tables.gemm.rows[0]: expected a row of 3 dims, a time and perhaps a spread"},
        {"row-is-number", "4:12: tables.gemm.rows[0]: expected a row of 3 dims, a time and perhaps a spread"},
        {"duplicate-rows", "6:4: tables.gemm.rows[2]: the same dims as the row in line 4, column 12"},
        {"version", "1:12: schema: profile version 2 is unknown; this program reads version 1"},
        {"no-version", "1:1: schema: missing"},
        {"no-device", "1:1: device: missing"},
        {"no-source", "1:51: provenance.source: missing"},
        {"kernels-of-number", "1:81: provenance.kernels_of: expected a string, got 7"},
        {"kernels-of-nobody", "1:81: provenance.kernels_of: expected a program's name"},
        {"no-tables", "1:1: tables: missing"},
        {"unknown-key", "1:78: tabels: unknown key"},
        {"unknown-class", "3:9: tables.gem: unknown class of operators"},
        {"unknown-dim", "3:30: tables.scalar.dims[1]: scalar has no dim \"m\""},
        {"missing-dim", "3:19: tables.gemm.dims: gemm needs the dim weights"},
        {"dim-twice", "3:81: tables.gemm.dims[0]: dim n is given twice"},
        {"unknown-word", "3:66: tables.stream.rows[0][0]: unknown kind \"nrom\""},
        {"unknown-format", "3:32: tables.gemm.fixed.weights: unknown weights \"bf17\""},
        {"no-rows", "3:12: tables.scalar.rows: missing"},
        {"table-key", "3:38: tables.scalar.row: unknown key"},
        {"table-is-number", "3:12: tables.scalar: expected a table: an object with dims and rows"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[512], line[1200], expected[1200];
        struct km_profile profile;
        struct km_error error = {0};
        snprintf(path, sizeof path, DATA "bad/%s.json", cases[i].file);
        assert_int_equal(km_profile_read(path, &profile, &error), KM_BAD_INPUT);
        km_error_format(&error, line, sizeof line);
        snprintf(expected, sizeof expected, "%s:%s", path, cases[i].message);
        assert_string_equal(line, expected);
    }
}

static void reads(void **state)
{
    (void)state;
    struct km_profile profile = read_small(NULL);
    const struct km_profile_row *rows = profile.tables[KM_PROFILE_GEMM].rows;
    double value;
    assert_string_equal(profile.device, "h200-sxm");
    assert_null(profile.kernels_of);
    assert_int_equal(profile.tables[KM_PROFILE_GEMM].count, 7);
    assert_int_equal(profile.tables[KM_PROFILE_PREFILL].count, 4);
    assert_int_equal(profile.tables[KM_PROFILE_MOE].count, 0);
    for (size_t i = 1; i < 7; i++) /* sorted, whatever the order of dims in the file */
        assert_true(memcmp(rows[i - 1].dims, rows[i].dims, sizeof rows[i].dims) != 0);
    assert_true(rows[6].dims[KM_GEMM_WEIGHTS] == (double)KM_FP8 && rows[6].dims[KM_GEMM_M] == 16.0 &&
                rows[6].dims[KM_GEMM_N] == 4096.0 && rows[6].us == 8.0);
    assert_true(rows[1].spread_us == 0.1);
    /* left-out dims take their defaults */
    assert_true(profile.tables[KM_PROFILE_PREFILL].rows[0].dims[KM_PREFILL_SEQUENCES] == 1.0);
    assert_true(profile.tables[KM_PROFILE_PREFILL].rows[0].dims[KM_ATTENTION_WINDOW] == 0.0);
    assert_true(km_profile_scalar(&profile, "kernel_graph_us", &value) && value == 1.1);
    assert_false(km_profile_scalar(&profile, "kernel_eager_us", &value));
    km_profile_release(&profile);
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    struct km_profile profile = read_small(NULL), again;
    struct km_text text = {0}, second = {0};
    struct km_error error;
    km_profile_write(&profile, &text);
    must(km_profile_parse(km_text_c(&text), text.length, NULL, &again, &error), &error);
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++) {
        assert_int_equal(profile.tables[class].count, again.tables[class].count);
        for (size_t i = 0; i < again.tables[class].count; i++) {
            assert_memory_equal(profile.tables[class].rows[i].dims, again.tables[class].rows[i].dims,
                                sizeof again.tables[class].rows[i].dims);
            assert_close(again.tables[class].rows[i].us, profile.tables[class].rows[i].us, 5e-4);
        }
    }
    km_profile_write(&again, &second);
    assert_string_equal(km_text_c(&text), km_text_c(&second));
    km_text_release(&text);
    km_text_release(&second);
    km_profile_release(&profile);
    km_profile_release(&again);
}

/* Every measured row answers with its own time, in every class that is a time. */
static void rows_answer_for_themselves(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct km_profile profile = read_small(&w.device);
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++)
        for (size_t i = 0; i < profile.tables[class].count; i++) {
            const struct km_profile_row *row = &profile.tables[class].rows[i];
            struct km_profile_answer answer;
            assert_true(km_profile_lookup(&profile, (enum km_profile_class) class, row->dims, &answer));
            assert_true(answer.exact && !answer.outside);
            if (!km_profile_schemas[class].value)
                assert_close(km_profile_ideal_s(&w.device, (enum km_profile_class) class, row->dims) /
                                 answer.value,
                             row->us * 1e-6, 1e-12);
            else
                assert_true(answer.value == row->us);
        }
    km_profile_release(&profile);
    km_arena_release(&w.arena);
}

static struct km_profile_answer ask(const struct km_profile *profile, enum km_profile_class class,
                                    const double *at)
{
    struct km_profile_answer answer;
    assert_true(km_profile_lookup(profile, class, at, &answer));
    return answer;
}

static void inside_and_outside(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct km_profile profile = read_small(&w.device);
    double at[KM_PROFILE_DIMS] = {KM_BF16, KM_BF16, 4096, 4096, 64};
    double low = ask(&profile, KM_PROFILE_GEMM, at).value;
    at[KM_GEMM_M] = 4096;
    double high = ask(&profile, KM_PROFILE_GEMM, at).value;
    at[KM_GEMM_M] = 512;
    struct km_profile_answer between = ask(&profile, KM_PROFILE_GEMM, at);
    assert_true(!between.exact && !between.outside);
    double weight = (log(513.0) - log(65.0)) / (log(4097.0) - log(65.0));
    assert_close(between.value, low * pow(high / low, weight), 1e-12);
    /* beyond the last row: its share, and so a time that grows with the work */
    at[KM_GEMM_M] = 65536;
    struct km_profile_answer beyond = ask(&profile, KM_PROFILE_GEMM, at);
    assert_true(beyond.outside && !beyond.exact);
    assert_close(beyond.value, high, 1e-12);
    /* no rows of this format */
    at[KM_GEMM_WEIGHTS] = KM_INT8;
    struct km_profile_answer none;
    assert_false(km_profile_lookup(&profile, KM_PROFILE_GEMM, at, &none));
    km_profile_release(&profile);
    km_arena_release(&w.arena);
}

/* Half the KV heads with twice the sequences keep as many streams busy: the rows of 8 heads at half the batch
 * stand in. */
static void a_neighbour_stands_in(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct km_profile profile = read_small(&w.device);
    const double measured[KM_PROFILE_DIMS] = {128, KM_BF16, 32, 8, 0, 64, 4096};
    const double asked[KM_PROFILE_DIMS] = {128, KM_BF16, 32, 4, 0, 128, 4096};
    struct km_profile_answer a = ask(&profile, KM_PROFILE_DECODE, measured),
                             b = ask(&profile, KM_PROFILE_DECODE, asked);
    assert_true(b.outside);
    assert_close(b.value, a.value, 1e-12);
    km_profile_release(&profile);
    km_arena_release(&w.arena);
}

/* A refinement at one shape must not send neighbours to its lonely row. */
static void lonely_rows_do_not_mislead(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct km_profile profile = {.device = "h200-sxm", .provenance = "{}", .path = ""};
    const double rows[][3] = {
        {4096, 1, 12}, {4096, 4096, 190}, {8192, 1, 20}, {8192, 4096, 380}, {5000, 64, 17}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct km_profile_row row = {.dims = {KM_BF16, KM_BF16, rows[i][0], 4096, rows[i][1]},
                                     .us = rows[i][2]};
        km_profile_add(&profile, KM_PROFILE_GEMM, &row);
    }
    struct km_profile_twins twins;
    assert_true(km_profile_finish(&profile, &twins));
    km_profile_bind(&profile, &w.device);
    double at[KM_PROFILE_DIMS] = {KM_BF16, KM_BF16, 5000, 4096, 4000};
    assert_false(ask(&profile, KM_PROFILE_GEMM, at).outside);
    at[KM_GEMM_M] = 64;
    assert_true(ask(&profile, KM_PROFILE_GEMM, at).exact);
    km_profile_release(&profile);
    km_arena_release(&w.arena);
}

/* Random tables, gridded and scattered: rows answer exactly, everything else lies between the extremes. */
static void random_tables(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    srand(7);
    for (int round = 0; round < 200; round++) {
        struct km_profile profile = {.device = "h200-sxm", .provenance = "{}", .path = ""};
        int count = 1 + rand() % 40, grid = rand() % 2;
        for (int i = 0; i < count; i++) {
            struct km_profile_row row = {.us = 1.0 + rand() % 1000};
            row.dims[0] = row.dims[1] = KM_BF16;
            for (int d = 2; d < 5; d++)
                row.dims[d] = grid ? (double)(1 << rand() % 14) : (double)(1 + rand() % 16384);
            km_profile_add(&profile, KM_PROFILE_GEMM, &row);
        }
        km_profile_merge(&profile);
        km_profile_bind(&profile, &w.device);
        const struct km_profile_table *table = &profile.tables[KM_PROFILE_GEMM];
        double least = HUGE_VAL, most = -HUGE_VAL;
        for (size_t i = 0; i < table->count; i++) {
            struct km_profile_answer answer = ask(&profile, KM_PROFILE_GEMM, table->rows[i].dims);
            assert_close(log(answer.value) + 100.0, table->answers[i] + 100.0, 1e-12);
            least = fmin(least, table->answers[i]);
            most = fmax(most, table->answers[i]);
        }
        for (int i = 0; i < 200; i++) {
            double at[KM_PROFILE_DIMS] = {KM_BF16, KM_BF16};
            for (int d = 2; d < 5; d++)
                at[d] = (double)(1 + rand() % 40000) * (rand() % 3 ? 1.0 : 0.001);
            double value = log(ask(&profile, KM_PROFILE_GEMM, at).value);
            assert_true(value >= least - 1e-9 && value <= most + 1e-9);
        }
        km_profile_release(&profile);
    }
    km_arena_release(&w.arena);
}

extern const struct km_cost_model km_cost_profile, km_cost_roofline;

static struct km_cost_config config_of(struct world *w, const char *profile)
{
    return (struct km_cost_config){.model = &w->model,
                                   .precision = w->model.precision,
                                   .layout = {.tensor_parallel = 1, .pipeline_parallel = 1},
                                   .device = &w->device,
                                   .engine = &w->engine,
                                   .profile = profile};
}

struct op_times {
    const char *wanted;
    double time_s;
    uint32_t count;
    enum km_origin origin;
    double total_s;
};

static void note(void *context, const struct km_op_cost *cost)
{
    struct op_times *times = context;
    times->total_s += cost->time_s;
    if (strcmp(cost->op->name, times->wanted) == 0) {
        times->time_s = cost->time_s;
        times->count = cost->op->count;
        times->origin = cost->origin;
    }
}

static struct op_times time_op(const struct km_cost_model *cost, const void *state,
                               const struct km_step_shape *shape, const char *name)
{
    struct op_times times = {.wanted = name};
    cost->breakdown(state, shape, note, &times);
    assert_true(times.count > 0);
    return times;
}

/* What was measured takes its measured time; what was not, the roofline's. */
static void model_takes_measured_times(void **state)
{
    (void)state;
    struct world w;
    void *profile, *roofline;
    struct km_error error;
    open_world(&w);
    struct km_cost_config config = config_of(&w, DATA "good/small.json");
    must(km_cost_profile.create(&config, &profile, &error), &error);
    must(km_cost_roofline.create(&config, &roofline, &error), &error);
    const struct km_step_shape step = {.sampled = 64,
                                       .decode = {.count = 64,
                                                  .sum_context = 64 * 4096,
                                                  .sum_windowed = 64 * 4096,
                                                  .below_window = 64,
                                                  .max_context = 4096}};
    struct op_times o_proj = time_op(&km_cost_profile, profile, &step, "o_proj");
    assert_close(o_proj.time_s, o_proj.count * 12e-6, 1e-9);
    assert_int_equal(o_proj.origin, KM_ORIGIN_MEASURED);
    struct op_times attention = time_op(&km_cost_profile, profile, &step, "attention");
    assert_close(attention.time_s, attention.count * 260e-6, 1e-9);
    struct op_times norm = time_op(&km_cost_profile, profile, &step, "norm");
    assert_int_equal(norm.origin, KM_ORIGIN_INTERPOLATED);
    struct op_times down = time_op(&km_cost_profile, profile, &step, "down_proj");
    assert_int_equal(down.origin, KM_ORIGIN_EXTRAPOLATED); /* k = 14336: only 4096 was measured */
    struct op_times rope = time_op(&km_cost_profile, profile, &step, "rope");
    assert_int_equal(rope.origin, KM_ORIGIN_MODEL);
    assert_close(rope.time_s, time_op(&km_cost_roofline, roofline, &step, "rope").time_s, 1e-12);
    assert_int_equal(time_op(&km_cost_roofline, roofline, &step, "o_proj").origin, KM_ORIGIN_MODEL);

    /* a step is its parts, however it is asked for */
    double whole, fixed, attending;
    km_cost_profile.step(profile, &step, &whole);
    km_cost_profile.decode_fixed(profile, 64, &fixed);
    km_cost_profile.decode_attention(profile, &step.decode, &attending);
    assert_close(fixed + attending, whole, 1e-12);
    assert_close(rope.total_s, whole, 1e-12);
    struct km_coverage coverage;
    km_cost_profile.coverage(profile, &coverage);
    assert_close(coverage.time_s[KM_ORIGIN_MEASURED] / 2.0, o_proj.time_s + attention.time_s,
                 1e-9); /* asked twice */
    km_cost_profile.destroy(profile);
    km_cost_roofline.destroy(roofline);
    km_arena_release(&w.arena);
}

/* More work never takes less time, over shapes inside and outside the tables, prompts and decodes mixed. */
static void mixed_steps_are_sane(void **state)
{
    (void)state;
    struct world w;
    void *profile;
    struct km_error error;
    open_world(&w);
    struct km_cost_config config = config_of(&w, DATA "good/small.json");
    must(km_cost_profile.create(&config, &profile, &error), &error);
    srand(3);
    for (int i = 0; i < 2000; i++) {
        struct km_chunk chunks[3];
        struct km_step_shape step = {.chunks = chunks, .chunk_count = (uint32_t)(1 + rand() % 3)};
        for (uint32_t c = 0; c < step.chunk_count; c++) {
            chunks[c] = (struct km_chunk){(uint32_t)(1 + rand() % 3000), (uint32_t)(rand() % 9000)};
            step.prefill_tokens += chunks[c].tokens;
        }
        step.sampled = step.chunk_count;
        struct op_times prompts = time_op(&km_cost_profile, profile, &step, "attention");
        uint32_t n = (uint32_t)(1 + rand() % 300), context = (uint32_t)(1 + rand() % 9000);
        step.decode = (struct km_decode_shape){.count = n,
                                               .sum_context = (uint64_t)n * context,
                                               .sum_windowed = (uint64_t)n * context,
                                               .below_window = n,
                                               .max_context = context};
        step.sampled += n;
        struct op_times both = time_op(&km_cost_profile, profile, &step, "attention");
        assert_true(isfinite(both.time_s) && both.time_s >= prompts.time_s && both.time_s < 10.0);
        /* at most every decode alone, or a tile of 128 rows each at the rate of long prompts */
        struct km_step_shape alone = {.sampled = n, .decode = step.decode};
        double decodes_s = time_op(&km_cost_profile, profile, &alone, "attention").time_s;
        double tiles_s = 32.0 * 4.0 * 128.0 * n * context * 4096.0 / (0.3 * 989.4e12);
        assert_true(both.time_s <= prompts.time_s + fmax(decodes_s, tiles_s) * 1.001);
    }
    km_cost_profile.destroy(profile);
    km_arena_release(&w.arena);
}

/* Answers are remembered; what was asked before must not show. */
static void order_does_not_matter(void **state)
{
    (void)state;
    enum { STEPS = 8000 };
    static struct km_chunk chunks[STEPS];
    static double forward_s[STEPS];
    struct world w;
    struct km_error error;
    open_world(&w);
    struct km_cost_config config = config_of(&w, DATA "good/small.json");
    srand(11);
    for (int i = 0; i < STEPS; i++)
        chunks[i] = (struct km_chunk){(uint32_t)(1 + rand() % 2000), (uint32_t)(rand() % 500)};
    for (int pass = 0; pass < 2; pass++) {
        void *cost;
        must(km_cost_profile.create(&config, &cost, &error), &error);
        for (int j = 0; j < STEPS; j++) {
            int i = pass ? STEPS - 1 - j : j;
            uint32_t n = 1 + chunks[i].tokens % 100;
            struct km_step_shape step = {.chunks = &chunks[i],
                                         .chunk_count = 1,
                                         .prefill_tokens = chunks[i].tokens,
                                         .sampled = n,
                                         .decode = {.count = n,
                                                    .sum_context = n * 1000,
                                                    .sum_windowed = n * 1000,
                                                    .below_window = n,
                                                    .max_context = 1000}};
            double step_s;
            km_cost_profile.step(cost, &step, &step_s);
            if (pass == 0)
                forward_s[i] = step_s;
            else
                assert_true(step_s == forward_s[i]);
        }
        km_cost_profile.destroy(cost);
    }
    km_arena_release(&w.arena);
}

static void refuses(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    static const struct {
        const char *profile, *message;
    } cases[] = {
        {NULL, "cost model profile needs cost.profile: the file of a measured profile"},
        {DATA "bad/version.json",
         DATA "bad/version.json:1:12: schema: profile version 2 is unknown; this program reads version 1"},
        {DATA "other-device.json",
         DATA "other-device.json: was measured on b200, but the cluster's device is h200-sxm"},
        {DATA "scalars-only.json",
         DATA "scalars-only.json: has neither gemm nor attention_decode rows: nothing a "
              "model's time follows from"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_error error = {0};
        char line[1200];
        void *cost = NULL;
        struct km_cost_config config = config_of(&w, cases[i].profile);
        assert_int_equal(km_cost_profile.create(&config, &cost, &error), KM_BAD_INPUT);
        assert_null(cost);
        km_error_format(&error, line, sizeof line);
        assert_string_equal(line, cases[i].message);
    }
    km_arena_release(&w.arena);
}

/* Ragged decodes take the profile's ratio. */
static void skew(void **state)
{
    (void)state;
    struct world w;
    void *cost;
    struct km_error error;
    open_world(&w);
    struct km_cost_config config = config_of(&w, DATA "skewed.json");
    must(km_cost_profile.create(&config, &cost, &error), &error);
    struct km_step_shape step = {.sampled = 64,
                                 .decode = {.count = 64,
                                            .sum_context = 64 * 4096,
                                            .sum_windowed = 64 * 4096,
                                            .below_window = 64,
                                            .max_context = 4096}};
    double even_s = time_op(&km_cost_profile, cost, &step, "attention").time_s;
    step.decode.max_context = 2 * 4096;
    double ragged_s = time_op(&km_cost_profile, cost, &step, "attention").time_s;
    assert_close(ragged_s, 1.5 * even_s, 1e-9);
    km_cost_profile.destroy(cost);
    km_arena_release(&w.arena);
}

/* Element-wise and attention kernels of another program take no less than the engine's description says;
 * products of matrices, and kernels of the engine itself, take what was measured. */
static void stand_ins(void **state)
{
    (void)state;
    static const struct {
        const char *engine;
        bool own;
    } cases[] = {
        {"vllm-0.26", false}, {"others", false}, {"oth", false}, {"other", true}, {"other-1.2", true}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world w;
        void *profile, *roofline;
        struct km_error error;
        open_world(&w);
        w.engine.name = cases[i].engine;
        struct km_cost_config config = config_of(&w, DATA "stand-in.json");
        must(km_cost_profile.create(&config, &profile, &error), &error);
        must(km_cost_roofline.create(&config, &roofline, &error), &error);
        for (uint32_t n = 1; n <= 64; n += 63) {
            const struct km_step_shape step = {.sampled = n,
                                               .decode = {.count = n,
                                                          .sum_context = n * 4096,
                                                          .sum_windowed = n * 4096,
                                                          .below_window = n,
                                                          .max_context = 4096}};
            const struct {
                const char *name;
                double measured_s;
                bool shared; /* by all engines */
            } ops[] = {{"o_proj", 9e-6, true},
                       {"norm", n == 1 ? 2e-6 : 3e-6, false},
                       {"rope", 9e-6, false},
                       {"attention", n == 1 ? 14e-6 : 260e-6, false}};
            for (size_t j = 0; j < COUNT(ops); j++) {
                struct op_times described = time_op(&km_cost_roofline, roofline, &step, ops[j].name);
                struct op_times answer = time_op(&km_cost_profile, profile, &step, ops[j].name);
                double measured_s = ops[j].measured_s * answer.count;
                bool measured = cases[i].own || ops[j].shared || measured_s > described.time_s;
                assert_close(answer.time_s, measured ? measured_s : described.time_s, 1e-9);
                assert_int_equal(answer.origin, measured ? KM_ORIGIN_MEASURED : KM_ORIGIN_MODEL);
            }
        }
        km_cost_profile.destroy(profile);
        km_cost_roofline.destroy(roofline);
        km_arena_release(&w.arena);
    }
}

/* Every shipped profile reads, answers for a model, and stays below 1 MB. */
/* The share of the roofline between the one-shot rows of 4 us at 64 KiB and 5 us at 1 MiB, in logarithms; the
 * edge's below. */
static double one_shot_s(const struct km_device *device, double bytes)
{
    const double low[KM_PROFILE_DIMS] = {[KM_COLLECTIVE_BYTES] = 65536},
                 high[KM_PROFILE_DIMS] = {[KM_COLLECTIVE_BYTES] = 1048576},
                 at[KM_PROFILE_DIMS] = {[KM_COLLECTIVE_BYTES] = bytes};
    double from = log(km_profile_ideal_s(device, KM_PROFILE_COLLECTIVE, low) / 4e-6),
           to = log(km_profile_ideal_s(device, KM_PROFILE_COLLECTIVE, high) / 5e-6);
    double weight = fmax(0.0, (log1p(bytes) - log1p(65536.0)) / (log1p(1048576.0) - log1p(65536.0)));
    return km_profile_ideal_s(device, KM_PROFILE_COLLECTIVE, at) / exp(from + weight * (to - from));
}

/* All-reduces of two ranks as measured; of other numbers by the formulas. */
static void collectives(void **state)
{
    (void)state;
    static const struct {
        const char *engine;
        enum km_all_reduce algorithm;
        double fixed_s;
        uint32_t ranks, tokens; /* 8 KiB each */
        double measured_s;      /* 0 = see origin */
        enum km_origin origin;
    } cases[] = {
        {"other", KM_ALL_REDUCE_ONE_SHOT, 0, 2, 8, 4e-6, KM_ORIGIN_MEASURED},
        {"other", KM_ALL_REDUCE_ONE_SHOT, 0, 2, 128, 5e-6, KM_ORIGIN_MEASURED},
        {"other", KM_ALL_REDUCE_ONE_SHOT, 0, 2, 32, 0, KM_ORIGIN_INTERPOLATED},
        {"other", KM_ALL_REDUCE_ONE_SHOT, 0, 2, 4, 0, KM_ORIGIN_EXTRAPOLATED},
        /* the library's, though others are faster; what was measured rather than what lies beyond */
        {"other", KM_ALL_REDUCE_RING, 0, 2, 8, 10e-6, KM_ORIGIN_MEASURED},
        {"other", KM_ALL_REDUCE_FASTEST, 0, 2, 2048, 100e-6, KM_ORIGIN_MEASURED},
        /* another engine's own kernel takes no less than its description says; NCCL is NCCL */
        {"vllm-0.26", KM_ALL_REDUCE_ONE_SHOT, 50e-6, 2, 8, 0, KM_ORIGIN_MODEL},
        {"vllm-0.26", KM_ALL_REDUCE_RING, 50e-6, 2, 8, 10e-6, KM_ORIGIN_MEASURED},
        {"other", KM_ALL_REDUCE_ONE_SHOT, 0, 4, 8, 0, KM_ORIGIN_MODEL},
        {"other", KM_ALL_REDUCE_RING, 0, 8, 8, 0, KM_ORIGIN_MODEL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world w;
        void *profile, *roofline;
        struct km_error error;
        open_world(&w);
        w.engine.name = cases[i].engine;
        w.engine.all_reduce[0] =
            (struct km_all_reduce_rule){.algorithm = cases[i].algorithm, .fixed_s = cases[i].fixed_s};
        w.engine.all_reduce_count = 1;
        struct km_cost_config config = config_of(&w, DATA "collectives.json");
        config.layout.tensor_parallel = cases[i].ranks;
        must(km_cost_profile.create(&config, &profile, &error), &error);
        must(km_cost_roofline.create(&config, &roofline, &error), &error);
        const uint32_t n = cases[i].tokens;
        const struct km_step_shape step = {.sampled = n,
                                           .decode = {.count = n,
                                                      .sum_context = n * 64,
                                                      .sum_windowed = n * 64,
                                                      .below_window = n,
                                                      .max_context = 64}};
        struct op_times answer = time_op(&km_cost_profile, profile, &step, "all_reduce");
        struct op_times described = time_op(&km_cost_roofline, roofline, &step, "all_reduce");
        double one_s = answer.time_s / answer.count;
        assert_int_equal(answer.origin, cases[i].origin);
        if (cases[i].measured_s > 0.0)
            assert_close(one_s, cases[i].measured_s, 1e-9);
        else if (cases[i].origin == KM_ORIGIN_MODEL)
            assert_close(answer.time_s, described.time_s, 1e-12);
        else
            assert_close(one_s, one_shot_s(&w.device, 8192.0 * n), 1e-9);
        km_cost_profile.destroy(profile);
        km_cost_roofline.destroy(roofline);
        km_arena_release(&w.arena);
    }
}

/* The committed times of two H200: a collective takes no less than its bytes over the link, and no more the
 * fewer the bytes, but for noise. */
static void shipped_collectives(void **state)
{
    (void)state;
    struct world w;
    struct km_profile profile;
    struct km_error error;
    open_world(&w);
    must(km_profile_read(KM_SOURCE_DIR "/configs/profiles/h200-sxm.json", &profile, &error), &error);
    const struct km_profile_table *table = &profile.tables[KM_PROFILE_COLLECTIVE];
    assert_true(table->count > 200);
    for (size_t i = 0; i < table->count; i++) {
        const double *at = table->rows[i].dims, kind = at[KM_COLLECTIVE_KIND];
        double parts = kind == KM_REDUCE_SCATTER || kind == KM_ALL_TO_ALL ? 0.5 : 1.0;
        assert_true(at[KM_COLLECTIVE_RANKS] == 2.0);
        double least_us = parts * at[KM_COLLECTIVE_BYTES] / w.device.node.link.bandwidth_bytes_per_s * 1e6;
        assert_true(table->rows[i].us > least_us);
        if (i > 0 && memcmp(at, table->rows[i - 1].dims, KM_COLLECTIVE_BYTES * sizeof *at) == 0)
            assert_true(table->rows[i].us > 0.5 * table->rows[i - 1].us);
    }
    km_profile_release(&profile);
    km_arena_release(&w.arena);
}

static void shipped_profiles(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"h200-sxm", "h200-sxm"},
        {"h200-sxm-aiconfigurator", "h200-sxm"},
        {"h100-sxm-aiconfigurator", "h100-sxm"},
        {"a100-80g-sxm", "a100-80g-sxm"},
        {"b200", "b200"},
        {"b300", "b300"},
        {"gb200", "gb200"},
        {"gb300", "gb300"},
        {"l40s", "l40s"},
        {"rtx-pro-6000", "rtx-pro-6000"},
        {"arc-pro-b60", "arc-pro-b60"},
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        struct world w;
        struct km_error error;
        char path[512], device[512];
        void *cost;
        open_world(&w);
        snprintf(path, sizeof path, KM_SOURCE_DIR "/configs/profiles/%s.json", names[i][0]);
        snprintf(device, sizeof device, KM_SOURCE_DIR "/configs/devices/%s.yaml", names[i][1]);
        must(km_device_read(device, &w.arena, &w.device, &error), &error);
        struct km_cost_config config = config_of(&w, path);
        must(km_cost_profile.create(&config, &cost, &error), &error);
        const struct km_step_shape step = {.sampled = 64,
                                           .decode = {.count = 64,
                                                      .sum_context = 64 * 1024,
                                                      .sum_windowed = 64 * 1024,
                                                      .below_window = 64,
                                                      .max_context = 1024}};
        double step_s;
        km_cost_profile.step(cost, &step, &step_s);
        /* weights and KV cache cannot be read faster than the memory allows, nor ten times slower */
        double least_s = (15.0e9 + 8.6e9) / w.device.bandwidth_bytes_per_s;
        if (!(step_s > 0.8 * least_s && step_s < 10.0 * least_s))
            fail_msg("%s: %g s, at least %g expected", names[i][0], step_s, least_s);
        FILE *stream = fopen(path, "rb");
        assert_non_null(stream);
        fseek(stream, 0, SEEK_END);
        assert_true(ftell(stream) <= 1000000);
        fclose(stream);
        km_cost_profile.destroy(cost);
        km_arena_release(&w.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults),
        cmocka_unit_test(reads),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(rows_answer_for_themselves),
        cmocka_unit_test(inside_and_outside),
        cmocka_unit_test(a_neighbour_stands_in),
        cmocka_unit_test(lonely_rows_do_not_mislead),
        cmocka_unit_test(random_tables),
        cmocka_unit_test(model_takes_measured_times),
        cmocka_unit_test(mixed_steps_are_sane),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(refuses),
        cmocka_unit_test(skew),
        cmocka_unit_test(stand_ins),
        cmocka_unit_test(collectives),
        cmocka_unit_test(shipped_collectives),
        cmocka_unit_test(shipped_profiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
