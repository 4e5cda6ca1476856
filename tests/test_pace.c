/* The law of the host and the device (engine/pace.h), as everybody who follows steps has it: the simulator
 * step by step and in runs, the account of a step, the closed form of the queueing models, the timelines of
 * the fit to logs. The paces below are worked out by hand from the law. */
#include "base/random.h"
#include "engine/pace_run.h"
#include "executor/step_account.h"
#include "support/check.h"
#include "support/expect.h"

#include <gsl/gsl_rng.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct pace_case {
    const char *what;
    struct km_pace pace;
    struct km_host_time host;
    uint64_t stage_ps; /* on each stage */
    uint64_t step_ps;  /* the pace */
    enum km_paced_by by;
} cases[] = {
    /* One batch at a time: 10 + 20 + 1000 + 30; outside the graphs 10 + max(500, 100) + 30, 10 + 2000 + 30.
     * */
    {"serial", {false, false, 1}, {10, 20, 30, true, false}, 1000, 1060, KM_PACED_BY_BOTH},
    {"serial, kernel by kernel",
     {false, false, 1},
     {10, 500, 30, false, false},
     100,
     540,
     KM_PACED_BY_LAUNCH},
    {"serial, slow kernels", {false, false, 1}, {10, 500, 30, false, false}, 2000, 2040, KM_PACED_BY_BOTH},
    {"serial, no host", {false, false, 1}, {0, 0, 0, true, false}, 1000, 1000, KM_PACED_BY_DEVICE},
    /* Overlapped: the longer of device and host. */
    {"overlapped, hidden", {true, false, 1}, {10, 20, 30, true, false}, 1000, 1000, KM_PACED_BY_DEVICE},
    {"overlapped, even", {true, false, 1}, {200, 300, 500, true, false}, 1000, 1000, KM_PACED_BY_DEVICE},
    {"overlapped, host", {true, false, 1}, {100, 200, 300, true, false}, 10, 600, KM_PACED_BY_HOST},
    {"overlapped, launches", {true, false, 1}, {10, 500, 30, false, false}, 100, 540, KM_PACED_BY_LAUNCH},
    {"overlapped, slow kernels",
     {true, false, 1},
     {10, 500, 30, false, false},
     2000,
     2000,
     KM_PACED_BY_DEVICE},
    {"overlapped, kernels and host",
     {true, false, 1},
     {400, 100, 300, false, false},
     500,
     800,
     KM_PACED_BY_HOST},
    /* Workers launch while the host goes on: the longest of device, launches and the host's rest; two batches are in flight, each through
     * in 10 + 500 + 490 + 30. */
    {"workers, hidden", {true, false, 1}, {10, 20, 30, true, true}, 1000, 1000, KM_PACED_BY_DEVICE},
    {"workers, launches", {true, false, 1}, {10, 500, 30, false, true}, 100, 500, KM_PACED_BY_LAUNCH},
    {"workers, graphs", {true, false, 1}, {10, 500, 30, true, true}, 490, 515, KM_PACED_BY_BOTH},
    {"workers, host", {true, false, 1}, {300, 100, 300, false, true}, 50, 600, KM_PACED_BY_HOST},
    {"workers, serial", {false, false, 1}, {10, 500, 30, false, true}, 100, 540, KM_PACED_BY_LAUNCH},
    {"workers in stages", {true, false, 2}, {10, 500, 30, false, true}, 100, 1000, KM_PACED_BY_LAUNCH},
    /* Two groups in two stages: a group comes round when both stages have served both, when the host has, or
     * when it is through itself: 10 + 20 + 1000 + 30. With placeholders it is formed before it is through.
     * */
    {"stages", {true, false, 2}, {0, 0, 0, true, false}, 500, 1000, KM_PACED_BY_DEVICE},
    {"stages, through", {true, false, 2}, {10, 20, 30, true, false}, 500, 1060, KM_PACED_BY_BOTH},
    {"stages, placeholders", {true, true, 2}, {10, 20, 30, true, false}, 500, 1000, KM_PACED_BY_DEVICE},
    {"stages, host", {true, false, 2}, {100, 200, 300, true, false}, 100, 1200, KM_PACED_BY_HOST},
    {"stages, placeholders and host",
     {true, true, 2},
     {100, 200, 300, true, false},
     100,
     1200,
     KM_PACED_BY_HOST},
    {"stages, launches", {true, false, 2}, {10, 500, 30, false, false}, 100, 1080, KM_PACED_BY_LAUNCH},
    {"three stages, through", {false, false, 3}, {10, 20, 30, true, false}, 500, 1560, KM_PACED_BY_BOTH},
    {"three stages, placeholders", {true, true, 3}, {10, 20, 30, true, false}, 500, 1500, KM_PACED_BY_DEVICE},
};

static struct km_step_seconds seconds_of(const struct pace_case *c)
{
    struct km_step_seconds step = km_step_seconds_of(&c->host);
    step.slowest_s = km_s_from_ps(c->stage_ps);
    step.device_s = c->pace.stages * step.slowest_s;
    return step;
}

static void near(const char *what, double is, double should)
{
    if (!(fabs(is - should) <= 1e-12 * should))
        fail_msg("%s: %.17g, expected %.17g", what, is, should);
}

static void closed_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct km_step_seconds step = seconds_of(&cases[i]);
        near(cases[i].what, km_step_pace_s(&cases[i].pace, &step), km_s_from_ps(cases[i].step_ps));
        assert_int_equal(km_step_paced_by(&cases[i].pace, &step), cases[i].by);
    }
}

/* When the last of a group's tokens comes, `tokens` in all; a group for every stage. */
static uint64_t last_token_ps(const struct pace_case *c, uint32_t tokens, int mode)
{
    struct synthetic synthetic = {.step_ps = c->stage_ps,
                                  .form_ps = c->host.form_ps,
                                  .launch_ps = c->host.launch_ps,
                                  .process_ps = c->host.process_ps,
                                  .uncaptured = !c->host.captured,
                                  .workers = c->host.workers,
                                  .stages = c->pace.stages};
    struct km_replica_config config = roomy(&synthetic, false);
    struct scripted script[3];
    struct played played[3];
    struct ending ending;
    config.pace = c->pace;
    config.executor = mode & 1 ? &synthetic_lines : &synthetic_single;
    config.fast_forward = mode & 2;
    for (uint32_t i = 0; i < c->pace.stages; i++) /* the next group comes when the first has been formed */
        script[i] = (struct scripted){i, 1, tokens};
    play(&config, script, c->pace.stages, played, &ending, NULL);
    assert_null(ending.complaint);
    return played[0].record.last_token_ps;
}

static void simulator(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int mode = 0; mode < 4; mode++) {
            uint64_t gained_ps = last_token_ps(&cases[i], 300, mode) - last_token_ps(&cases[i], 200, mode);
            if (gained_ps != 100 * cases[i].step_ps)
                fail_msg("%s, mode %d: 100 steps in %llu", cases[i].what, mode,
                         (unsigned long long)gained_ps);
        }
}

/* A cost model that knows one time. */
static void cost_step(const void *state, const struct km_step_shape *shape, double *stage_s)
{
    const struct pace_case *c = state;
    (void)shape;
    for (uint32_t s = 0; s < c->pace.stages; s++)
        stage_s[s] = km_s_from_ps(c->stage_ps);
}

static void account(void **state)
{
    (void)state;
    static const struct km_cost_model cost = {.step = cost_step};
    const struct km_model model = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct pace_case *c = &cases[i];
        const struct km_engine engine = {.async_scheduling = c->pace.overlapped,
                                         .pipeline_placeholders =
                                             c->pace.placeholders ? KM_SCOPE_ALL : KM_SCOPE_NONE};
        const struct km_cost_config config = {
            .model = &model,
            .engine = &engine,
            .layout = {.tensor_parallel = 1, .pipeline_parallel = c->pace.stages}};
        struct synthetic synthetic = {.step_ps = c->stage_ps,
                                      .form_ps = c->host.form_ps,
                                      .launch_ps = c->host.launch_ps,
                                      .process_ps = c->host.process_ps,
                                      .uncaptured = !c->host.captured,
                                      .workers = c->host.workers,
                                      .stages = c->pace.stages};
        const struct km_step_source source = {&config, &cost, c, &synthetic_single, &synthetic};
        const struct km_step_shape shape = {.sampled = 1, .decode = {1, 1, 1, 1, 1, 0}};
        struct km_step_account a;
        struct km_arena arena = {0};
        km_step_account(&source, &shape, &arena, &a);
        near(c->what, a.step_s, km_s_from_ps(c->step_ps));
        assert_int_equal(a.paced_by, c->by);
        km_arena_release(&arena);
    }
}

/* One stage, step by step in seconds: as many batches out as may be. */
static void timeline(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct km_step_seconds step = seconds_of(&cases[i]);
        if (cases[i].pace.stages > 1 || cases[i].host.workers)
            continue;
        uint32_t flights = km_pace_flights(&cases[i].pace);
        double ended_s[400] = {0}, host_s = 0.0, device_s = 0.0, at_200 = 0.0;
        for (uint32_t k = 0, done = 0; done < 300; done++) {
            for (; k < done + flights; k++)
                device_s = ended_s[k] = km_step_ended_s(&step, host_s, device_s, &host_s);
            host_s = fmax(ended_s[done], host_s) + step.process_s;
            at_200 = done == 199 ? host_s : at_200;
        }
        assert_true(fabs((host_s - at_200) / km_s_from_ps(100 * cases[i].step_ps) - 1.0) <= 1e-9);
    }
}

/* --- runs ------------------------------------------------------------------------------------------------
 * */

struct step_times {
    uint64_t formed_ps, start_ps, end_ps;
};

/* The law written out, for one stage. */
static void single_steps(const struct km_pace_start *s, uint64_t count, struct step_times *out)
{
    uint64_t workers_ps = s->workers_ps, host_ps = s->now_ps, free_ps = s->overlapped ? s->flight_end_ps : 0,
             step_ps = s->first_ps;
    for (uint64_t i = 0; i < count; i++, step_ps += (uint64_t)s->slope_ps) {
        uint64_t before_end_ps = free_ps, formed_ps = host_ps + s->host.form_ps;
        uint64_t launching_ps = s->host.workers && workers_ps > formed_ps ? workers_ps : formed_ps;
        uint64_t launched_ps = launching_ps + s->host.launch_ps;
        uint64_t start_ps = s->host.captured ? launched_ps : launching_ps;
        start_ps = start_ps < free_ps ? free_ps : start_ps;
        uint64_t end_ps = start_ps + step_ps;
        free_ps = end_ps < launched_ps ? launched_ps : end_ps;
        out[i] = (struct step_times){host_ps, start_ps, free_ps};
        uint64_t taken_ps = s->overlapped ? before_end_ps : free_ps; /* the results that are waited for */
        host_ps = s->host.workers ? formed_ps : launched_ps;
        host_ps = (taken_ps < host_ps ? host_ps : taken_ps) + s->host.process_ps;
        workers_ps = launched_ps;
    }
}

static uint64_t up_to(gsl_rng *rng, uint64_t most)
{
    return gsl_rng_uniform_int(rng, (unsigned long)most + 1);
}

static void runs(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(1, KM_RANDOM_ARRIVALS);
    struct step_times times[40];
    uint64_t found = 0;
    for (int round = 0; round < 20000; round++) {
        const uint64_t longest = up_to(rng, 1) ? 100 : 5000;
        struct km_pace_start start = {.host = {up_to(rng, 300), up_to(rng, longest), up_to(rng, 300),
                                               up_to(rng, 1) == 0, up_to(rng, 2) == 0},
                                      .first_ps = 500 + up_to(rng, 5000),
                                      .slope_ps = (int64_t)up_to(rng, 20) - 10,
                                      .overlapped = up_to(rng, 1),
                                      .now_ps = 10000,
                                      .workers_ps = 9000 + up_to(rng, 1500)};
        start.flight_end_ps = start.overlapped ? 9000 + up_to(rng, 3000) : 0;
        uint64_t horizon_ps = up_to(rng, 3) ? UINT64_MAX : 10000 + up_to(rng, 100000);
        struct km_pace_run run;
        uint64_t steps = km_pace_run(&start, horizon_ps, COUNT(times), &run), lengths_ps = 0;
        if (steps < 2)
            continue;
        found++;
        single_steps(&start, COUNT(times), times);
        assert_true(times[steps - 1].formed_ps < horizon_ps);
        assert_true(steps == COUNT(times) || times[steps].formed_ps >= horizon_ps);
        for (uint64_t i = 0; i < steps; i++) {
            uint64_t start_ps, end_ps;
            km_pace_run_place(&run, i, &start_ps, &end_ps);
            lengths_ps += times[i].end_ps - times[i].start_ps;
            assert_int_equal(km_pace_run_formed_ps(&run, i), times[i].formed_ps);
            assert_int_equal(start_ps, times[i].start_ps);
            assert_int_equal(end_ps, times[i].end_ps);
            assert_int_equal(km_pace_run_lengths_ps(&run, i + 1), lengths_ps);
        }
        for (uint64_t i = 3; i < steps; i++)
            assert_int_equal(times[i].formed_ps - 2 * times[i - 1].formed_ps + times[i - 2].formed_ps,
                             (uint64_t)km_pace_run_gap_slope_ps(&run));
    }
    gsl_rng_free(rng);
    assert_true(found > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_form), cmocka_unit_test(simulator), cmocka_unit_test(account),
        cmocka_unit_test(timeline),    cmocka_unit_test(runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
