/* Bytes as the dice of a small search: `kingman plan` over a few candidates and a handful of requests. The
 * text and JSON hold numbers only; two workers find what one does; and the search that simulates everything
 * finds the same winner. */
#include "campaign/keys.h"
#include "fuzz/dice.h"
#include "report/plan_report.h"
#include "support/finite.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct words {
    const char *const *of; /* [count] */
    uint32_t count;
};
#define WORDS(...)                                                                                           \
    ((struct words){(const char *const[]){__VA_ARGS__},                                                      \
                    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)})

static const char *one(gsl_rng *dice, struct words words)
{
    return words.of[pick(dice, 0, words.count - 1)];
}

/* An axis of one or two values. */
static void axis(gsl_rng *dice, const char *key, struct words words, struct km_text *out)
{
    const char *first = one(dice, words), *second = one(dice, words);
    if (strcmp(first, second) == 0)
        km_text_printf(out, "  %s: [%s]\n", key, first);
    else
        km_text_printf(out, "  %s: [%s, %s]\n", key, first, second);
}

/* One draw a statement: the order in which arguments are evaluated is the compiler's. */
static void put_word(gsl_rng *dice, const char *key, struct words words, struct km_text *out)
{
    km_text_printf(out, "  %s: %s\n", key, one(dice, words));
}

static void put_count(gsl_rng *dice, const char *key, uint32_t low, uint32_t high, struct km_text *out)
{
    km_text_printf(out, "  %s: %u\n", key, pick(dice, low, high));
}

static void put_number(gsl_rng *dice, unsigned percent, const char *key, double low, double high,
                       struct km_text *out)
{
    if (chance(dice, percent))
        km_text_printf(out, "  %s: %.3g\n", key, spread(dice, low, high));
}

/* A recording of a few dozen requests in bursts, of up to four kinds: a synthetic load would be drawn 5,000
 * requests long. */
static void recording(gsl_rng *dice, struct km_text *out)
{
    uint32_t kinds = pick(dice, 1, 4), prompt[4], output[4];
    const uint32_t rows = pick(dice, 3, 60), burst = pick(dice, 1, 8);
    const double gap_s = spread(dice, 1e-3, 5);
    for (uint32_t i = 0; i < kinds; i++) {
        prompt[i] = pick(dice, 1, 900);
        output[i] = pick(dice, 1, 60);
    }
    km_text_puts(out, "arrival_s,prompt_tokens,output_tokens\n");
    for (uint32_t i = 0; i < rows; i++)
        km_text_printf(out, "%.9g,%u,%u\n", gap_s * (i / burst * burst), prompt[i % kinds],
                       output[i % kinds]);
}

static void workload(gsl_rng *dice, struct km_text *out)
{
    struct km_text rows = {0};
    recording(dice, &rows);
    fuzz_file("recording.csv", km_text_c(&rows));
    km_text_release(&rows);
    km_text_puts(out, "workload:\n  trace: recording.csv\n");
    put_number(dice, 20, "patience_s", 1e-3, 10, out);
}

static void targets(gsl_rng *dice, struct km_text *out)
{
    km_text_puts(out, "slo:\n");
    put_number(
        dice, 100,
        one(dice, WORDS("ttft_p50_s", "e2e_p50_s", "ttft_mean_s", "itl_p50_s", "queueing_delay_p50_s")), 1e-3,
        20, out);
    put_number(dice, 40, "tpot_p50_s", 1e-4, 1, out);
    put_number(dice, 15, "deadline_s", 0.1, 100, out);
    put_number(dice, 15, "min_goodput_per_s", 0.1, 100, out);
}

static void search(gsl_rng *dice, struct km_text *out)
{
    km_text_puts(out, "search:\n");
    put_word(dice, "objective", WORDS("usd_per_hour", "usd_per_million_tokens", "gpus", "energy"), out);
    put_count(dice, "max_gpus", 1, 8, out);
    if (chance(dice, 30))
        put_count(dice, "top", 1, 4, out);
    axis(dice, "cluster.device", WORDS("h200-sxm", "l40s", "a100-80g-sxm", "b200"), out);
    if (chance(dice, 50))
        axis(dice, "cluster.tensor_parallel_size", WORDS("1", "2", "4", "3"), out);
    if (chance(dice, 30))
        axis(dice, "engine.batching.max_num_seqs", WORDS("1", "4", "64"), out);
    if (chance(dice, 20))
        axis(dice, "precision.weights", WORDS("bf16", "fp8", "int4"), out);
    if (chance(dice, 20))
        axis(dice, "cluster.replicas", WORDS("1", "2", "3"), out);
    if (chance(dice, 15))
        axis(dice, "engine.batching.policy", WORDS("continuous", "request_level", "orca"), out);
}

static void check_output(const struct km_plan *plan)
{
    struct km_text text = {0}, json = {0}, scenario = {0};
    km_scenario_write_json(&plan->scenario, &scenario);
    const struct km_plan_report report = {
        .plan = plan, .scenario_json = km_text_c(&scenario), .version = "fuzz", .all = true};
    km_plan_report_text(&report, &text);
    km_plan_report_json(&report, &json);
    cJSON *parsed = cJSON_Parse(km_text_c(&json));
    if (!parsed || find_not_finite(km_text_c(&json)))
        fuzz_found(km_text_c(&json));
    if (find_not_finite(km_text_c(&text)))
        fuzz_found(km_text_c(&text));
    cJSON_Delete(parsed);
    km_text_release(&text);
    km_text_release(&json);
    km_text_release(&scenario);
}

static void same_winner(const struct km_plan *a, const struct km_plan *b, const char *what)
{
    if ((a->holding == 0) != (b->holding == 0))
        fuzz_found(what);
    if (a->holding && (a->entries[0].candidate->point != b->entries[0].candidate->point ||
                       a->entries[0].candidate->replicas != b->entries[0].candidate->replicas))
        fuzz_found(what);
}

static void plan(const char *path, bool thorough)
{
    struct km_error error = {0};
    struct km_plan first, second;
    const struct km_plan_options usual = {.workers = 1, .quick = true},
                                 others = {.workers = 2, .quick = true},
                                 all = {.workers = 1, .quick = true, .exhaustive = true};
    if (km_plan_create(path, NULL, 0, &usual, &first, &error) != KM_OK) {
        if (!error.message[0] || strchr(error.message, '\n'))
            fuzz_found("refused without a line");
        return;
    }
    check_output(&first);
    if (km_plan_create(path, NULL, 0, thorough ? &all : &others, &second, &error) != KM_OK)
        fuzz_found(error.message);
    check_output(&second);
    same_winner(&first, &second,
                thorough ? "the exhaustive search has another winner" : "two workers find another winner");
    km_plan_release(&first);
    km_plan_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct km_text yaml = {0};
    if (size == 0)
        return 0;
    gsl_rng *dice = fuzz_dice(data + 1, size - 1);
    km_text_printf(&yaml, "model: %s\ncluster: {device: h200-sxm}\n",
                   one(dice, WORDS("llama-3.2-1b", "gpt2", "llama-3.1-8b", "mixtral-8x7b")));
    if (chance(dice, 30))
        km_text_printf(&yaml, "engine: {kv: {num_gpu_blocks_override: %u}}\n", pick(dice, 4, 400));
    workload(dice, &yaml);
    targets(dice, &yaml);
    search(dice, &yaml);
    gsl_rng_free(dice);
    plan(fuzz_file("plan.yaml", km_text_c(&yaml)), data[0] & 1);
    km_text_release(&yaml);
    return 0;
}
