#include "economics/economics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct km_economics defaults = KM_ECONOMICS_DEFAULTS;

static void expect(double got, double want, const char *what)
{
    if (!(fabs(got - want) <= 1e-12 * fabs(want)))
        fail_msg("%s: %.17g, expected %.17g", what, got, want);
}

/* Two hours on four GPUs at 2 USD and one hour on two at 3 USD, by hand. */
static void bill_by_hand(void **state)
{
    (void)state;
    const struct km_economics economics = {
        .pue = 1.5, .host_power_w_per_gpu = 100, .grid_gco2_per_kwh = 400, .electricity_usd_per_kwh = 0.1};
    const struct km_rented rented[] = {{4 * 7200.0, 2, 500}, {2 * 3600.0, 3, 250}};
    const struct km_served_tokens served = {
        .duration_s = 7200, .prompt_share = 0.25, .prompt_tokens = 3000000, .output_tokens = 1000000};
    struct km_bill bill;
    km_bill_make(&economics, rented, 2, &served, &bill);
    /* GPUs 4 * 2 + 2 * 1 = 10 hours; energy 8 h * 500 W + 2 h * 250 W = 4.5 kWh; site (4.5 + 1) * 1.5 */
    const struct {
        const char *what;
        double got, want;
    } rows[] = {
        {"gpus", bill.gpus, 5},
        {"gpu_hours", bill.gpu_hours, 10},
        {"usd", bill.usd, 16 + 6 + 0.825},
        {"usd_per_hour", bill.usd_per_hour, 22.825 / 2},
        {"electricity_usd", bill.electricity_usd, 0.825},
        {"input", bill.usd_per_million_input_tokens, 22.825 * 0.25 / 3},
        {"output", bill.usd_per_million_output_tokens, 22.825 * 0.75},
        {"tokens", bill.usd_per_million_tokens, 22.825 / 4},
        {"energy", bill.energy_j, 4.5 * 3.6e6},
        {"power", bill.mean_power_w, 2250},
        {"site", bill.site_energy_j, 8.25 * 3.6e6},
        {"energy a token", bill.energy_per_output_token_j, 16.2},
        {"gco2", bill.gco2, 3300},
        {"gco2 a million", bill.gco2_per_million_tokens, 825},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(rows[i].got, rows[i].want, rows[i].what);
    /* What input and output tokens pay adds up to the bill. */
    expect(bill.usd_per_million_input_tokens * 3 + bill.usd_per_million_output_tokens, bill.usd, "sum");
}

static void undefined(void **state)
{
    (void)state;
    const struct km_rented rented = {100, 2, 500};
    struct km_served_tokens served = {.duration_s = (double)NAN, .prompt_share = (double)NAN};
    struct km_bill bill;
    km_bill_make(&defaults, &rented, 1, &served, &bill);
    assert_true(isnan(bill.usd) && isnan(bill.gpus) && isnan(bill.usd_per_hour) && isnan(bill.energy_j) &&
                isnan(bill.gco2) && isnan(bill.usd_per_million_tokens) && isnan(bill.mean_power_w));
    /* Only output: no price of input. */
    served = (struct km_served_tokens){.duration_s = 10, .prompt_share = 0, .output_tokens = 5};
    km_bill_make(&defaults, &rented, 1, &served, &bill);
    assert_true(isnan(bill.usd_per_million_input_tokens));
    expect(bill.usd_per_million_output_tokens, bill.usd / 5 * 1e6, "output alone");
    assert_true(bill.electricity_usd == 0);
    /* One request that took no time at all. */
    served.duration_s = 0;
    km_bill_make(&defaults, &rented, 1, &served, &bill);
    assert_true(isnan(bill.usd) && isnan(bill.usd_per_hour));
}

/* Idle, streaming and computing at their best are the three corners of the law; nothing exceeds the limit. */
static void power(void **state)
{
    (void)state;
    const struct km_power_law law = {80, 700, 592.21, 0.92, 700, 0.66};
    expect(km_power_mean_w(&law, 0, 0), 80, "idle");
    expect(km_power_mean_w(&law, 0, 0.92), 592.21, "streaming");
    expect(km_power_mean_w(&law, 0.66, 0), 700, "computing");
    expect(km_power_mean_w(&law, 0.66, 0.5), 700, "limit");
    expect(km_power_mean_w(&law, 0.33, 0.46), 80 + 620.0 / 2 + 512.21 / 2, "between, at most the limit");
    assert_true(isnan(km_power_mean_w(&law, (double)NAN, 0.1)));
    double before = 0;
    for (int i = 0; i <= 100; i++) {
        double now = km_power_mean_w(&law, 0.007 * i, 0.005 * i);
        assert_true(now >= before && now >= 80 && now <= 700);
        before = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bill_by_hand),
        cmocka_unit_test(undefined),
        cmocka_unit_test(power),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
