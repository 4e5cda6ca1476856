/* Does the reported capacity bracket the truth? And what does it cost?
 *
 *     capacity_bracket SCENARIO FRESH [KEY=VALUE ...]     keys of the scenario, and block_s, max_requests,
 *                                                         lengthen_trace, workers
 *
 * finds the capacity of the scenario's plan (exact, then coarse), and tries it at 0.97 and 1.03 times the
 * answer on FRESH replications that the search has not seen: new seeds, or other block bootstraps of the
 * trace, of the same length. Prints one line each. */
#include "capacity/vary.h"
#include "scenario/accuracy_key.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* CPU time, of all threads: other work on the machine does not count. */
static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void print(const char *name, const struct km_capacity *c, double seconds)
{
    printf(
        "%-7s x %.4f [%.4f, %.4f]%s, %.3f requests/s; 95 %% of runs: %.4f; as recorded: %.4f; spread %.2f %% "
        "of %u runs of %.0f requests; fails: %d%s\n        %llu simulations, %llu cut short, %.3g events, "
        "%.3f "
        "s\n",
        name, c->scale, c->low, c->high, c->settled ? "" : " (not settled)", c->rate_per_s, c->cautious_scale,
        c->recorded_scale, 100 * c->spread, c->replications, c->requests, c->failed,
        c->saturated ? " (saturated)" : "", (unsigned long long)c->runs, (unsigned long long)c->runs_cut,
        (double)c->events, seconds);
}

static void fail(const struct km_error *error)
{
    char text[1200];
    km_error_format(error, text, sizeof text);
    fprintf(stderr, "%s\n", text);
    exit(2);
}

/* How many of the fresh replications hold at the rate? */
static uint32_t count_holding(const struct km_fleet *fleet, double length, double block_s, double scale,
                              uint32_t fresh)
{
    struct km_error error = {0};
    uint32_t held = 0;
    for (uint32_t i = 0; i < fresh; i++) {
        struct km_demand_config config = {&fleet->scenario->workload, fleet->scenario->seed + 1000 + i,
                                          block_s, length};
        struct km_demand *demand;
        struct km_workload_settings workload = {.process = KM_ARRIVAL_TRACE,
                                                .rate_scale = scale * fleet->scenario->workload.rate_scale,
                                                .patience_s = fleet->scenario->workload.patience_s};
        struct km_trial trial;
        if (km_demand_create(&config, &demand, &error) != KM_OK ||
            km_demand_get(demand, km_demand_first_drawn(demand), &workload.recording, &error) != KM_OK ||
            km_trial_run(fleet, &workload, config.seed, false, &trial, &error) != KM_OK)
            fail(&error);
        held += trial.holds;
        km_demand_destroy(demand);
    }
    return held;
}

static struct km_time_error time_error_of(const struct km_scenario *scenario, struct km_error *error)
{
    struct km_accuracy accuracy;
    struct km_arena arena = {0};
    struct km_accuracy_key key;
    struct km_accuracy_answer closest;
    if (km_scenario_read_accuracy(&accuracy, error) != KM_OK)
        fail(error);
    km_scenario_accuracy_key(scenario, KM_ACCURACY_PACE, &key);
    km_accuracy_closest(&accuracy, &key, &arena, &closest);
    const struct km_time_error off = km_time_error_of(scenario, &closest);
    km_arena_release(&arena);
    km_accuracy_release(&accuracy);
    return off;
}

int main(int argc, char **argv)
{
    struct km_override overrides[64];
    struct km_scenario scenario;
    struct km_fleet fleet;
    struct km_error error = {0};
    size_t count = 0;
    if (argc < 3 || argc > 67) {
        fprintf(stderr, "usage: capacity_bracket SCENARIO FRESH [KEY=VALUE ...]\n");
        return 2;
    }
    struct km_capacity_options exact = km_capacity_exact(), coarse = km_capacity_coarse();
    for (int i = 3; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (!equals)
            return 2;
        *equals = '\0';
        if (strcmp(argv[i], "block_s") == 0)
            exact.block_s = strtod(equals + 1, NULL);
        else if (strcmp(argv[i], "max_requests") == 0)
            exact.max_requests = strtoull(equals + 1, NULL, 10);
        else if (strcmp(argv[i], "lengthen_trace") == 0)
            exact.lengthen_trace = true;
        else if (strcmp(argv[i], "workers") == 0)
            exact.workers = (uint32_t)strtoul(equals + 1, NULL, 10);
        else
            overrides[count++] = (struct km_override){argv[i], equals + 1};
    }
    if (km_scenario_read(argv[1], overrides, count, &scenario, &error) != KM_OK ||
        km_fleet_create(&scenario, &fleet, &error) != KM_OK)
        fail(&error);
    struct km_capacity found, glance;
    double began_s = cpu_s();
    if (km_capacity_find(&fleet, NULL, &exact, &found, &error) != KM_OK)
        fail(&error);
    print("exact", &found, cpu_s() - began_s);
    began_s = cpu_s();
    if (km_capacity_find(&fleet, NULL, &coarse, &glance, &error) != KM_OK)
        fail(&error);
    print("coarse", &glance, cpu_s() - began_s);
    began_s = cpu_s();
    struct km_sensitivity what_if;
    if (found.kind == KM_CAPACITY_FOUND) {
        const struct km_time_error time_error = time_error_of(&scenario, &error);
        if (km_capacity_sensitivity(&scenario, NULL, &found, &time_error, &exact, &what_if, &error) != KM_OK)
            fail(&error);
        printf("what if: steps %.3f to %.3f times as long: x %.4f to %.4f; steps 20 %% longer: %.4f; outputs "
               "20 %% "
               "longer: "
               "%.4f; %.3f CPU s\n",
               time_error.fast, time_error.slow, what_if.low, what_if.high, what_if.slower_scale,
               what_if.longer_scale, cpu_s() - began_s);
    }
    const uint32_t fresh = (uint32_t)strtoul(argv[2], NULL, 10);
    static const double factors[] = {0.97, 0.985, 1.0, 1.015, 1.03};
    for (size_t i = 0; fresh && i < 5; i++) {
        uint32_t held = count_holding(&fleet, found.length, exact.block_s, factors[i] * found.scale, fresh);
        printf("at %.3f x: %u of %u fresh runs hold (%.1f %%)\n", factors[i], held, fresh,
               100.0 * held / fresh);
    }
    km_fleet_release(&fleet);
    km_scenario_release(&scenario);
    return 0;
}
