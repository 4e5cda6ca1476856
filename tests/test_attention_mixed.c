#include "cost/profile/measured.h"
#include "support/check.h"
#include "support/importing.h"
#include "support/shipped.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What calibrate/README.md states. */
#define STEPS_MEDIAN 0.050
#define STEPS_P95    0.266

extern const struct km_cost_model km_cost_profile;

/* Llama 3.1 8B: 32 heads over 8 KV heads of 128. One shape, launched so that a sequence may be shared out
 * among multiprocessors and so that it may not; and a table that does not say. */
#define HEAD                                                                                                 \
    "{\"schema\": 1, \"device\": \"h200-sxm\", \"provenance\": {\"source\": \"test\"}, \"tables\": {"        \
    "\"attention_decode\": {\"fixed\": {\"head_dim\": 128, \"kv_dtype\": \"bf16\", \"heads\": 32, "          \
    "\"kv_heads\": 8}, \"dims\": [\"batch\", \"context\"], \"rows\": [[16, 1024, 25]]}, "                    \
    "\"attention_mixed\": {\"fixed\": {\"head_dim\": 128, \"kv_dtype\": \"bf16\", \"heads\": 32, "           \
    "\"kv_heads\": 8"
#define SIZES "\"tokens\", \"past\", \"batch\", \"context\"], \"rows\": ["
static const char told[] = HEAD "}, \"dims\": [\"split\", " SIZES
                                "[\"any\", 256, 0, 16, 1024, 30], [\"any\", 600, 0, 16, 1024, 50], "
                                "[\"none\", 256, 0, 16, 1024, 34], [\"none\", 600, 0, 16, 1024, 70]]}}}";
static const char untold[] = HEAD "}, \"dims\": [" SIZES "[256, 0, 16, 1024, 31], [600, 0, 16, 1024, 51]]}}}";

static double attention_us(const char *profile, const struct km_chunk *chunks, uint32_t count,
                           uint64_t longest)
{
    struct shipped w;
    struct km_error error;
    struct folder_file files[] = {{"own.json", profile}, {0}};
    const struct folder folder = make_folder(files);
    char path[120];
    void *cost;
    snprintf(path, sizeof path, "%s/own.json", folder.path);
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    struct km_cost_config config = shipped_config(&w, path);
    must(km_cost_profile.create(&config, &cost, &error), &error);
    struct km_step_shape step = {.chunks = chunks,
                                 .chunk_count = count,
                                 .sampled = 16 + count,
                                 .decode = {.count = 16,
                                            .sum_context = 16384,
                                            .sum_windowed = 16384,
                                            .below_window = 16,
                                            .max_context = longest}};
    for (uint32_t i = 0; i < count; i++)
        step.prefill_tokens += chunks[i].tokens;
    struct op_times times = time_op(&km_cost_profile, cost, &step, "attention");
    km_cost_profile.destroy(cost);
    remove_folder(&folder);
    km_arena_release(&w.arena);
    return 1e6 * times.time_s / times.count;
}

/* Graphs are captured up to 512 tokens: there any sequence may be shared out. Above, none is where the
 * longest chunk's tiles fill four fifths of 132 multiprocessors: 8 KV heads of ceil(600 * 4 / 128) = 19 tiles
 * do. */
static void launch_decides(void **state)
{
    (void)state;
    const struct km_chunk small = {.tokens = 256}, large = {.tokens = 600};
    assert_near(attention_us(told, &small, 1, 1024), 30.0, 1e-9);
    assert_near(attention_us(told, &large, 1, 1024), 70.0, 1e-9);
    assert_near(attention_us(untold, &small, 1, 1024), 31.0, 1e-9);
    assert_near(attention_us(untold, &large, 1, 1024), 51.0, 1e-9);
}

/* Six chunks of 100 fill 8 * ceil(400 / 128) = 32 multiprocessors, each as if alone: sequences are shared
 * out, and the one chunk with as many tokens stands for them. Its pairs are more than theirs, so that they
 * take the bytes' time: keys and values of 600 + 16,384 tokens of 4 KiB, queries and results of 616 of 16
 * KiB. */
static void small_chunks_leave_room(void **state)
{
    (void)state;
    const struct km_chunk chunks[] = {{.tokens = 100}, {.tokens = 100}, {.tokens = 100},
                                      {.tokens = 100}, {.tokens = 100}, {.tokens = 100}};
    const double launch = 1.1, bytes = 4.8e6, flops = 989.4e6; /* a microsecond */
    const double decodes = (16384.0 * 4096.0 + 16.0 * 16384.0) / bytes + launch;
    const double row = 4.0 * 600.0 * 601.0 / 2.0 * 4096.0 / flops + launch + decodes;
    const double asked = (600.0 * 4096.0 + 600.0 * 16384.0) / bytes + launch + decodes;
    assert_near(attention_us(told, chunks, COUNT(chunks), 1024), 50.0 * asked / row, 1e-6);
}

/* Where nothing is shared out, no launch ends before its longest sequence: a tile of 128 rows against 131,072
 * keys, at the 132nd part of the device's rate. The rows' share of the roofline holds for it. */
static void longest_sequence_ends_last(void **state)
{
    (void)state;
    const struct km_chunk large = {.tokens = 600}, small = {.tokens = 256};
    const double launch = 1.1, bytes = 4.8e6, flops = 989.4e6;
    const double row = 4.0 * 600.0 * 601.0 / 2.0 * 4096.0 / flops + launch +
                       (16384.0 * 4096.0 + 16.0 * 16384.0) / bytes + launch;
    const double piece = 4.0 * 128.0 * 128.0 * 131072.0 * 132.0 / flops + launch;
    assert_true(piece > 10.0 * row);
    assert_near(attention_us(told, &large, 1, 131072), 70.0 * piece / row, 1e-6);
    assert_near(attention_us(told, &small, 1, 131072), 30.0, 1e-9);   /* shared out */
    assert_near(attention_us(untold, &large, 1, 131072), 51.0, 1e-9); /* as it was before rows told */
}

/* A step of h200-vllm-attention-steps.csv, of this layout and cache format; false for others. */
static bool read_step(char *line, struct km_chunk *chunks, struct km_step_shape *step, double *us)
{
    char text[256];
    unsigned long long count, cached, longest;
    if (sscanf(line, "step,bf16,32,8,%255[^,],%llu,%llu,%llu,%lf", text, &count, &cached, &longest, us) != 5)
        return false;
    *step = (struct km_step_shape){.chunks = chunks,
                                   .decode = {.count = (uint32_t)count,
                                              .sum_context = cached,
                                              .sum_windowed = cached,
                                              .below_window = (uint32_t)count,
                                              .max_context = longest}};
    for (char *rest = text, *word; (word = strtok_r(rest, " ", &rest)) && *word != '-';) {
        struct km_chunk *chunk = &chunks[step->chunk_count++];
        assert_int_equal(sscanf(word, "%u+%u", &chunk->tokens, &chunk->past), 2);
        step->prefill_tokens += chunk->tokens;
    }
    step->sampled = step->decode.count + step->chunk_count;
    return true;
}

static int ascending(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* Steps as a server forms them, several chunks and ragged contexts, measured: how far the profile of vLLM's
 * kernels is off by their means, as calibrate/README.md states. */
static void steps_as_a_server_forms_them(void **state)
{
    (void)state;
    FILE *file = fopen(KM_SOURCE_DIR "/calibrate/results/h200-vllm-attention-steps.csv", "r");
    struct shipped w;
    struct km_error error;
    struct km_chunk chunks[16];
    struct km_step_shape step;
    double errors[256], us;
    size_t count = 0;
    void *cost;
    char line[512];
    assert_non_null(file);
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    struct km_cost_config config = shipped_config(&w, KM_SOURCE_DIR "/configs/profiles/h200-sxm-vllm.json");
    must(km_cost_profile.create(&config, &cost, &error), &error);
    while (fgets(line, sizeof line, file) && count < COUNT(errors))
        if (read_step(line, chunks, &step, &us)) {
            struct op_times times = time_op(&km_cost_profile, cost, &step, "attention");
            errors[count++] = fabs(1e6 * times.time_s / times.count / us - 1.0);
        }
    fclose(file);
    qsort(errors, count, sizeof *errors, ascending);
    print_message("%zu steps: median %.1f %%, 95th percentile %.1f %%\n", count, 100.0 * errors[count / 2],
                  100.0 * errors[count * 95 / 100]);
    assert_true(count >= 100 && errors[count / 2] < STEPS_MEDIAN && errors[count * 95 / 100] < STEPS_P95);
    km_cost_profile.destroy(cost);
    km_arena_release(&w.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launch_decides),
        cmocka_unit_test(small_chunks_leave_room),
        cmocka_unit_test(longest_sequence_ends_last),
        cmocka_unit_test(steps_as_a_server_forms_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
