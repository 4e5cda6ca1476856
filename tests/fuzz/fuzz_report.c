/* Bytes as the summary and the fleet of a run, with any number in any place, undefined ones too, and any
 * bytes in names: the table and the JSON hold no "nan" and no "inf", the JSON is JSON, and every key is
 * there. */
#include "fuzz/dice.h"
#include "report/report.h"
#include "support/finite.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at, *end;
};

static uint8_t byte(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static uint64_t count(struct input *in)
{
    static const uint64_t special[] = {0, 1, 2, 9, 1000, 999999, UINT32_MAX, UINT64_MAX};
    uint8_t kind = byte(in);
    return kind < 8 ? special[kind] : (uint64_t)kind << byte(in) % 56;
}

static double number(struct input *in)
{
    static const double special[] = {0, 1, -1, 1e-300, 1e300, 0.5, 1e-12, 999.9996, -0.0};
    uint8_t kind = byte(in);
    if (kind < sizeof special / sizeof *special)
        return special[kind];
    return kind < 32   ? (double)NAN
           : kind < 36 ? (double)INFINITY
                       : ldexp(1 + kind / 256.0, byte(in) % 200 - 100);
}

static const char *name(struct input *in)
{
    static char names[8][24];
    static size_t next;
    char *out = names[next++ % 8];
    size_t length = byte(in) % (sizeof names[0] - 1);
    for (size_t i = 0; i < length; i++)
        out[i] = (char)(byte(in) | 1); /* never the end */
    out[length] = '\0';
    return find_not_finite(out) ? "a name" : out;
}

static void latency(struct input *in, struct km_latency_summary *out)
{
    double *const numbers[] = {&out->mean_s, &out->ci95_s, &out->p50_s, &out->p90_s,
                               &out->p95_s,  &out->p99_s,  &out->max_s};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = number(in);
    out->count = count(in);
    out->warmup_count = count(in);
    out->ci95_batches = (uint32_t)count(in);
}

static void class_summary(struct input *in, struct km_class_summary *out)
{
    strcpy(out->name, name(in));
    out->requests = count(in);
    out->completed = count(in);
    out->rejected = count(in);
    out->abandoned = count(in);
    out->requests_per_s = number(in);
    out->goodput_per_s = number(in);
    for (int i = 0; i < KM_LATENCY_COUNT; i++)
        latency(in, &out->latency[i]);
}

static void slo(struct input *in, struct km_slo_outcome *out)
{
    out->term.metric = byte(in) % (KM_SLO_DEADLINE + 1);
    out->term.quantile = byte(in) & 1 ? -1 : byte(in) / 256.0;
    out->term.limit = 1e-3 * (1 + byte(in)); /* as the reader lets through */
    out->term.of_class = byte(in) & 1;
    strcpy(out->term.class_name, name(in));
    out->value = number(in);
    out->attained = byte(in) & 1;
    out->within = count(in);
    out->count = count(in);
    out->requests = count(in);
}

static void summary(struct input *in, struct km_summary *out)
{
    uint64_t *const counts[] = {
        &out->submitted,     &out->completed,     &out->rejected,    &out->abandoned,   &out->steps,
        &out->prompt_tokens, &out->output_tokens, &out->preemptions, &out->peak_blocks, &out->peak_in_system};
    double *const numbers[] = {&out->duration_s,          &out->requests_per_s,
                               &out->output_tokens_per_s, &out->total_tokens_per_s,
                               &out->step_mean_s,         &out->mean_batch_sequences,
                               &out->mean_batch_tokens,   &out->mean_blocks,
                               &out->prefix_hit_rate,     &out->busy_s,
                               &out->mean_in_system,      &out->goodput_per_s};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        *counts[i] = count(in);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = number(in);
    for (int i = 0; i < KM_LATENCY_COUNT; i++)
        latency(in, &out->latency[i]);
    out->verdict = (enum km_verdict)(byte(in) % 3);
    out->slo_count = byte(in) % 4;
    out->slo_stated = out->slo_count > 0;
    out->slo_attained = byte(in) & 1;
    out->class_count = byte(in) % 3;
    for (uint32_t i = 0; i < out->slo_count; i++)
        slo(in, &out->slo[i]);
    for (uint32_t i = 0; i < out->class_count; i++)
        class_summary(in, &out->classes[i]);
}

static void group(struct input *in, struct km_report_group *out)
{
    double *const numbers[] = {&out->mean_replicas, &out->replica_seconds,
                               &out->gpu_seconds,   &out->ttft.mean_s,
                               &out->ttft.p50_s,    &out->ttft.p99_s,
                               &out->tpot.mean_s,   &out->tpot.p99_s,
                               &out->e2e.mean_s,    &out->mfu,
                               &out->mbu,           &out->busy};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = number(in);
    out->device = name(in);
    out->layout = name(in);
    out->least_replicas = (uint32_t)count(in);
    out->most_replicas = (uint32_t)count(in);
    out->scale_ups = count(in);
    out->scale_downs = count(in);
    out->requests = count(in);
}

static void bill(struct input *in, struct km_bill *out)
{
    double *const numbers = (double *)out; /* nothing but doubles */
    for (size_t i = 0; i < sizeof *out / sizeof *numbers; i++)
        numbers[i] = number(in);
}

static void check(const struct km_report *report)
{
    static const char *const keys[] = {"scenario", "seed",  "requests", "duration_s",  "throughput",
                                       "ttft_s",   "steps", "kv",       "utilization", "fleet",
                                       "cost",     "slo",   "classes"};
    struct km_text json = {0}, table = {0};
    km_report_json(report, &json);
    km_report_text(report, &table);
    cJSON *parsed = cJSON_Parse(km_text_c(&json));
    if (!parsed || find_not_finite(km_text_c(&json)))
        fuzz_found(km_text_c(&json));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!cJSON_HasObjectItem(parsed, keys[i]))
            fuzz_found(keys[i]);
    if (find_not_finite(km_text_c(&table)))
        fuzz_found(km_text_c(&table));
    cJSON_Delete(parsed);
    km_text_release(&json);
    km_text_release(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    static struct km_summary of;
    struct km_bill paid;
    struct km_report_group groups[3];
    memset(&of, 0, sizeof of);
    memset(groups, 0, sizeof groups);
    summary(&in, &of);
    bill(&in, &paid);
    struct km_report report = {
        .summary = &of, .bill = &paid, .groups = groups, .group_count = 1 + byte(&in) % 3};
    for (size_t i = 0; i < report.group_count; i++)
        group(&in, &groups[i]);
    const char *notes[] = {name(&in)};
    struct km_reject_reason reasons[] = {{name(&in), count(&in)}};
    report.notes = notes;
    report.note_count = byte(&in) & 1;
    report.reasons = reasons;
    report.reason_count = byte(&in) & 1;
    report.kv_capacity_blocks = count(&in);
    report.mfu = number(&in);
    report.mbu = number(&in);
    report.busy = number(&in);
    report.gpu_seconds = number(&in);
    report.wall_s = number(&in);
    report.partial = byte(&in) & 1;
    report.router = "round_robin";
    report.policy = report.workload = report.model = "a name";
    report.version = "fuzz";
    check(&report);
    return 0;
}
