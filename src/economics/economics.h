/* What a run costs: money, energy, carbon dioxide.
 *
 * Money: every GPU is rented by the hour for as long as it is there, busy or not; electricity can be billed
 * on top where the rent does not hold it. The bill is divided between input and output tokens in proportion
 * to the device time they took: a step's time is shared out over the tokens of its batch, so a decode step is
 * all output, a step of prompts all input, and a mixed one divides by tokens. Time without work is borne by
 * both in the same proportion. Input tokens are those of completed prompts, found in the prefix cache or not.
 *
 * Energy of a GPU: mean power is linear in the two things that a device does,
 *
 *   P = idle + (stream - idle) * MBU / stream_mbu + (compute - idle) * MFU / compute_mfu,    at most the
 * limit,
 *
 * where a device that only streams memory at its best rate (stream_mbu of the datasheet's) draws `stream`,
 * and one that only multiplies matrices at its sustained rate (compute_mfu) draws `compute`. MFU and MBU over
 * the time the GPUs are paid for give the mean over that time, since the law is linear (only the limit is
 * applied to the mean, not to each step). Of Llama-3.1-8B under vLLM on an H100 at batch 64 the ML.ENERGY
 * benchmark v3.0 (December 2025, "LLM Inference Energy: A Longitudinal Analysis") measured 0.12 J an output
 * token; with the roofline's step times this law says 0.09 (tests/test_bill.c). Of Qwen3-14B under vLLM on an H200 it was
 * predicted 5.3 to 7.9 % too low: power 7 to 8 % below saturation; at it time, with power 2 to 3 % too high
 * (tests/validation/blind). The servers around the
 * GPUs and the building are added as host power and power usage effectiveness (PUE = all power of the site / power
 * of its computers). */
#ifndef KM_ECONOMICS_ECONOMICS_H
#define KM_ECONOMICS_ECONOMICS_H

#include "base/settings.h"

#include <stddef.h>
#include <stdint.h>

/* Section `economics:` of a scenario. */
struct km_economics {
    double price_usd_per_gpu_hour;  /* 0 = the device's */
    double electricity_usd_per_kwh; /* on top of the rent; 0 = the rent holds it */
    double pue;                     /* >= 1 */
    double host_power_w_per_gpu;    /* CPUs, memory, fans, network of a server, divided by its GPUs */
    double grid_gco2_per_kwh;
};

/* pue: mean of the Uptime Institute's Global Data Center Survey 2024. host_power_w_per_gpu: a server of eight
 * H100 draws at most 8.48 kW, of which 8 * 700 W are the GPUs': (8480 - 5600) / 8 = 360 (Latif et al. 2024,
 * arXiv 2412.08602). grid_gco2_per_kwh: world mean of 2024 (IEA, Electricity 2025, chapter Emissions). */
#define KM_ECONOMICS_DEFAULTS                                                                                \
    {                                                                                                        \
        .pue = 1.56, .host_power_w_per_gpu = 360, .grid_gco2_per_kwh = 445                                   \
    }

extern const struct km_setting km_economics_section[]; /* target: struct km_economics */

struct km_power_law {
    double idle_w, limit_w;
    double stream_w, stream_mbu;   /* > 0 */
    double compute_w, compute_mfu; /* > 0 */
};

/* Mean power of one GPU. Shares of the datasheet's peaks; NAN when a share is. */
double km_power_mean_w(const struct km_power_law *law, double mfu, double mbu);

/* GPUs of one kind during a run. */
struct km_rented {
    double gpu_seconds;
    double price_usd_per_hour; /* of one GPU */
    double mean_power_w;       /* of one GPU */
};

/* What they did together. */
struct km_served_tokens {
    double duration_s;
    double prompt_share; /* of the device time; NAN when there was none */
    uint64_t prompt_tokens, output_tokens;
};

struct km_bill { /* NAN where undefined */
    double gpus; /* on average over the run */
    double gpu_hours;
    double usd_per_hour, usd;
    double electricity_usd; /* part of usd */
    double prompt_share;    /* of the bill that input tokens bear */
    double usd_per_million_input_tokens, usd_per_million_output_tokens;
    double usd_per_million_tokens;    /* input and output alike */
    double mean_power_w;              /* of all GPUs together */
    double energy_j;                  /* of the GPUs */
    double site_energy_j;             /* with hosts and building */
    double energy_per_output_token_j; /* GPU energy over output tokens, that of the prompts included */
    double gco2, gco2_per_million_tokens;
};

/* rented: [count]. With no duration (nothing completed) everything is undefined. */
void km_bill_make(const struct km_economics *economics, const struct km_rented *rented, size_t count,
                  const struct km_served_tokens *served, struct km_bill *out);

#endif
