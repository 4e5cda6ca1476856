/* Bursts through a pipeline of two, as vLLM 0.26 ran them: Llama-3.1-70B on two H200
 * (../shared/data/vllm-h200-more/llama70b-pp2). Skipped without the recording.
 *
 * The recording says when the engine's loop took each request in, which is what decides the batches; what came
 * within 10 ms of each other came at once. */
#include "scenario/fleet.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FOLDER KM_SOURCE_DIR "/../shared/data/vllm-h200-more/llama70b-pp2/"
#define MOST   64
#define OFF    0.10 /* of TTFT and TPOT */

struct times {
    double arrival_s, first_s, last_s;
    unsigned prompt, output;
};

struct recording {
    struct times requests[MOST]; /* by arrival, then as they were served */
    size_t count;
};

static int sign(double difference)
{
    return (difference > 0) - (difference < 0);
}

static int in_service(const void *a, const void *b)
{
    const struct times *x = a, *y = b;
    const int by_arrival = sign(x->arrival_s - y->arrival_s);
    return by_arrival ? by_arrival : sign(x->first_s - y->first_s);
}

static bool read_recording(const char *name, struct recording *out)
{
    char path[512], line[512];
    snprintf(path, sizeof path, FOLDER "%s.csv", name);
    FILE *file = fopen(path, "r");
    *out = (struct recording){0};
    if (!file)
        return false;
    assert_non_null(fgets(line, sizeof line, file));
    assert_non_null(strstr(line, "sent_s,queued_s,scheduled_s,first_token_s,last_token_s"));
    while (fgets(line, sizeof line, file)) {
        struct times *t = &out->requests[out->count++];
        double queued_s;
        assert_true(out->count <= MOST);
        assert_int_equal(sscanf(line, "%*f,%u,%u,%*u,%*u,%*f,%lf,%*f,%lf,%lf", &t->prompt, &t->output,
                                &queued_s, &t->first_s, &t->last_s),
                         5);
        t->arrival_s = floor(queued_s * 100.0) / 100.0;
    }
    fclose(file);
    qsort(out->requests, out->count, sizeof *out->requests, in_service);
    return true;
}

struct played {
    struct times by_id[MOST];
    size_t count;
};

static void keep(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct played *played = context;
    assert_int_equal(outcome, KM_COMPLETED);
    played->by_id[record->id] = (struct times){.arrival_s = (double)record->arrival_ps * 1e-12,
                                               .first_s = (double)record->first_token_ps * 1e-12,
                                               .last_s = (double)record->last_token_ps * 1e-12};
    played->count++;
}

static void play(const struct recording *recording, struct played *out)
{
    char trace[] = "/tmp/kingman-recorded-XXXXXX";
    int descriptor = mkstemp(trace);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    assert_non_null(file);
    fputs("arrival_s,prompt_tokens,output_tokens\n", file);
    for (size_t i = 0; i < recording->count; i++)
        fprintf(file, "%.3f,%u,%u\n", recording->requests[i].arrival_s, recording->requests[i].prompt,
                recording->requests[i].output);
    fclose(file);
    const struct km_override overrides[] = {
        {"model", "llama-3.1-70b"},
        {"cluster.device", "h200-sxm"},
        {"cluster.pipeline_parallel_size", "2"},
        {"engine.kv.num_gpu_blocks_override", "23678"},
        {"engine.host.ingest_s", "0"},
        {"workload.trace", trace},
    };
    struct km_scenario scenario;
    struct km_fleet fleet;
    struct km_run_result result;
    struct km_error error = {0};
    const struct km_run_options options = {.fast_forward = true, .ended = keep, .context = out};
    *out = (struct played){0};
    if (km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides,
                         sizeof overrides / sizeof *overrides, &scenario, &error) != KM_OK ||
        km_fleet_create(&scenario, &fleet, &error) != KM_OK ||
        km_fleet_run(&fleet, &scenario.workload, 1, &options, &result, &error) != KM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(out->count, recording->count);
    km_fleet_release(&fleet);
    km_scenario_release(&scenario);
    remove(trace);
}

static void expect_near(const char *what, double got, double want)
{
    if (!(fabs(got / want - 1.0) <= OFF))
        fail_msg("%s: %.4g s, recorded %.4g s", what, got, want);
}

static double tpot_s(const struct times *t, unsigned output)
{
    return (t->last_s - t->first_s) / (output - 1);
}

static void compare(const char *name)
{
    struct recording recording;
    struct played played;
    double worst = 0.0;
    if (!read_recording(name, &recording))
        skip();
    play(&recording, &played);
    /* Requests that came at once are alike: each stands for the one that was served in its place. */
    for (size_t i = 0; i < recording.count; i++) {
        const struct times *r = &recording.requests[i], *p = &played.by_id[i];
        expect_near("first token", p->first_s, r->first_s);
        expect_near("TPOT", tpot_s(p, r->output), tpot_s(r, r->output));
        worst = fmax(worst, fabs(p->first_s / r->first_s - 1.0));
        worst = fmax(worst, fabs(tpot_s(p, r->output) / tpot_s(r, r->output) - 1.0));
    }
    print_message("%s: %zu requests, off by %.1f %% at most\n", name, recording.count, 100.0 * worst);
}

static void alone(void **state)
{
    (void)state;
    compare("burst_1_512_64");
}

/* Three batches of prompts, of 16, 5 and 11: the second is formed while the first runs, the third, with what
 * came meanwhile, only when the first has returned. Then two groups of 16 decode in turn. */
static void two_groups(void **state)
{
    (void)state;
    compare("burst_32_512_64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone),
        cmocka_unit_test(two_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
