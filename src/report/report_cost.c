#include "report/cells.h"
#include "report/parts.h"

#include <math.h>
#include <stdio.h>

void km_report_cost_json(const struct km_bill *bill, struct km_json_writer *w)
{
    static const struct km_bill none = {
        .gpus = (double)NAN,
        .gpu_hours = (double)NAN,
        .usd_per_hour = (double)NAN,
        .usd = (double)NAN,
        .electricity_usd = (double)NAN,
        .prompt_share = (double)NAN,
        .usd_per_million_input_tokens = (double)NAN,
        .usd_per_million_output_tokens = (double)NAN,
        .usd_per_million_tokens = (double)NAN,
        .mean_power_w = (double)NAN,
        .energy_j = (double)NAN,
        .site_energy_j = (double)NAN,
        .energy_per_output_token_j = (double)NAN,
        .gco2 = (double)NAN,
        .gco2_per_million_tokens = (double)NAN,
    };
    const struct km_bill *b = bill ? bill : &none;
    km_json_put_open(w, "cost", '{');
    km_json_put_number(w, "gpus", b->gpus);
    km_json_put_number(w, "gpu_hours", b->gpu_hours);
    km_json_put_number(w, "usd_per_hour", b->usd_per_hour);
    km_json_put_number(w, "usd", b->usd);
    km_json_put_number(w, "electricity_usd", b->electricity_usd);
    km_json_put_number(w, "input_share", b->prompt_share);
    km_json_put_number(w, "usd_per_million_input_tokens", b->usd_per_million_input_tokens);
    km_json_put_number(w, "usd_per_million_output_tokens", b->usd_per_million_output_tokens);
    km_json_put_number(w, "usd_per_million_tokens", b->usd_per_million_tokens);
    km_json_put_number(w, "mean_power_w", b->mean_power_w);
    km_json_put_number(w, "energy_j", b->energy_j);
    km_json_put_number(w, "site_energy_j", b->site_energy_j);
    km_json_put_number(w, "energy_per_output_token_j", b->energy_per_output_token_j);
    km_json_put_number(w, "gco2", b->gco2);
    km_json_put_number(w, "gco2_per_million_tokens", b->gco2_per_million_tokens);
    km_json_put_close(w, '}');
}

/* 1.25, 0.00123; "-" where undefined */
static const char *amount(char *out, double value)
{
    if (!isfinite(value))
        snprintf(out, KM_CELL, "-");
    else if (fabs(value) < 0.1)
        snprintf(out, KM_CELL, "%.3g", value);
    else
        km_cell_grouped(out, value, value < 1000 ? 2 : 0);
    return out;
}

void km_report_cost_text(const struct km_bill *bill, struct km_text *out)
{
    char a[KM_CELL], b[KM_CELL], c[KM_CELL], d[KM_CELL];
    if (!bill || isnan(bill->usd))
        return;
    km_text_printf(
        out, KM_REPORT_LABEL "%s GPU%s, %s USD an hour, %s USD in all; a million tokens: input %s USD, ",
        "cost", amount(a, bill->gpus), bill->gpus > 1 ? "s" : "", amount(b, bill->usd_per_hour),
        amount(c, bill->usd), amount(d, bill->usd_per_million_input_tokens));
    km_text_printf(out, "output %s USD\n", amount(a, bill->usd_per_million_output_tokens));
    if (isnan(bill->energy_j))
        return;
    km_text_printf(out, KM_REPORT_LABEL "%s W on average, %s J an output token; with the site %s kWh, ",
                   "energy", km_cell_rounded(a, bill->mean_power_w),
                   amount(b, bill->energy_per_output_token_j), amount(c, bill->site_energy_j / 3.6e6));
    km_text_printf(out, "%s g CO2\n", amount(a, bill->gco2));
}
