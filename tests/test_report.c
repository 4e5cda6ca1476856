#include "report/report.h"

#include "base/file.h"
#include "base/random.h"
#include "base/simtime.h"
#include "report/json_writer.h"

#include <cjson/cJSON.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct km_slo_term slo[] = {
    {KM_TTFT, 0.99, 2.0, false, ""}, {KM_TPOT, -1, 0.05, false, ""}, {KM_E2E, 0.999, 0.25, false, ""}};

/* Two thousand requests, 10 ms apart, TTFT 50 ms, then four gaps of 20 ms; some rejected. */
static void summary_of_a_run(struct km_summary *out)
{
    struct km_metrics *m = km_metrics_create(&(struct km_metrics_settings){slo, 3});
    const uint64_t ms = 1000000000;
    for (uint64_t i = 0; i < 2013; i++) {
        uint64_t at = i * 10 * ms;
        km_metrics_arrival(m, at);
        if (i >= 2000) {
            km_metrics_request(m, KM_REJECTED, &(struct km_record){.arrival_ps = at}, at);
            continue;
        }
        struct km_record r = {.id = i,
                              .arrival_ps = at,
                              .scheduled_ps = at + ms,
                              .started_ps = at + 2 * ms,
                              .first_token_ps = at + 50 * ms,
                              .last_token_ps = at + 130 * ms,
                              .prompt_tokens = 100,
                              .output_tokens = 5};
        km_metrics_gaps(m, 20 * ms, 0, 4, 1);
        km_metrics_request(m, KM_COMPLETED, &r, r.last_token_ps);
    }
    km_metrics_steps(m, 1000, 8, 100, 20000 * ms);
    km_metrics_kv(m, 20.12 * 40, 80);
    km_metrics_prefix(m, 200000, 50000);
    km_metrics_summarize(m, out);
    km_metrics_destroy(m);
}

static const struct km_reject_reason reasons[] = {{"prompt and output exceed max_model_len", 13}};
static const char *const notes[] = {"decode attention beyond the profile's \"range\""};

static struct km_report report_of(const struct km_summary *summary)
{
    return (struct km_report){
        .summary = summary,
        .model = "llama-3.1-8b",
        .device = "h200-sxm",
        .layout = "2 replicas x TP 1 x PP 1",
        .policy = "continuous, kv paged",
        .workload = "traces/conversation.csv",
        .scenario_json = "{\"model\": \"llama-3.1-8b\"}",
        .seed = 18446744073709551615ULL,
        .kv_capacity_blocks = 1000,
        .mfu = 0.25,
        .mbu = 0.5,
        .busy = 0.75,
        .reasons = reasons,
        .reason_count = 1,
        .notes = notes,
        .note_count = 1,
        .wall_s = 0.002,
        .events = 12345,
        .version = "0.1.0",
    };
}

/* The value at a path such as "kv.peak_blocks"; fails the test when a key is missing. */
static const cJSON *at(const cJSON *root, const char *path)
{
    char copy[100], *rest = copy;
    snprintf(copy, sizeof copy, "%s", path);
    const cJSON *value = root;
    for (char *key; (key = strtok_r(rest, ".", &rest));) {
        value = cJSON_GetObjectItemCaseSensitive(value, key);
        if (!value)
            fail_msg("%s: no such key", path);
    }
    return value;
}

static const char *const keys[] = {
    "schema",
    "scenario",
    "seed",
    "partial",
    "requests.submitted",
    "requests.completed",
    "requests.rejected",
    "requests.abandoned",
    "requests.preemptions",
    "requests.rejected_reasons",
    "duration_s",
    "throughput.requests_per_s",
    "throughput.output_tokens_per_s",
    "throughput.total_tokens_per_s",
    "ttft_s.mean",
    "ttft_s.ci95",
    "ttft_s.p50",
    "ttft_s.p90",
    "ttft_s.p95",
    "ttft_s.p99",
    "ttft_s.max",
    "ttft_s.too_few_samples_for",
    "tpot_s.mean",
    "itl_s.mean",
    "e2e_s.mean",
    "queueing_delay_s.mean",
    "normalized_latency_s.mean",
    "steps.count",
    "steps.mean_s",
    "steps.mean_batch_sequences",
    "steps.mean_batch_tokens",
    "kv.capacity_blocks",
    "kv.peak_blocks",
    "kv.mean_utilization",
    "kv.prefix_hit_rate",
    "utilization.mfu",
    "utilization.mbu",
    "utilization.busy",
    "stability.verdict",
    "slo.attained",
    "slo.goodput_per_s",
    "slo.terms",
    "classes",
    "classes_left_out",
    "cost.gpus",
    "cost.gpu_hours",
    "cost.usd_per_hour",
    "cost.usd",
    "cost.electricity_usd",
    "cost.input_share",
    "cost.usd_per_million_input_tokens",
    "cost.usd_per_million_output_tokens",
    "cost.usd_per_million_tokens",
    "cost.mean_power_w",
    "cost.energy_j",
    "cost.site_energy_j",
    "cost.energy_per_output_token_j",
    "cost.gco2",
    "cost.gco2_per_million_tokens",
    "notes",
    "simulator.wall_s",
    "simulator.events",
    "simulator.version",
};

static void json_has_every_key(void **state)
{
    (void)state;
    struct km_summary summary;
    summary_of_a_run(&summary);
    struct km_report report = report_of(&summary);
    struct km_text text = {0};
    km_report_json(&report, &text);
    cJSON *root = cJSON_ParseWithOpts(km_text_c(&text), NULL, 1);
    assert_non_null(root);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        at(root, keys[i]);
    static const struct {
        const char *path;
        double value;
    } values[] = {
        {"schema", 1},
        {"requests.submitted", 2013},
        {"requests.rejected", 13},
        {"duration_s", 20.12},
        {"throughput.requests_per_s", 2000 / 20.12},
        {"ttft_s.mean", 0.05},
        {"ttft_s.ci95", 0},
        {"tpot_s.max", 0.02},
        {"itl_s.count", 8000},
        {"queueing_delay_s.mean", 0.001},
        {"normalized_latency_s.mean", 0.026},
        {"kv.capacity_blocks", 1000},
        {"kv.mean_utilization", 0.04},
        {"kv.prefix_hit_rate", 0.25},
        {"utilization.mbu", 0.5},
        {"slo.goodput_per_s", 2000 / 20.12},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        if (!(fabs(at(root, values[i].path)->valuedouble - values[i].value) <= 1e-9 * values[i].value))
            fail_msg("%s: %.17g", values[i].path, at(root, values[i].path)->valuedouble);
    assert_string_equal(at(root, "scenario.model")->valuestring, "llama-3.1-8b");
    assert_string_equal(at(root, "stability.verdict")->valuestring, "stable");
    assert_true(cJSON_IsTrue(at(root, "slo.attained")));
    assert_true(cJSON_IsFalse(at(root, "partial")));
    const cJSON *terms = at(root, "slo.terms");
    assert_int_equal(cJSON_GetArraySize(terms), 3);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(cJSON_GetArrayItem(terms, 1), "quantile")));
    assert_string_equal(cJSON_GetArrayItem(at(root, "notes"), 0)->valuestring, notes[0]);
    /* 64-bit integers are written in full. */
    assert_non_null(strstr(km_text_c(&text), "\"seed\": 18446744073709551615"));
    cJSON_Delete(root);
    km_text_release(&text);
}

/* With nothing run, the same keys in the same order, null where undefined; and no "nan" anywhere. */
static void json_of_nothing(void **state)
{
    (void)state;
    struct km_metrics *m = km_metrics_create(&(struct km_metrics_settings){0});
    struct km_summary summary;
    km_metrics_summarize(m, &summary);
    km_metrics_destroy(m);
    struct km_report report = {
        .summary = &summary, .mfu = (double)NAN, .mbu = (double)NAN, .busy = (double)NAN};
    struct km_text text = {0};
    km_report_json(&report, &text);
    cJSON *root = cJSON_ParseWithOpts(km_text_c(&text), NULL, 1);
    assert_non_null(root);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        at(root, keys[i]);
    static const char *const nulls[] = {
        "scenario",           "duration_s",          "ttft_s.mean",     "ttft_s.ci95",      "steps.mean_s",
        "kv.capacity_blocks", "kv.mean_utilization", "slo.attained",    "cost.usd",         "cost.energy_j",
        "cost.gco2",          "slo.goodput_per_s",   "utilization.mfu", "simulator.version"};
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++)
        if (!cJSON_IsNull(at(root, nulls[i])))
            fail_msg("%s is not null", nulls[i]);
    assert_null(strstr(km_text_c(&text), "nan"));
    assert_null(strstr(km_text_c(&text), "inf"));
    cJSON_Delete(root);
    km_text_reset(&text);
    km_report_text(&report, &text);
    assert_null(strstr(km_text_c(&text), "nan"));
    assert_non_null(strstr(km_text_c(&text), "0 completed of 0"));
    km_text_release(&text);
}

static void numbers_read_back(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(1, KM_RANDOM_ARRIVALS);
    for (int i = 0; i < 20000; i++) {
        double value = i % 2 ? gsl_rng_uniform(rng) * pow(10, gsl_ran_flat(rng, -300, 300))
                             : (double)gsl_rng_uniform_int(rng, 100000) / 1000;
        struct km_text text = {0};
        km_json_put_number(&(struct km_json_writer){.out = &text}, NULL, value);
        assert_true(strtod(km_text_c(&text), NULL) == value);
        if (i % 2 == 0)
            assert_true(text.length <= 6); /* 12.345, not 12.345000000000001 */
        km_text_release(&text);
    }
    gsl_rng_free(rng);
}

static void strings_are_escaped(void **state)
{
    (void)state;
    const char *nasty = "a\"b\\c\n\t\x01 é";
    struct km_text text = {0};
    struct km_json_writer w = {.out = &text};
    km_json_put_open(&w, NULL, '[');
    km_json_put_string(&w, NULL, nasty);
    km_json_put_string(&w, NULL, NULL);
    km_json_put_close(&w, ']');
    cJSON *root = cJSON_Parse(km_text_c(&text));
    assert_non_null(root);
    assert_string_equal(cJSON_GetArrayItem(root, 0)->valuestring, nasty);
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(root, 1)));
    cJSON_Delete(root);
    km_text_release(&text);
}

static void text_for_a_person(void **state)
{
    (void)state;
    struct km_summary summary;
    summary_of_a_run(&summary);
    struct km_report report = report_of(&summary);
    struct km_text text = {0};
    km_report_text(&report, &text);
    static const char want[] =
        "llama-3.1-8b on h200-sxm, 2 replicas x TP 1 x PP 1, continuous, kv paged\n"
        "workload: traces/conversation.csv\n"
        "\n"
        "requests    2,000 completed of 2,013, 13 rejected\n"
        "            13 rejected: prompt and output exceed max_model_len\n"
        "duration    20.1 s\n"
        "throughput  99.4 requests/s, 497 output tokens/s, 10,437 tokens/s\n"
        "load        stable\n"
        "\n"
        "latency          mean     ±95 %      p50      p90      p95      p99      max\n"
        "TTFT          50.0 ms       0 s  50.0 ms  50.0 ms  50.0 ms  50.0 ms  50.0 ms\n"
        "TPOT          20.0 ms       0 s  20.0 ms  20.0 ms  20.0 ms  20.0 ms  20.0 ms\n"
        "ITL           20.0 ms       0 s  20.0 ms  20.0 ms  20.0 ms  20.0 ms  20.0 ms\n"
        "queueing      1.00 ms       0 s  1.00 ms  1.00 ms  1.00 ms  1.00 ms  1.00 ms\n"
        "E2E/token     26.0 ms       0 s  26.0 ms  26.0 ms  26.0 ms  26.0 ms  26.0 ms\n"
        "E2E            130 ms       0 s   130 ms   130 ms   130 ms   130 ms   130 ms\n"
        "\n"
        "steps       1,000 of 20.0 ms, with 8.00 sequences and 100 tokens on average\n"
        "KV cache    1,000 blocks, 4.0 % used on average, 8.0 % at the peak, prefix hits 25.0 %\n"
        "utilisation busy 75.0 %, MFU 25.0 %, MBU 50.0 %\n"
        "SLO         met, goodput 99.4 requests/s\n"
        "            ttft p99 50.0 ms, limit 2.00 s\n"
        "            tpot mean 20.0 ms, limit 50.0 ms\n"
        "            e2e p99.9 130 ms, limit 250 ms (too few requests to tell)\n"
        "note        decode attention beyond the profile's \"range\"\n"
        "simulator   2.00 ms wall, 12,345 events, 1,000,000 requests/s, seed 18446744073709551615\n";
    assert_string_equal(km_text_c(&text), want);

    summary.verdict = KM_SATURATED;
    summary.waiting_at_last_arrival = 12345;
    summary.slo_attained = false;
    summary.slo[0].attained = false;
    summary.slo[0].value = 1234.5;
    summary.latency[KM_TTFT].mean_s = 0.0000125;
    summary.latency[KM_TTFT].ci95_s = (double)NAN;
    report.partial = true;
    km_text_reset(&text);
    km_report_text(&report, &text);
    static const char *const lines[] = {
        "13 rejected (partial: stopped early)\n",
        "saturated: more than the system can serve; 12,345 requests waited when the arrivals ended\n",
        "SLO         MISSED, goodput",
        "ttft p99 1,234 s, limit 2.00 s  MISSED\n",
        "TTFT          12.5 us         -  50.0 ms",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!strstr(km_text_c(&text), lines[i]))
            fail_msg("not in the table: %s", lines[i]);
    summary.verdict = KM_UNKNOWN;
    km_text_reset(&text);
    km_report_text(&report, &text);
    assert_non_null(strstr(km_text_c(&text), "unknown: too short"));

    static const struct {
        bool partial, refused;
        const char *line, *verdict;
    } verdicts[] = {
        {true, false, "SLO         undecided: stopped early, goodput", "undecided"},
        {false, true, "SLO         MISSED: the engine does not start, goodput", "missed"},
        {true, true, "SLO         MISSED: the engine does not start, goodput", "missed"},
        {false, false, "SLO         MISSED, goodput", "missed"},
    };
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        summary.partial = report.partial = verdicts[i].partial;
        summary.refused = verdicts[i].refused;
        km_text_reset(&text);
        km_report_text(&report, &text);
        if (!strstr(km_text_c(&text), verdicts[i].line))
            fail_msg("not in the table: %s\n%s", verdicts[i].line, km_text_c(&text));
        assert_true(!verdicts[i].partial == !!strstr(km_text_c(&text), "limit 2.00 s  MISSED"));
        km_text_reset(&text);
        km_report_json(&report, &text);
        cJSON *root = cJSON_ParseWithOpts(km_text_c(&text), NULL, 1);
        assert_string_equal(at(root, "slo.verdict")->valuestring, verdicts[i].verdict);
        assert_true(strcmp(verdicts[i].verdict, "missed") == 0 ? cJSON_IsFalse(at(root, "slo.attained"))
                                                               : cJSON_IsNull(at(root, "slo.attained")));
        cJSON_Delete(root);
    }
    km_text_release(&text);
}

/* A hundred requests of two tokens: ten are beyond their p90, five beyond their p95, one beyond their p99;
 * and of the gaps, as many as there are requests count. */
static void too_few_samples(void **state)
{
    (void)state;
    static const struct km_slo_term terms[] = {{KM_TTFT, 0.9, 1, false, ""}, {KM_TTFT, 0.95, 1, false, ""}};
    struct km_metrics *m = km_metrics_create(&(struct km_metrics_settings){terms, 2});
    const uint64_t ms = 1000000000;
    for (uint64_t i = 0; i < 100; i++) {
        struct km_record r = {.arrival_ps = i * ms,
                              .scheduled_ps = i * ms,
                              .started_ps = i * ms,
                              .first_token_ps = (i + 50) * ms,
                              .last_token_ps = (i + 70) * ms,
                              .prompt_tokens = 10,
                              .output_tokens = 2};
        km_metrics_arrival(m, i * ms);
        km_metrics_gaps(m, 20 * ms, 0, 1, 1000); /* far more gaps than requests */
        km_metrics_request(m, KM_COMPLETED, &r, r.last_token_ps);
    }
    struct km_summary summary;
    km_metrics_summarize(m, &summary);
    km_metrics_destroy(m);
    const struct km_report report = {.summary = &summary};
    struct km_text text = {0};
    km_report_text(&report, &text);
    static const char *const lines[] = {
        "50.0 ms  50.0 ms  50.0 ms? 50.0 ms? 50.0 ms\n",
        "20.0 ms  20.0 ms  20.0 ms? 20.0 ms? 20.0 ms\n",
        "\n?           fewer than 10 requests beyond it: too few to tell\n\n",
        "ttft p90 50.0 ms, limit 1.00 s\n",
        "ttft p95 50.0 ms, limit 1.00 s (too few requests to tell)\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!strstr(km_text_c(&text), lines[i]))
            fail_msg("not in the table: %s\n%s", lines[i], km_text_c(&text));
    km_text_reset(&text);
    km_report_json(&report, &text);
    cJSON *root = cJSON_ParseWithOpts(km_text_c(&text), NULL, 1);
    assert_non_null(root);
    assert_string_equal(at(root, "ttft_s.too_few_samples_for")->valuestring, "p95, p99");
    assert_string_equal(at(root, "itl_s.too_few_samples_for")->valuestring, "p95, p99");
    assert_true(cJSON_IsFalse(at(cJSON_GetArrayItem(at(root, "slo.terms"), 0), "too_few_samples")));
    assert_true(cJSON_IsTrue(at(cJSON_GetArrayItem(at(root, "slo.terms"), 1), "too_few_samples")));
    cJSON_Delete(root);
    km_text_release(&text);
}

/* Classes, terms of classes that are missed, and the bill. */
static void classes_and_cost(void **state)
{
    (void)state;
    static const struct km_slo_term terms[] = {{KM_SLO_DEADLINE, 0, 1, true, "chat"},
                                               {KM_TTFT, -1, 1, true, "nobody"},
                                               {KM_SLO_GOODPUT, 0, 9, false, ""}};
    struct km_metrics *m = km_metrics_create(&(struct km_metrics_settings){terms, 3});
    const uint64_t ms = 1000000000;
    km_metrics_class(m, 1, "chat");
    for (uint64_t i = 0; i < 4; i++) {
        struct km_record r = {.arrival_ps = i * 500 * ms,
                              .scheduled_ps = i * 500 * ms,
                              .started_ps = i * 500 * ms,
                              .first_token_ps = (i * 500 + 100) * ms,
                              .last_token_ps = (i * 500 + 300) * ms,
                              .prompt_tokens = 10,
                              .output_tokens = 3,
                              .class_index = i % 2};
        km_metrics_arrival(m, r.arrival_ps);
        km_metrics_request(m, KM_COMPLETED, &r, r.last_token_ps);
    }
    struct km_summary summary;
    km_metrics_summarize(m, &summary);
    km_metrics_destroy(m);
    const struct km_bill bill = {.gpus = 2,
                                 .usd_per_hour = 7,
                                 .usd = 0.0035,
                                 .usd_per_million_input_tokens = 12.5,
                                 .usd_per_million_output_tokens = (double)NAN,
                                 .mean_power_w = 1000,
                                 .energy_j = 1800,
                                 .energy_per_output_token_j = 150,
                                 .site_energy_j = 3.6e6,
                                 .gco2 = 445};
    const struct km_report report = {.summary = &summary, .bill = &bill};
    struct km_text text = {0};
    km_report_text(&report, &text);
    static const char *const lines[] = {
        ("cost        2.00 GPUs, 7.00 USD an hour, 0.0035 USD in all; a million tokens: input 12.50 USD, "
         "output - USD\n"),
        "energy      1,000 W on average, 150.00 J an output token; with the site 1.00 kWh, 445.00 g CO2\n",
        "class        completed TTFT p50",
        ("(none)               2 100.0 ms?100.0 ms?100.0 ms?100.0 ms?  300 ms?  300 ms?\n"
         "chat                 2"),
        "?           fewer than 10 requests beyond it: too few to tell\n\nsteps",
        "chat                 2 100.0 ms",
        "chat deadline 1.80 s, limit 1.00 s  MISSED: 1 of 2 requests completed by then\n",
        "nobody ttft mean -, limit 1.00 s  MISSED: no request of class nobody\n",
        "goodput 2.22/s, limit 9.00/s  MISSED\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!strstr(km_text_c(&text), lines[i]))
            fail_msg("not in the table: %s\n%s", lines[i], km_text_c(&text));
    km_text_reset(&text);
    km_report_json(&report, &text);
    cJSON *root = cJSON_ParseWithOpts(km_text_c(&text), NULL, 1);
    assert_non_null(root);
    assert_int_equal(cJSON_GetArraySize(at(root, "classes")), 2);
    assert_true(cJSON_IsNull(at(root, "cost.usd_per_million_output_tokens")));
    const cJSON *deadline = cJSON_GetArrayItem(at(root, "slo.terms"), 0);
    assert_string_equal(at(deadline, "term")->valuestring, "classes.chat.deadline_s");
    assert_int_equal(at(deadline, "within")->valueint, 1);
    assert_true(cJSON_IsFalse(at(deadline, "attained")));
    cJSON_Delete(root);
    km_text_release(&text);
}

static char *slurp(const char *path)
{
    char *text = NULL;
    size_t bytes;
    struct km_error error;
    assert_int_equal(km_file_read(path, 1 << 20, &text, &bytes, &error), KM_OK);
    return text;
}

static void csv_rows(void **state)
{
    (void)state;
    char folder[] = "/tmp/kingman-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/requests.csv", folder);
    struct km_requests_csv csv;
    struct km_error error;
    assert_int_equal(km_requests_csv_open(&csv, path, &error), KM_OK);
    km_requests_csv_row(&csv, KM_COMPLETED,
                        &(struct km_record){.id = 7,
                                            .arrival_ps = 0,
                                            .queued_ps = 1,
                                            .scheduled_ps = 1,
                                            .delivery_ps = KM_PS_PER_S / 2,
                                            .started_ps = KM_PS_PER_S,
                                            .first_token_ps = 1234567890123456789ULL,
                                            .last_token_ps = 4000000500000000000ULL,
                                            .prompt_tokens = 4294967295U,
                                            .output_tokens = 2,
                                            .preemptions = 3,
                                            .replica = 1});
    km_requests_csv_row(
        &csv, KM_REJECTED,
        &(struct km_record){.id = 8, .arrival_ps = 10, .prompt_tokens = 5, .output_tokens = 6});
    km_requests_csv_row(
        &csv, KM_ABANDONED,
        &(struct km_record){.label = "a,\"b\"", .arrival_ps = 1500000000000, .output_tokens = 1});
    assert_false(km_file_exists(path)); /* absent until complete */
    assert_int_equal(km_outfile_commit(&csv.file, &error), KM_OK);
    km_requests_csv_abort(&csv);
    char *text = slurp(path);
    assert_string_equal(text,
                        "id,arrival_s,prompt_tokens,output_tokens,scheduled_s,started_s,first_token_s,"
                        "last_token_s,preemptions,replica,queued_s,client_first_s,client_last_s\n"
                        "7,0,4294967295,2,0.000000000001,1,1234567.890123456789,4000000.5,3,1,0.000000000001,"
                        "1234568.390123456789,4000001\n"
                        "8,0.00000000001,5,6,,,,,0,,,,\n"
                        "\"a,\"\"b\"\"\",1.5,0,1,,,,,0,,,,\n");
    free(text);

    /* An aborted run leaves the old file alone, and nothing beside it. */
    assert_int_equal(km_requests_csv_open(&csv, path, &error), KM_OK);
    km_requests_csv_abort(&csv);
    text = slurp(path);
    assert_non_null(strstr(text, "1234567.890123456789"));
    free(text);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);

    assert_int_equal(km_requests_csv_open(&csv, "/nonexistent/requests.csv", &error), KM_IO);
    assert_non_null(strstr(error.message, "cannot write"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_every_key), cmocka_unit_test(json_of_nothing),
        cmocka_unit_test(numbers_read_back),  cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(classes_and_cost),   cmocka_unit_test(text_for_a_person),
        cmocka_unit_test(too_few_samples),    cmocka_unit_test(csv_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
