/* Time of one answer of each queueing model: the table of tests/bench/queueing.md.
 *
 * Timed (processor time of the process, which has one thread): solving one point without a tail, and with
 * three points of the waiting-time tail where the model has one. The token law is prepared before, as a
 * planner does it once a workload; that is timed by itself. Each case runs once to warm up, then RUNS times;
 * the median and the 10th and 90th percentile are told. */
#include "queueing/numeric/erlang.h"
#include "queueing/queue_model.h"
#include "queueing/servers.h"
#include "queueing/single/token_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RUNS 51
#define BATCHES(kind, rate, k1, k2, k3, k4, cap, size, patience)                                             \
    {                                                                                                        \
        .discipline = KM_DISCIPLINE_##kind, .rate_per_s = (rate), .k1_s = (k1), .k2_s = (k2), .k3_s = (k3),  \
        .k4_s = (k4), .batch_cap = (cap), .batch_size = (size), .patience_s = (patience)                     \
    }

static const double values[] = {8, 16, 32, 64, 128, 256, 512, 1024};
static const double weights[] = {5, 8, 14, 20, 22, 17, 10, 4};
static const struct km_distribution wide = {.kind = KM_DIST_LOGNORMAL, .mu = 7, .sigma = 0.7, .max = 1600};
static const struct km_distribution narrow = {.kind = KM_DIST_LOGNORMAL, .mu = 5, .sigma = 0.9, .max = 1024};
static const struct km_distribution uniform = {.kind = KM_DIST_UNIFORM, .min = 1, .max = 1000};
static const struct km_distribution unlimited = {.kind = KM_DIST_LOGNORMAL, .mu = 7, .sigma = 0.7};
static const struct km_distribution lattice = {
    .kind = KM_DIST_EMPIRICAL, .values = values, .weights = weights, .count = 8};

static const struct {
    const char *name;
    const struct km_distribution *tokens;
    struct km_queue_model system;
} cases[] = {
    {"M/G/1, limit 1600, rho 0.61",
     &wide,
     {KM_DISCIPLINE_MG1, 0.025, .a_s = 0.0225, .batch_cap = KM_NO_CAP, .patience_s = HUGE_VAL}},
    {"M/G/1, limit 1600, rho 0.98",
     &wide,
     {KM_DISCIPLINE_MG1, 0.0402, .a_s = 0.0225, .batch_cap = KM_NO_CAP, .patience_s = HUGE_VAL}},
    {"M/G/1+D, patience 60 s, rho 0.97",
     &wide,
     {KM_DISCIPLINE_MG1, 0.04, .a_s = 0.0225, .batch_cap = KM_NO_CAP, .patience_s = 60}},
    {"dynamic, no cap, mean batch 2.8", &uniform,
     BATCHES(DYNAMIC, 0.15, 0.005, 0.02, 0.002, 0.02, KM_NO_CAP, 0, HUGE_VAL)},
    {"dynamic, no cap, mean batch 20", &uniform,
     BATCHES(DYNAMIC, 0.35, 0.005, 0.02, 0.002, 0.02, KM_NO_CAP, 0, HUGE_VAL)},
    {"dynamic, no cap, mean batch 34", &narrow,
     BATCHES(DYNAMIC, 2, 0, 0.05, 0, 0.02, KM_NO_CAP, 0, HUGE_VAL)},
    {"dynamic, cap 8", &uniform, BATCHES(DYNAMIC, 0.25, 0.005, 0.02, 0.0003, 0.0222, 8, 0, HUGE_VAL)},
    {"dynamic, cap 16, rho 0.98", &narrow,
     BATCHES(DYNAMIC, 0.8, 0.005, 0.02, 0.0003, 0.0222, 16, 0, HUGE_VAL)},
    {"dynamic, cap 64", &lattice, BATCHES(DYNAMIC, 1.2, 0.005, 0.02, 0.0003, 0.0222, 64, 0, HUGE_VAL)},
    {"dynamic, cap 64, 1024 token values", &narrow,
     BATCHES(DYNAMIC, 1.2, 0.005, 0.02, 0.0003, 0.0222, 64, 0, HUGE_VAL)},
    {"fixed, 4", &uniform, BATCHES(FIXED, 0.1, 0.005, 0.02, 0.0003, 0.0222, KM_NO_CAP, 4, HUGE_VAL)},
    {"fixed, 64", &narrow, BATCHES(FIXED, 1.2, 0.005, 0.02, 0.0003, 0.0222, KM_NO_CAP, 64, HUGE_VAL)},
    {"elastic dynamic, no cap, mean batch 9.6", &uniform,
     BATCHES(ELASTIC_DYNAMIC, 0.35, 0.005, 0.02, 0.002, 0.02, KM_NO_CAP, 0, HUGE_VAL)},
    {"elastic dynamic, cap 16", &narrow,
     BATCHES(ELASTIC_DYNAMIC, 0.4, 0.005, 0.02, 0.0003, 0.0222, 16, 0, HUGE_VAL)},
    {"elastic fixed, 8", &narrow,
     BATCHES(ELASTIC_FIXED, 0.45, 0.005, 0.02, 0.0003, 0.0222, KM_NO_CAP, 8, HUGE_VAL)},
};

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct job {
    struct km_queue_model system;
    const struct km_distribution *tokens;
    struct km_token_law law;
    size_t tails;
};

static bool solve(struct job *job)
{
    static const double t_s[] = {5, 15, 40};
    double probability[3];
    struct km_wait_tail tail = {job->tails, t_s, probability};
    struct km_queue_answer answer;
    struct km_error error = {0};
    if (km_queue_model_solve(&job->system, &tail, &answer, &error) == KM_OK)
        return true;
    fprintf(stderr, "%s\n", error.message);
    return false;
}

static bool prepare(struct job *job)
{
    km_token_law_release(&job->law);
    return km_token_law_init(&job->law, job->tokens, NULL) == KM_OK;
}

static bool best_limit(struct job *job)
{
    struct km_mg1 queue = {0.025, 0.0225, 0, &job->law};
    struct km_token_limit best;
    return km_token_limit_best(&queue, KM_LIMIT_VALUE, 0.05, &best, NULL) == KM_OK;
}

static bool cluster(struct job *job)
{
    (void)job;
    struct km_servers servers = {900, 1, 1000, 1, 1.3};
    struct km_queue_answer answer;
    return km_servers_solve(&servers, NULL, &answer, NULL) == KM_OK;
}

static void measure(bool (*work)(struct job *job), struct job *job)
{
    double times_ms[RUNS];
    for (int run = -1; run < RUNS; run++) {
        double start_ms = now_ms();
        if (!work(job))
            exit(1);
        if (run >= 0)
            times_ms[run] = now_ms() - start_ms;
    }
    qsort(times_ms, RUNS, sizeof *times_ms, ascending);
    printf(" %.3f | %.3f .. %.3f |", times_ms[RUNS / 2], times_ms[RUNS / 10], times_ms[RUNS - 1 - RUNS / 10]);
}

static void measure_other(const char *name, bool (*work)(struct job *job), struct job *job)
{
    printf("| %s |", name);
    measure(work, job);
    printf(" | |\n");
}

int main(void)
{
    printf("| model | median ms | p10 .. p90 | with 3 tail points | p10 .. p90 |\n");
    printf("| --- | ---: | --- | ---: | --- |\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct job job = {cases[i].system, cases[i].tokens, {0}, 0};
        if (!prepare(&job))
            return 1;
        job.system.tokens = &job.law;
        printf("| %s |", cases[i].name);
        measure(solve, &job);
        job.tails = 3;
        measure(solve, &job);
        printf("\n");
        km_token_law_release(&job.law);
    }
    struct job job = {.tokens = &wide};
    measure_other("token law, limit 1600", prepare, &job);
    job.tokens = &unlimited;
    measure_other("token law, lognormal(7, 0.7), no limit", prepare, &job);
    measure_other("best token limit, lognormal(7, 0.7)", best_limit, &job);
    measure_other("M/G/c, 1000 servers", cluster, &job);
    km_token_law_release(&job.law);
    return 0;
}
