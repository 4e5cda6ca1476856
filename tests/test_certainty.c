/* What a plan could cost if the cost model errs as it did against measurements, and which ranks that leaves
 * open. */
#include "planner/certainty.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_cost_interval(void **state)
{
    (void)state;
    static const struct {
        bool free;
        uint32_t replicas, most_replicas;
        double slow, fast;  /* maximum rates over the asked one */
        double least, most; /* of a plan that takes 12 GPUs, by GPUs */
    } cases[] = {
        {true, 1, 8, 1.0, 1.5, 12, 12},           /* one replica still holds, and is the fewest */
        {true, 1, 8, 0.9, 1.5, 12, 24},           /* slow, it takes a second one */
        {true, 3, 8, 0.7, 1.6, 8, 20},            /* 3 / 1.6 = 1.9: two do; 3 / 0.7 = 4.3: five */
        {true, 3, 4, 0.7, 1.0, 12, INFINITY},     /* more than the budget has */
        {true, 2, 8, 0.0, 2.0, 6, INFINITY},      /* never holds */
        {false, 2, 2, 1.0, 4.0, 12, 12},          /* as many as are stated, no fewer */
        {false, 2, 2, 0.99, 1.0, 12, INFINITY},   /* and no more */
        {true, 2, 8, 0.5, 0.8, 18, 24},           /* measured slower than simulated at best */
        {true, 2, 8, (double)NAN, 1.0, NAN, NAN}, /* not known */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_probe probe = {0};
        struct km_candidate candidate = {.replicas = cases[i].replicas,
                                         .most_replicas = cases[i].most_replicas,
                                         .gpus_per_replica = 12 / cases[i].replicas,
                                         .probe = &probe};
        const struct km_plan plan = {
            .search = {.replicas_free = cases[i].free, .objective = KM_OBJECTIVE_GPUS}};
        struct km_plan_entry entry = {
            .candidate = &candidate, .cost = 12, .least_cost = (double)NAN, .most_cost = (double)NAN};
        km_plan_cost_interval(&plan, cases[i].slow, cases[i].fast, &entry);
        const bool same = isnan(cases[i].least)
                              ? isnan(entry.least_cost) && isnan(entry.most_cost)
                              : entry.least_cost == cases[i].least && entry.most_cost == cases[i].most;
        if (!same)
            fail_msg("case %zu: %g to %g", i, entry.least_cost, entry.most_cost);
    }
}

/* Rows are told apart by their device here. */
static struct km_accuracy_answer row_of(const char *device)
{
    return (struct km_accuracy_answer){.row = {.key = {{device}}, .points = 9}};
}

static void test_marks(void **state)
{
    (void)state;
    static const struct {
        struct {
            const char *row; /* NULL: the error is stated */
            double least, most;
        } plans[3];
        const char *marks;
    } cases[] = {
        {{{"a", 10, 14}, {"a", 12, 16}, {"a", 13, 17}}, "..."}, /* one row: the error is common */
        {{{"a", 10, 14}, {"b", 12, 16}, {"b", 15, 17}},
         ".~."}, /* the last is certain against the first alone */
        {{{"a", 10, 11}, {"b", 12, 16}, {"b", 15, 17}}, "..."}, /* apart */
        {{{"a", 10, 14}, {"a", 12, 30}, {"b", 20, 25}}, "..~"}, /* against the second */
        {{{"a", 20, 24}, {"b", 12, 13}, {"b", 24, 25}}, ".~~"}, /* cheaper outright, and just touching */
        {{{NULL, 10, 14}, {NULL, 12, 16}, {NULL, 13, 17}}, "..."},
        {{{"a", NAN, NAN}, {"b", 12, 16}, {"c", NAN, NAN}}, "..."}, /* not known: nothing is said */
        {{{"a", 10, INFINITY}, {"b", 12, 12}, {"c", INFINITY, INFINITY}}, ".~~"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_accuracy_answer answers[3];
        struct km_candidate candidates[3];
        struct km_plan_entry entries[3];
        char marks[4] = "";
        bool differ = false;
        for (int j = 0; j < 3; j++) {
            const char *row = cases[i].plans[j].row;
            answers[j] = row_of(row ? row : j ? "x" : "y");
            candidates[j] =
                (struct km_candidate){.accuracy = &answers[j], .time_error = {.measured = row != NULL}};
            entries[j] = (struct km_plan_entry){.candidate = &candidates[j],
                                                .least_cost = cases[i].plans[j].least,
                                                .most_cost = cases[i].plans[j].most};
            differ |= row && strcmp(row, cases[i].plans[0].row) != 0;
        }
        const struct km_plan plan = {.entries = entries};
        assert_int_equal(km_plan_rows_differ(&plan, 3), differ);
        km_plan_mark_uncertain(entries, 3);
        for (int j = 0; j < 3; j++)
            marks[j] = entries[j].uncertain ? '~' : '.';
        if (strcmp(marks, cases[i].marks) != 0)
            fail_msg("case %zu: %s", i, marks);
    }
}

/* A whole search: intervals where devices differ, none where plans share a row or the error is stated. */
static void test_plan(void **state)
{
    (void)state;
    static const struct {
        const char *devices, *cost;
        bool intervals;
    } cases[] = {
        {"[h200-sxm, mi300x]", "{model: roofline}", true},
        {"[h200-sxm, mi300x]", "{model: profile}", true}, /* MI300X has none: roofline, another row */
        {"[h200-sxm, mi300x]", "{model: roofline, time_error: 0.05}", false},
        {"[h200-sxm]", "{model: roofline}", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char search[200];
        snprintf(search, sizeof search,
                 "{cluster.device: %s, cluster.tensor_parallel_size: [1, 2], objective: usd_per_hour, "
                 "max_gpus: 4}",
                 cases[i].devices);
        const struct km_override overrides[] = {
            {"search", search},
            {"cost", cases[i].cost},
            {"slo", "{tpot_p95_s: 0.03}"},
            {"workload", "{trace: " KM_SOURCE_DIR "/traces/conversation-synthetic.csv, end_s: 100}"},
        };
        const struct km_plan_options options = {.workers = 2};
        struct km_plan plan;
        struct km_error error = {0};
        if (km_plan_create(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides, COUNT(overrides), &options,
                           &plan, &error) != KM_OK)
            fail_msg("case %zu: %s", i, error.message);
        assert_true(plan.holding >= 2);
        const struct km_plan_entry *winner = &plan.entries[0];
        assert_non_null(winner->candidate->accuracy);
        assert_int_equal(km_plan_rows_differ(&plan, plan.holding), cases[i].intervals);
        for (uint64_t j = 0; j < plan.holding; j++) {
            const struct km_plan_entry *entry = &plan.entries[j];
            const bool found = entry->candidate->capacity->kind == KM_CAPACITY_FOUND;
            assert_int_equal(!isnan(entry->least_cost), found && cases[i].intervals);
            assert_false(entry->uncertain && !cases[i].intervals);
            assert_true(isnan(entry->least_cost) || entry->least_cost <= entry->most_cost);
            assert_string_equal(entry->candidate->accuracy->asked.of[KM_ACCURACY_DEVICE],
                                entry->candidate->device);
        }
        assert_non_null(plan.sensitivity); /* the winner's rate was found */
        assert_true(plan.sensitivity->time_error.fast == winner->candidate->time_error.fast);
        assert_true(plan.sensitivity->low < plan.sensitivity->high);
        km_plan_release(&plan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cost_interval),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
