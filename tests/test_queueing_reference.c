/* Every point of ../shared/data/queueing-reference.json, the answers of an independent implementation, when
 * that file is there: means to 1e-5 relative, tails to 1e-4. KM_SHOW_ERRORS=1 prints each error. */
#include "base/file.h"
#include "base/json.h"
#include "queueing/bulk/bulk_bound.h"
#include "queueing/bulk/dynamic.h"
#include "queueing/bulk/fixed.h"
#include "queueing/single/cramer_lundberg.h"
#include "queueing/single/mg1_impatient.h"
#include "queueing/single/token_limit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REFERENCE KM_SOURCE_DIR "/../shared/data/queueing-reference.json"
#define TAILS     8

struct point {
    const cJSON *input, *theory, *simulated;
    const char *id;
    double rate_per_s, values[64], weights[64];
    struct km_token_law law;
    size_t tails;
    double t_s[TAILS], probability[TAILS];
};

static double number(const cJSON *object, const char *key)
{
    const cJSON *value = km_json_get(object, key);
    if (!value || !cJSON_IsNumber(value))
        fail_msg("the reference has no number \"%s\"", key);
    return value->valuedouble;
}

static size_t numbers(const cJSON *object, const char *key, double *out, size_t limit)
{
    size_t count = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, km_json_get(object, key))
    {
        assert_true(count < limit);
        out[count++] = item->valuedouble;
    }
    return count;
}

static void read_law(const cJSON *dist, struct point *p)
{
    struct km_distribution d = {0};
    const char *kind = km_json_get(dist, "kind")->valuestring;
    d.max = number(dist, "nmax");
    if (strcmp(kind, "lognormal") == 0) {
        d.kind = KM_DIST_LOGNORMAL;
        d.mu = number(dist, "mu");
        d.sigma = number(dist, "sigma");
    } else if (strcmp(kind, "uniform") == 0) {
        d.kind = KM_DIST_UNIFORM;
        d.min = number(dist, "lo");
        assert_true(number(dist, "hi") <= d.max);
        d.max = number(dist, "hi");
    } else if (strcmp(kind, "geometric") == 0) {
        d.kind = KM_DIST_GEOMETRIC;
        d.mean = number(dist, "mean");
    } else {
        assert_string_equal(kind, "empirical");
        d.kind = KM_DIST_EMPIRICAL;
        d.count = numbers(dist, "values", p->values, 64);
        assert_int_equal(numbers(dist, "weights", p->weights, 64), d.count);
        d.values = p->values;
        d.weights = p->weights;
    }
    assert_int_equal(km_token_law_init(&p->law, &d, NULL), KM_OK);
}

static int compared;

static void close_to(const struct point *p, const char *what, double got, double want, double tolerance)
{
    double error = fabs(got - want) / fmax(fabs(want), 1e-300);
    if (getenv("KM_SHOW_ERRORS"))
        printf("%-16s %-16s %.10g reference %.10g error %.1e\n", p->id, what, got, want, error);
    if (!(error <= tolerance))
        fail_msg("%s: %s is %.10g, the reference says %.10g (%.1e)", p->id, what, got, want, error);
    compared++;
}

/* Compares when the reference has the number. */
static void compare(const struct point *p, const char *key, double got)
{
    if (km_json_get(p->theory, key))
        close_to(p, key, got, number(p->theory, key), 1e-5);
}

static void compare_tails(const struct point *p)
{
    const cJSON *tail = km_json_get(p->theory, "tail");
    for (size_t i = 0; tail && i < p->tails; i++) {
        char key[32], what[48];
        snprintf(key, sizeof key, "%g", p->t_s[i]);
        snprintf(what, sizeof what, "P(W>%s)", key);
        close_to(p, what, p->probability[i], number(tail, key), 1e-4);
    }
}

static struct km_mg1 mg1_of(const struct point *p)
{
    return (struct km_mg1){p->rate_per_s, number(p->input, "a"), number(p->input, "c"), &p->law};
}

static void check_mg1(struct point *p)
{
    struct km_mg1 queue = mg1_of(p);
    struct km_wait_tail tail = {p->tails, p->t_s, p->probability};
    struct km_queue_answer answer;
    assert_int_equal(km_mg1_solve(&queue, &tail, &answer, NULL), KM_OK);
    struct km_mg1_moments service = km_mg1_moments(&queue);
    compare(p, "rho", answer.utilization);
    compare(p, "EW", answer.mean_wait_s);
    compare(p, "EW2", answer.var_wait_s + answer.mean_wait_s * answer.mean_wait_s);
    compare(p, "varW", answer.var_wait_s);
    compare(p, "ER", answer.mean_response_s);
    compare(p, "ES", service.m1);
    compare(p, "ES2", service.m2);
    compare(p, "Eb", answer.mean_batch);
    compare_tails(p);

    struct km_asymptote far;
    assert_int_equal(km_mg1_asymptote(&queue, &far, NULL), KM_OK);
    compare(p, "CL_eta", far.eta_per_s);
    compare(p, "CL_C", far.coefficient);
    for (size_t i = 0; i < p->tails; i++) {
        char key[32];
        snprintf(key, sizeof key, "%g", p->t_s[i]);
        close_to(p, "asymptote", far.coefficient * exp(-far.eta_per_s * p->t_s[i]),
                 number(km_json_get(p->theory, "tail_CL"), key), 1e-5);
    }
}

static void check_impatient(struct point *p)
{
    struct km_mg1 queue = mg1_of(p);
    struct km_queue_answer answer;
    assert_int_equal(km_mg1_impatient_solve(&queue, number(p->input, "tau"), NULL, &answer, NULL), KM_OK);
    compare(p, "rho_offered", answer.utilization);
    compare(p, "loss", answer.loss);
    compare(p, "EW_served", answer.mean_wait_s);
    compare(p, "P_idle", answer.idle);
}

static void check_token_limit(struct point *p)
{
    struct km_distribution d = {
        .kind = KM_DIST_LOGNORMAL, .mu = number(p->input, "mu"), .sigma = number(p->input, "sigma")};
    assert_int_equal(km_token_law_init(&p->law, &d, NULL), KM_OK);
    struct km_mg1 queue = mg1_of(p);
    bool clip = km_json_get(p->input, "eps");
    struct km_token_limit best;
    assert_int_equal(km_token_limit_best(&queue, clip ? KM_LIMIT_CLIP : KM_LIMIT_VALUE,
                                         number(p->input, clip ? "eps" : "kappa"), &best, NULL),
                     KM_OK);
    assert_int_equal(best.max_tokens, (int)number(p->theory, "nmax"));
    compare(p, "EW", best.mean_wait_s);
    compare(p, "clip", best.clipped);
    compare(p, "Emin", best.mean_tokens);
}

static struct km_batch_law batch_law_of(const struct point *p, bool elastic)
{
    double k[4];
    assert_int_equal(numbers(p->input, "k1k2k3k4", k, 4), 4);
    return (struct km_batch_law){k[0], k[1], k[2], k[3], elastic, &p->law};
}

/* Simulated by the reference, beyond what its theory gives: within three of its half-widths. */
static void compare_simulated(const struct point *p, const char *key, double got)
{
    char name[32];
    snprintf(name, sizeof name, "%s_ci", key);
    const cJSON *sim = km_json_get(p->simulated, key) ? p->simulated : NULL;
    if (!sim || isnan(got))
        return;
    double widths = (got - number(sim, key)) / number(sim, name);
    if (getenv("KM_SHOW_ERRORS"))
        printf("%-16s %-16s %.10g simulated %.10g, %.2f half-widths off\n", p->id, key, got, number(sim, key),
               widths);
    if (!(fabs(widths) < 3))
        fail_msg("%s: %s is %.10g, simulated %.10g", p->id, key, got, number(sim, key));
    compared++;
}

static void compare_bulk(const struct point *p, const struct km_queue_answer *answer)
{
    compare(p, "rho", answer->utilization);
    compare(p, "rho_inf", answer->utilization);
    compare(p, "EW", answer->mean_wait_s);
    compare(p, "ER", answer->mean_response_s);
    compare(p, "Eb", answer->mean_batch);
    compare(p, "Eb_req", answer->mean_batch_seen);
    compare(p, "P_idle", answer->idle);
    compare(p, "EW2", answer->var_wait_s + answer->mean_wait_s * answer->mean_wait_s);
    compare_tails(p);
    compare_simulated(p, "W2", answer->var_wait_s + answer->mean_wait_s * answer->mean_wait_s);
    for (size_t i = 0; i < p->tails; i++) {
        char key[32];
        snprintf(key, sizeof key, "P%g", p->t_s[i]);
        compare_simulated(p, key, p->probability[i]);
    }
}

static void check_dynamic(struct point *p, bool elastic)
{
    struct km_batch_law law = batch_law_of(p, elastic);
    struct km_wait_tail tail = {p->tails, p->t_s, p->probability};
    struct km_queue_answer answer;
    uint64_t cap = km_json_get(p->input, "bmax") ? (uint64_t)number(p->input, "bmax") : KM_NO_CAP;
    assert_int_equal(km_dynamic_solve(&law, p->rate_per_s, cap, &tail, &answer, NULL), KM_OK);
    compare_bulk(p, &answer);
    compare(p, "EC", answer.mean_batch / p->rate_per_s);
    compare(p, "pi0", answer.idle * answer.mean_batch);
    if (km_json_get(p->theory, "inoue_worstline_ER")) {
        double bound;
        assert_int_equal(km_bulk_bound(p->rate_per_s, law.k1_s + law.k3_s * p->law.max,
                                       law.k2_s + law.k4_s * p->law.max, &bound, NULL),
                         KM_OK);
        compare(p, "inoue_worstline_ER", bound);
        assert_true(answer.mean_response_s < bound);
        double line[2];
        assert_int_equal(numbers(p->theory, "inoue_al_t0", line, 2), 2);
        assert_int_equal(km_bulk_bound(p->rate_per_s, line[0], line[1], &bound, NULL), KM_OK);
        compare(p, "inoue_secant_ER", bound);
    }
}

static void check_padded_dynamic(struct point *p)
{
    check_dynamic(p, false);
}

static void check_elastic_dynamic(struct point *p)
{
    check_dynamic(p, true);
}

static void check_fixed(struct point *p, bool elastic)
{
    struct km_batch_law law = batch_law_of(p, elastic);
    struct km_wait_tail tail = {p->tails, p->t_s, p->probability};
    struct km_queue_answer answer;
    struct km_fixed_batch_wait wait;
    assert_int_equal(
        km_fixed_solve(&law, p->rate_per_s, (uint64_t)number(p->input, "b"), &tail, &answer, &wait, NULL),
        KM_OK);
    compare_bulk(p, &answer);
    compare(p, "EW_batch", wait.mean_s);
    compare(p, "varW_batch", wait.var_s);
    compare(p, "PX0", wait.none_behind);
    compare(p, "form", answer.mean_wait_s - wait.mean_s);
}

static void check_padded_fixed(struct point *p)
{
    check_fixed(p, false);
}

static void check_elastic_fixed(struct point *p)
{
    check_fixed(p, true);
}

static const struct {
    const char *model;
    void (*check)(struct point *point);
    int points;
} models[] = {
    {"mg1", check_mg1, 3},
    {"mg1_impatient", check_impatient, 2},
    {"opt_nmax", check_token_limit, 4},
    {"dyn", check_padded_dynamic, 6},
    {"edyn", check_elastic_dynamic, 2},
    {"fixed", check_padded_fixed, 3},
    {"efixed", check_elastic_fixed, 2},
};
#define MODELS (sizeof models / sizeof models[0])

static void check_model(size_t model)
{
    struct km_json json;
    struct km_error error;
    if (!km_file_exists(REFERENCE))
        skip();
    assert_int_equal(km_json_read(REFERENCE, &json, &error), KM_OK);
    int points = 0;
    compared = 0;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, km_json_get(json.root, "public"))
    {
        struct point p = {.input = km_json_get(entry, "input"),
                          .theory = km_json_get(entry, "theory"),
                          .simulated = km_json_get(entry, "sim")};
        if (strcmp(km_json_get(p.input, "model")->valuestring, models[model].model) != 0)
            continue;
        p.id = km_json_get(p.input, "id")->valuestring;
        p.rate_per_s = number(p.input, "lam");
        p.tails = numbers(p.input, "t", p.t_s, TAILS);
        if (km_json_get(p.input, "dist"))
            read_law(km_json_get(p.input, "dist"), &p);
        models[model].check(&p);
        km_token_law_release(&p.law);
        points++;
    }
    assert_int_equal(points, models[model].points);
    assert_true(compared >= 2 * points);
    km_json_release(&json);
}

static void test_model(void **state)
{
    check_model(*(const size_t *)*state);
}

int main(void)
{
    static size_t index[MODELS];
    struct CMUnitTest tests[MODELS];
    for (size_t i = 0; i < MODELS; i++) {
        index[i] = i;
        tests[i] = (struct CMUnitTest){models[i].model, test_model, NULL, NULL, &index[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
