/* The batching policies with the linear service law against the queueing models' reference answers: two
 * independent ways to the same means. Skipped where the reference is absent. */
#include "base/file.h"
#include "scenario/queue_simulation.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#define REFERENCE KM_SOURCE_DIR "/../shared/data/queueing-reference.json"
#define REQUESTS  200000
#define SEED      6

static double number(const cJSON *object, const char *key, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static const char *word(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    return text ? text : "";
}

static const double *numbers(const cJSON *array, double *out)
{
    for (int i = 0; i < cJSON_GetArraySize(array); i++)
        out[i] = cJSON_GetArrayItem(array, i)->valuedouble;
    return out;
}

static void read_distribution(const cJSON *d, struct km_distribution *out, double values[32],
                              double weights[32])
{
    const char *kind = word(d, "kind");
    *out = (struct km_distribution){.max = number(d, "nmax", 0)};
    if (strcmp(kind, "lognormal") == 0) {
        out->kind = KM_DIST_LOGNORMAL;
        out->mu = number(d, "mu", 0);
        out->sigma = number(d, "sigma", 0);
    } else if (strcmp(kind, "uniform") == 0) {
        out->kind = KM_DIST_UNIFORM;
        out->min = number(d, "lo", 0);
        out->max = number(d, "hi", 0);
    } else if (strcmp(kind, "geometric") == 0) {
        out->kind = KM_DIST_GEOMETRIC;
        out->mean = number(d, "mean", 0);
    } else {
        assert_string_equal(kind, "empirical");
        out->kind = KM_DIST_EMPIRICAL;
        out->count = (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(d, "values"));
        assert_true(out->count <= 32);
        out->values = numbers(cJSON_GetObjectItemCaseSensitive(d, "values"), values);
        out->weights = numbers(cJSON_GetObjectItemCaseSensitive(d, "weights"), weights);
    }
}

static const struct {
    const char *model, *policy;
} disciplines[] = {
    {"mg1", "dynamic"}, {"mg1_impatient", "dynamic"}, {"dyn", "dynamic"},
    {"fixed", "fixed"}, {"edyn", "elastic"},          {"efixed", "elastic"},
};

static bool read_system(const cJSON *input, struct km_queue_system *system)
{
    const char *model = word(input, "model");
    for (size_t i = 0; i < sizeof disciplines / sizeof disciplines[0]; i++)
        if (strcmp(disciplines[i].model, model) == 0)
            system->policy = (const struct km_batching_policy *)(const void *)km_registry_find(
                km_batching_registry, disciplines[i].policy);
    if (!system->policy)
        return false; /* the optimal token limits are not simulated */
    system->arrival_rate_per_s = number(input, "lam", 0);
    system->patience_s = number(input, "tau", 0);
    system->batch_cap = (uint32_t)number(input, "bmax", 0);
    system->batch_size = (uint32_t)number(input, "b", 0);
    double law[4] = {0};
    numbers(cJSON_GetObjectItemCaseSensitive(input, "k1k2k3k4"), law);
    system->law = (struct km_linear_law){law[0], law[1], law[2], law[3]};
    if (strncmp(model, "mg1", 3) == 0) {
        system->law = (struct km_linear_law){.k2 = number(input, "c", 0), .k4 = number(input, "a", 0)};
        system->batch_cap = 1;
    }
    return true;
}

static void inside(const char *id, const char *what, struct km_queue_estimate simulated, double expected)
{
    if (isnan(expected))
        return;
    print_message("%s %-10s %10.5g, reference %10.5g, +- %.2g\n", id, what, simulated.value, expected,
                  simulated.ci95);
    assert_true(simulated.ci95 > 0);               /* not NAN */
    assert_true(simulated.ci95 <= 0.3 * expected); /* an interval that says something */
    assert_true(fabs(simulated.value - expected) <= simulated.ci95);
}

static void check_point(const cJSON *point)
{
    const cJSON *input = cJSON_GetObjectItemCaseSensitive(point, "input");
    const cJSON *theory = cJSON_GetObjectItemCaseSensitive(point, "theory");
    const char *id = word(input, "id");
    struct km_queue_system system = {.requests = REQUESTS, .seed = SEED};
    struct km_distribution tokens;
    double values[32], weights[32];
    if (!read_system(input, &system))
        return;
    read_distribution(cJSON_GetObjectItemCaseSensitive(input, "dist"), &tokens, values, weights);
    system.output_tokens = &tokens;
    const cJSON *times = cJSON_GetObjectItemCaseSensitive(input, "t");
    const cJSON *tail = cJSON_GetObjectItemCaseSensitive(theory, "tail");
    double tail_s[KM_QUEUE_MAX_TAILS];
    system.wait_tail_s = numbers(times, tail_s);
    system.wait_tail_count = tail ? (size_t)cJSON_GetArraySize(times) : 0;
    struct km_queue_simulated simulated;
    struct km_error error = {0};
    assert_int_equal(km_queue_simulate(&system, &simulated, &error), KM_OK);
    bool impatient = system.patience_s > 0;
    inside(id, "E[W]", simulated.mean_wait_s, number(theory, "EW", number(theory, "EW_served", (double)NAN)));
    inside(id, "E[R]", simulated.mean_response_s, number(theory, "ER", (double)NAN));
    if (impatient)
        inside(id, "loss", simulated.loss, number(theory, "loss", (double)NAN));
    for (size_t i = 0; i < system.wait_tail_count; i++) {
        char key[32];
        snprintf(key, sizeof key, "%g", tail_s[i]);
        inside(id, "P(W > t)", simulated.wait_tail[i], number(tail, key, (double)NAN));
    }
    double batch = number(theory, "Eb", 1.0);
    print_message("%s %-10s %10.5g, reference %10.5g\n", id, "E[B]", simulated.mean_batch, batch);
    assert_true(fabs(simulated.mean_batch - batch) <= 0.01 * batch);
}

static void simulation_agrees_with_the_reference(void **state)
{
    (void)state;
    char *text;
    size_t bytes;
    if (km_file_read(REFERENCE, (size_t)1 << 24, &text, &bytes, NULL) != KM_OK)
        skip();
    cJSON *root = cJSON_ParseWithLength(text, bytes);
    free(text);
    assert_non_null(root);
    const cJSON *point;
    int count = 0;
    cJSON_ArrayForEach(point, cJSON_GetObjectItemCaseSensitive(root, "public"))
    {
        check_point(point);
        count++;
    }
    assert_int_equal(count, 22);
    cJSON_Delete(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(simulation_agrees_with_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
