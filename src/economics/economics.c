#include "economics/economics.h"

#include <math.h>

#define SECONDS_PER_HOUR 3600.0
#define JOULES_PER_KWH   3.6e6
#define MILLION          1e6

#define AT(member) offsetof(struct km_economics, member)
const struct km_setting km_economics_section[] = {
    {"price_usd_per_gpu_hour", KM_SETTING_NUMBER, AT(price_usd_per_gpu_hour), KM_ABOVE_UP_TO(0, 1e6),
     .optional = true, .nullable = true, .doc = "rent of one GPU; null = the device's price_usd_per_hour"},
    {"electricity_usd_per_kwh", KM_SETTING_NUMBER, AT(electricity_usd_per_kwh), KM_BETWEEN(0, 1e3),
     .optional = true, .doc = "billed on top of the rent; 0 = the rent holds it"},
    {"pue", KM_SETTING_NUMBER, AT(pue), KM_BETWEEN(1, 10), .optional = true,
     .doc = "power of the site over power of its computers"},
    {"host_power_w_per_gpu", KM_SETTING_NUMBER, AT(host_power_w_per_gpu), KM_BETWEEN(0, 1e5),
     .optional = true, .doc = "a server's power without its GPUs, divided by them"},
    {"grid_gco2_per_kwh", KM_SETTING_NUMBER, AT(grid_gco2_per_kwh), KM_BETWEEN(0, 1e4), .optional = true,
     .doc = "grams of CO2 for a kWh of electricity"},
    {0},
};

double km_power_mean_w(const struct km_power_law *law, double mfu, double mbu)
{
    double power_w = law->idle_w + (law->stream_w - law->idle_w) * mbu / law->stream_mbu +
                     (law->compute_w - law->idle_w) * mfu / law->compute_mfu;
    return power_w > law->limit_w ? law->limit_w : power_w;
}

static double per_million(double amount, double tokens)
{
    return tokens > 0 ? amount / tokens * MILLION : (double)NAN;
}

void km_bill_make(const struct km_economics *economics, const struct km_rented *rented, size_t count,
                  const struct km_served_tokens *served, struct km_bill *out)
{
    double gpu_seconds = 0, rent_usd = 0, energy_j = 0;
    double span_s = served->duration_s > 0 ? served->duration_s : (double)NAN;
    for (size_t i = 0; i < count; i++) {
        gpu_seconds += rented[i].gpu_seconds;
        rent_usd += rented[i].gpu_seconds / SECONDS_PER_HOUR * rented[i].price_usd_per_hour;
        energy_j += rented[i].gpu_seconds * rented[i].mean_power_w;
    }
    double site_j = (energy_j + gpu_seconds * economics->host_power_w_per_gpu) * economics->pue;
    double site_kwh = site_j / JOULES_PER_KWH;
    double electricity_usd =
        economics->electricity_usd_per_kwh > 0 ? site_kwh * economics->electricity_usd_per_kwh : 0;
    double known = span_s / span_s; /* 1, or NAN without a duration */
    double usd = (rent_usd + electricity_usd) * known;
    double input = (double)served->prompt_tokens, output = (double)served->output_tokens;
    double gco2 = site_kwh * economics->grid_gco2_per_kwh * known;
    *out = (struct km_bill){
        .gpus = gpu_seconds / span_s,
        .gpu_hours = gpu_seconds / SECONDS_PER_HOUR * known,
        .usd_per_hour = usd / span_s * SECONDS_PER_HOUR,
        .usd = usd,
        .electricity_usd = electricity_usd * known,
        .prompt_share = served->prompt_share,
        .usd_per_million_input_tokens = per_million(usd * served->prompt_share, input),
        .usd_per_million_output_tokens = per_million(usd * (1 - served->prompt_share), output),
        .usd_per_million_tokens = per_million(usd, input + output),
        .mean_power_w = energy_j / span_s,
        .energy_j = energy_j * known,
        .site_energy_j = site_j * known,
        .energy_per_output_token_j = per_million(energy_j * known, output) / MILLION,
        .gco2 = gco2,
        .gco2_per_million_tokens = per_million(gco2, input + output),
    };
}
