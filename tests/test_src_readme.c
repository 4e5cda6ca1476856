/* The policy and the executor that src/README.md adds in one file each, cut out of it by CMake: they compile, and
 * do what is said of them. */
#include "base/simtime.h"
#include "sim/simulation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

extern const struct km_batching_policy km_batching_mine;
extern const struct km_executor km_executor_mine;

struct seen {
    uint64_t last_token_ps[3];
    size_t count;
};

static void ended(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct seen *seen = context;
    assert_int_equal(outcome, KM_COMPLETED);
    seen->last_token_ps[record->id] = record->last_token_ps;
    seen->count++;
}

static enum km_status run(const char *trace, struct seen *seen, struct km_error *error)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/kingman-src-readme-%ld.csv", (long)getpid());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "arrival_s,prompt_tokens,output_tokens\n%s", trace);
    assert_int_equal(fclose(file), 0);
    const struct km_executor_config made = {.layout = {.pipeline_parallel = 1}};
    void *state;
    assert_int_equal(km_executor_mine.create(&made, &state, error), KM_OK);
    const struct km_simulation_group group = {
        .replica = {.policy = &km_batching_mine,
                    .batching = {.max_num_seqs = 4,
                                 .max_num_batched_tokens = 8192,
                                 .enable_chunked_prefill = true},
                    .kv_manager = km_kv_find("paged"),
                    .kv = {.capacity_blocks = 1000, .block_size = 16, .max_model_len = 8192},
                    .executor = &km_executor_mine,
                    .executor_state = state,
                    .pace.stages = 1,
                    .fast_forward = true,
                    .patience_ps = KM_PS_NEVER},
        .replicas = 1,
    };
    const struct km_workload_settings workload = {
        .process = KM_ARRIVAL_TRACE, .trace = path, .rate_scale = 1};
    struct km_metrics *metrics = km_metrics_create(&(struct km_metrics_settings){0});
    const struct km_simulation_config config = {.workload = &workload,
                                                .seed = 1,
                                                .groups = &group,
                                                .group_count = 1,
                                                .router = km_routing_find("round_robin"),
                                                .metrics = metrics,
                                                .ended = ended,
                                                .context = seen};
    struct km_simulation_result result;
    enum km_status status = km_simulation_run(&config, &result, error);
    km_metrics_destroy(metrics);
    km_executor_mine.destroy(state);
    remove(path);
    return status;
}

/* One prompt a step, the shortest first, ten milliseconds each: those of 4 and of 6 tokens overtake that of 8. */
static void shortest_prompt_first(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct km_error error = {0};
    assert_int_equal(run("0,8,1\n0,6,1\n0,4,1\n", &seen, &error), KM_OK);
    assert_int_equal(seen.count, 3);
    assert_true(seen.last_token_ps[2] == km_ps_from_s(0.01));
    assert_true(seen.last_token_ps[1] == km_ps_from_s(0.02));
    assert_true(seen.last_token_ps[0] == km_ps_from_s(0.03));
}

static void too_many_tokens(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct km_error error = {0};
    assert_int_equal(run("0,5000,1\n0,6,1\n", &seen, &error), KM_FAILED);
    assert_string_equal(error.message, "executor mine: 5000 tokens");
    assert_int_equal(seen.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shortest_prompt_first),
                                       cmocka_unit_test(too_many_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
