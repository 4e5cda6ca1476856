/* The approximation of continuous batching (src/queueing/continuous/continuous.h) against the event core, over models,
 * devices, engines, lengths and loads: prints the tables of tests/bench/continuous-approximation.md. Run it
 * in the repository's root.
 *
 *     continuous_grid [--azure TRACE.csv] [--requests N] [--seeds N] [CASE...]
 *
 * Load is the arrival rate over the throughput limit of the approximation, which is itself compared with the
 * throughput of a run at four times that rate. Errors are (approximation - simulation) / simulation; ci is
 * the simulation's 95 % half-width of the mean over the mean. Cases "azure-..." want the trace; its pairs of
 * lengths are drawn independently into a file in /tmp, except where the recorded order is the point. */
#include "base/random.h"
#include "base/text.h"
#include "scenario/fleet.h"
#include "scenario/queue_question.h"
#include "workload/trace/trace.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_OVERRIDES 16

struct grid_case {
    const char *name;
    const char *overrides[MOST_OVERRIDES]; /* key=value */
};

#define LENGTHS(prompt, output) "workload.prompt_tokens=" prompt, "workload.output_tokens=" output
#define AZURE                   "azure"   /* pairs of lengths drawn from the trace, independently */
#define AZURE_ORDERED           "ordered" /* in the trace's own order */

static const struct grid_case cases[] = {
    {"azure-8b-h200", {AZURE}},
    {"azure-ordered-8b-h200", {AZURE_ORDERED}},
    {"azure-8b-h200-ideal", {AZURE, "engine={name: ideal}"}},
    {"azure-8b-h200-sync", {AZURE, "engine.batching.async_scheduling=false"}},
    {"azure-8b-rtx4090", {AZURE, "cluster.device=rtx-4090"}},
    {"azure-70b-h100-tp4",
     {AZURE, "model=llama-3.1-70b", "cluster.device=h100-sxm", "cluster.tensor_parallel_size=4"}},
    {"azure-qwen3-30b-h200", {AZURE, "model=qwen3-30b-a3b"}},
    {"azure-gemma3-27b-h200", {AZURE, "model=gemma-3-27b"}},
    {"azure-8b-h200-seqs32", {AZURE, "engine.batching.max_num_seqs=32"}},
    {"azure-8b-h200-chunk512", {AZURE, "engine.batching.max_num_batched_tokens=512"}},
    {"azure-8b-h200-chunk2048", {AZURE, "engine.batching.max_num_batched_tokens=2048"}},
    {"azure-8b-h200-kv2000", {AZURE, "engine.kv.num_gpu_blocks_override=2000"}},
    {"chat-8b-h200",
     {LENGTHS("{distribution: lognormal, mean: 300, sd: 300, max: 8000}",
              "{distribution: lognormal, mean: 400, sd: 400, max: 4000}")}},
    {"constant-8b-h200", {LENGTHS("512", "256")}},
    {"decode-8b-h200",
     {LENGTHS("{distribution: uniform, min: 20, max: 200}", "{distribution: geometric, mean: 800}")}},
    {"prefill-8b-h200",
     {LENGTHS("{distribution: lognormal, mean: 4000, sd: 3000, max: 30000}",
              "{distribution: geometric, mean: 40}")}},
    {"short-1b-h200",
     {"model=llama-3.2-1b",
      LENGTHS("{distribution: geometric, mean: 100}", "{distribution: geometric, mean: 30}")}},
    {"chat-8b-l40s",
     {"cluster.device=l40s", LENGTHS("{distribution: lognormal, mean: 300, sd: 300, max: 8000}",
                                     "{distribution: lognormal, mean: 400, sd: 400, max: 4000}")}},
    {"chat-8b-h200-kv4000",
     {"engine.kv.num_gpu_blocks_override=4000",
      LENGTHS("{distribution: lognormal, mean: 300, sd: 300, max: 8000}",
              "{distribution: lognormal, mean: 400, sd: 400, max: 4000}")}},
    {"chat-70b-h200-pp2",
     {"model=llama-3.1-70b", "cluster.pipeline_parallel_size=2",
      LENGTHS("{distribution: lognormal, mean: 300, sd: 300, max: 8000}",
              "{distribution: lognormal, mean: 400, sd: 400, max: 4000}")}},
    {"azure-mixtral-h100-tp2",
     {AZURE, "model=mixtral-8x7b", "cluster.device=h100-sxm", "cluster.tensor_parallel_size=2"}},
    {"azure-dsv2-lite-h200", {AZURE, "model=deepseek-v2-lite"}},
    {"azure-8b-h200-sglang", {AZURE, "engine={name: sglang}"}},
    {"azure-8b-h200-threshold256", {AZURE, "engine.batching.long_prefill_token_threshold=256"}},
    {"azure-70b-mi300x", {AZURE, "model=llama-3.1-70b", "cluster.device=mi300x"}},
    {"summary-7b-b200",
     {"model=qwen2.5-7b", "cluster.device=b200",
      LENGTHS("{distribution: lognormal, mean: 6000, sd: 3000, max: 30000}",
              "{distribution: lognormal, mean: 250, sd: 120, max: 2000}")}},
    {"reason-32b-h100-tp2",
     {"model=qwen3-32b", "cluster.device=h100-sxm", "cluster.tensor_parallel_size=2",
      LENGTHS("{distribution: lognormal, mean: 200, sd: 200, max: 4000}",
              "{distribution: lognormal, mean: 3000, sd: 3000, max: 20000}")}},
};

#define LOADS   7
#define TTFT_AT 2 /* positions below: load 0.5 and 0.8 */
#define CI_AT   4
static const double loads[LOADS] = {0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95};

struct options {
    const char *azure, *drawn;
    const char *requests;
    unsigned seeds;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const struct km_error *error)
{
    char line[1200];
    km_error_format(error, line, sizeof line);
    fprintf(stderr, "continuous_grid: %s\n", line);
    exit(2);
}

/* A trace of `count` pairs of lengths drawn from the recorded ones: without the drift that the recorded order
 * has. */
static void draw_pairs(const char *trace, const char *path, unsigned long count)
{
    struct km_trace_reader *reader;
    struct km_error error;
    struct km_request request;
    uint32_t(*pairs)[2] = NULL;
    size_t capacity = 0, known = 0;
    bool found = true;
    if (km_trace_open(trace, NULL, &reader, &error) != KM_OK)
        stop(&error);
    for (;;) {
        if (km_trace_next(reader, &request, &found, &error) != KM_OK)
            stop(&error);
        if (!found)
            break;
        pairs = km_grow(pairs, &capacity, known + 1, sizeof *pairs);
        pairs[known][0] = request.prompt_tokens;
        pairs[known++][1] = request.output_tokens;
        km_request_release(&request);
    }
    km_trace_close(reader);
    FILE *out = fopen(path, "w");
    gsl_rng *rng = km_random_stream(1, KM_RANDOM_PROMPT_TOKENS);
    if (!out || known == 0) {
        fprintf(stderr, "continuous_grid: cannot draw from %s into %s\n", trace, path);
        exit(2);
    }
    fputs("arrival_s,prompt_tokens,output_tokens\n", out);
    for (unsigned long i = 0; i < count; i++) {
        const uint32_t *pair = pairs[gsl_rng_uniform_int(rng, known)];
        fprintf(out, "%lu,%u,%u\n", i, pair[0], pair[1]);
    }
    gsl_rng_free(rng);
    fclose(out);
    free(pairs);
}

static bool uses_azure(const struct grid_case *c)
{
    return c->overrides[0] &&
           (strcmp(c->overrides[0], AZURE) == 0 || strcmp(c->overrides[0], AZURE_ORDERED) == 0);
}

static void read_case(const struct grid_case *c, const struct options *options, struct km_scenario *out)
{
    struct km_override overrides[MOST_OVERRIDES + 8];
    char keys[MOST_OVERRIDES][128], workload[600];
    struct km_error error;
    size_t count = 0;
    bool azure = uses_azure(c);
    if (azure)
        snprintf(workload, sizeof workload, "{trace: %s, arrivals: {process: poisson, rate_per_s: 1}}",
                 strcmp(c->overrides[0], AZURE) == 0 ? options->drawn : options->azure);
    else
        snprintf(
            workload, sizeof workload,
            "{arrivals: {process: poisson, rate_per_s: 1}, prompt_tokens: 1, output_tokens: 1, requests: %s}",
            options->requests);
    overrides[count++] = (struct km_override){"workload", workload};
    overrides[count++] = (struct km_override){"slo", "{}"};
    for (size_t i = azure; i < MOST_OVERRIDES && c->overrides[i]; i++) {
        const char *equals = strchr(c->overrides[i], '=');
        snprintf(keys[i], sizeof keys[i], "%.*s", (int)(equals - c->overrides[i]), c->overrides[i]);
        overrides[count++] = (struct km_override){keys[i], equals + 1};
    }
    if (km_scenario_read("configs/quickstart.yaml", overrides, count, out, &error) != KM_OK)
        stop(&error);
}

struct measured {
    double e2e_s, ci, ttft_s, tpot_s, wait_s, running, throughput, preemptions;
};

/* Means over the seeds; the ci shrinks with their number. */
static void simulate(struct km_scenario *scenario, const struct km_fleet *fleet, double rate, unsigned seeds,
                     struct measured *out)
{
    *out = (struct measured){0};
    double squares = 0.0;
    scenario->workload.rate_per_s = rate;
    for (unsigned seed = 1; seed <= seeds; seed++) {
        struct km_run_result result;
        struct km_error error;
        const struct km_run_options options = {.fast_forward = true};
        if (km_fleet_run(fleet, &scenario->workload, seed, &options, &result, &error) != KM_OK)
            stop(&error);
        const struct km_summary *s = &result.summary;
        double part = 1.0 / seeds, completed = (double)s->completed;
        out->e2e_s += part * s->latency[KM_E2E].mean_s;
        squares += s->latency[KM_E2E].ci95_s * s->latency[KM_E2E].ci95_s;
        out->ttft_s += part * s->latency[KM_TTFT].mean_s;
        out->wait_s += part * s->latency[KM_QUEUEING_DELAY].mean_s;
        /* per token, not per request, as the approximation means it */
        out->tpot_s += part * (s->latency[KM_E2E].mean_s - s->latency[KM_TTFT].mean_s) * completed /
                       ((double)s->output_tokens - completed);
        out->running += part * (s->latency[KM_E2E].mean_s - s->latency[KM_QUEUEING_DELAY].mean_s) *
                        completed / s->duration_s;
        out->throughput += part * s->requests_per_s;
        out->preemptions += part * (double)s->preemptions / completed;
    }
    out->ci = sqrt(squares) / seeds / out->e2e_s;
}

static double percent(double approximation, double simulation)
{
    return 100.0 * (approximation / simulation - 1.0);
}

/* One line of the summary, errors in percent. */
struct summary {
    double limit, e2e[LOADS], ttft[LOADS], ci, slowest_ms;
};

static const char *const slots_by[] = {"sequences", "KV", "tokens"};

static void run_case(const struct grid_case *c, const struct options *options, struct km_text *details,
                     struct summary *out)
{
    struct km_scenario scenario;
    struct km_fleet fleet;
    struct km_error error;
    struct km_queue_question question;
    struct km_continuous_answer answer;
    struct measured m;
    read_case(c, options, &scenario);
    if (km_fleet_create(&scenario, &fleet, &error) != KM_OK ||
        km_queue_question_init(&question, fleet.groups, &error) != KM_OK)
        stop(&error);
    question.continuous.arrival_rate_per_s = 1e-6;
    if (km_continuous_solve(&question.continuous, &answer, &error) != KM_OK)
        stop(&error);
    double limit = answer.stable_below_per_s;
    simulate(&scenario, &fleet, 4.0 * limit, 1, &m);
    *out = (struct summary){.limit = percent(limit, m.throughput)};
    struct km_law_fit law = {0};
    struct km_service_fit service = {0};
    if (km_law_fit_find(&question.fit, &law, &error) != KM_OK ||
        km_service_fit_find(&question.fit, &service, &error) != KM_OK)
        stop(&error);
    km_text_printf(
        details,
        "\n### %s\n\nLimit %.4g requests/s, simulated %.4g (%+.1f %%), preemptions %.2f a request; M = %.4g "
        "by "
        "%s; law up to b = %u: "
        "k1 %.3g k2 %.3g k3 %.3g k4 %.3g, rms %.1f %% max %.1f %%%s; S = %.4g N + %.3g, rms %.1f %% max "
        "%.1f %%\n\n",
        c->name, limit, m.throughput, percent(limit, m.throughput), m.preemptions, answer.slots,
        slots_by[answer.slots_by], question.fit.max_batch, law.law.k1, law.law.k2, law.law.k3, law.law.k4,
        100 * law.quality.rms_relative, 100 * law.quality.max_relative, law.quality.poor ? " (poor)" : "",
        service.a_s, service.c_s, 100 * service.quality.rms_relative, 100 * service.quality.max_relative);
    km_text_printf(
        details,
        "| load | rate /s | E2E s | ci %% | E2E err %% | TTFT s | err %% | TPOT ms | err %% | wait err %% | "
        "running | err %% | "
        "preempted | prefill share | ms |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < LOADS; i++) {
        double rate = loads[i] * limit;
        simulate(&scenario, &fleet, rate, options->seeds, &m);
        question.continuous.arrival_rate_per_s = rate;
        double start_s = now_s();
        if (km_continuous_solve(&question.continuous, &answer, &error) != KM_OK)
            stop(&error);
        double took_ms = 1e3 * (now_s() - start_s);
        out->e2e[i] = percent(answer.mean_e2e_s, m.e2e_s);
        out->ttft[i] = percent(answer.mean_ttft_s, m.ttft_s);
        out->slowest_ms = fmax(out->slowest_ms, took_ms);
        if (i == CI_AT)
            out->ci = 100.0 * m.ci;
        km_text_printf(
            details,
            "| %.2f | %.4g | %.4g | %.1f | **%+.1f** | %.4g | %+.0f | %.4g | %+.1f | %+.0f | %.4g | %+.1f "
            "| %.2f | %.2f | %.1f |\n",
            loads[i], rate, m.e2e_s, 100.0 * m.ci, percent(answer.mean_e2e_s, m.e2e_s), m.ttft_s,
            percent(answer.mean_ttft_s, m.ttft_s), 1e3 * m.tpot_s, percent(answer.mean_tpot_s, m.tpot_s),
            percent(answer.mean_wait_s, m.wait_s), m.running, percent(answer.mean_running, m.running),
            m.preemptions, answer.prefill_share, took_ms);
    }
    km_queue_question_release(&question);
    km_fleet_release(&fleet);
    km_scenario_release(&scenario);
}

static void print_row(const struct grid_case *c, const struct summary *row)
{
    printf("| %s | %+.1f |", c->name, row->limit);
    for (size_t i = 0; i < LOADS; i++)
        printf(" %+.1f |", row->e2e[i]);
    printf(" %.1f | %+.0f | %+.0f | %.1f |\n", row->ci, row->ttft[TTFT_AT], row->ttft[CI_AT],
           row->slowest_ms);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct options options = {.requests = "30000", .seeds = 1};
    int first = 1;
    for (; first + 1 < argc && strncmp(argv[first], "--", 2) == 0; first += 2) {
        if (strcmp(argv[first], "--azure") == 0)
            options.azure = argv[first + 1];
        else if (strcmp(argv[first], "--requests") == 0)
            options.requests = argv[first + 1];
        else if (strcmp(argv[first], "--seeds") == 0)
            options.seeds = (unsigned)strtoul(argv[first + 1], NULL, 10);
        else
            return 2;
    }
    char drawn[64];
    snprintf(drawn, sizeof drawn, "/tmp/continuous-grid-%ld.csv", (long)getpid());
    options.drawn = drawn;
    if (options.azure)
        draw_pairs(options.azure, drawn, strtoul(options.requests, NULL, 10));
    struct km_text details = {0};
    printf("| case | limit | 0.10 | 0.30 | 0.50 | 0.70 | 0.80 | 0.90 | 0.95 | ci at 0.80 | TTFT at 0.50 | "
           "TTFT at 0.80 | slowest ms |\n"
           "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct summary row;
        bool wanted = first >= argc;
        for (int a = first; a < argc; a++)
            wanted |= strcmp(argv[a], cases[i].name) == 0;
        if (wanted && !options.azure && uses_azure(&cases[i]))
            wanted = false;
        if (wanted)
            run_case(&cases[i], &options, &details, &row);
        if (wanted)
            print_row(&cases[i], &row);
    }
    fputs(km_text_c(&details), stdout);
    km_text_release(&details);
    if (options.azure)
        remove(drawn);
    return 0;
}
