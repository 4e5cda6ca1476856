#include "campaign/draw.h"

#include "base/random.h"
#include "batching/batching.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct drawing {
    const struct keys *keys;
    gsl_rng *rng;
    struct random_scenario *c;
};

static void draw(const struct drawing *d, const char *key)
{
    keys_draw(d->keys, d->rng, key, d->c);
}

static void maybe(const struct drawing *d, unsigned percent, const char *key)
{
    if (chance(d->rng, percent))
        draw(d, key);
}

static long integer(const struct drawing *d, const char *key)
{
    const char *value = case_get(d->c, key);
    return value ? atol(value) : 0;
}

/* --- workload ------------------------------------------------------------------------------------------ */

static void parameter(const struct drawing *d, const char *prefix, const char *name)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", prefix, name);
    draw(d, key);
}

/* A list of numbers, each drawn like one. */
static void list(const struct drawing *d, const char *prefix, const char *name, uint32_t count)
{
    struct km_text values = {0};
    char key[128];
    snprintf(key, sizeof key, "%s.%s", prefix, name);
    for (uint32_t i = 0; i < count; i++) {
        draw(d, key);
        km_text_printf(&values, "%s%s", i ? ", " : "[", case_get(d->c, key));
    }
    case_set(d->c, key, "%s]", km_text_c(&values));
    km_text_release(&values);
}

static void draw_lengths(const struct drawing *d, const char *prefix)
{
    /* In the order of km_distribution_settings' kinds; two forms of lognormal and of empirical. */
    static const struct {
        const char *kind, *parameters[3];
    } shapes[] = {{"constant", {"value"}},       {"uniform", {"min", "max"}},    {"geometric", {"mean"}},
                  {"lognormal", {"mean", "sd"}}, {"lognormal", {"mu", "sigma"}}, {"gamma", {"mean", "cv"}},
                  {"zipf", {"exponent", "max"}}, {"empirical", {"file"}},        {"empirical", {NULL}}};
    char key[128];
    uint32_t shape = pick(d->rng, 0, sizeof shapes / sizeof *shapes);
    if (shape == sizeof shapes / sizeof *shapes) { /* a plain number */
        case_set(d->c, prefix, "%u", pick(d->rng, 1, 120));
        return;
    }
    snprintf(key, sizeof key, "%s.distribution", prefix);
    case_set(d->c, key, "%s", shapes[shape].kind);
    for (size_t i = 0; i < 3 && shapes[shape].parameters[i]; i++)
        parameter(d, prefix, shapes[shape].parameters[i]);
    if (shape + 1 == sizeof shapes / sizeof *shapes) {
        uint32_t count = pick(d->rng, 1, 6);
        list(d, prefix, "values", count);
        if (chance(d->rng, 50))
            list(d, prefix, "weights", count);
    }
    snprintf(key, sizeof key, "%s.max", prefix);
    bool clips = strcmp(shapes[shape].kind, "constant") != 0;
    if (clips && !case_get(d->c, key) && chance(d->rng, 60))
        draw(d, key);
    snprintf(key, sizeof key, "%s.min", prefix);
    if (clips && !case_get(d->c, key) && chance(d->rng, 20))
        draw(d, key);
}

static void draw_rows(const struct drawing *d)
{
    struct random_scenario *c = d->c;
    gsl_rng *rng = d->rng;
    bool hashes = chance(rng, 50), sessions = chance(rng, 30), classes = chance(rng, 40),
         ties = chance(rng, 30);
    double gap_s = chance(rng, 50) ? spread(rng, 1e-4, 0.02) : spread(rng, 1e-3, 3);
    uint32_t longest_prompt = chance(rng, hashes ? 70 : 20) ? 3000 : 300;
    uint64_t now_us = chance(rng, 50) ? 0 : 1000 * (uint64_t)pick(rng, 0, 100000);
    c->row_count = pick(rng, 1, chance(rng, 20) ? 3 : chance(rng, 10) ? MOST_REQUESTS : 50);
    c->mooncake = !classes && !sessions && chance(rng, 30);
    for (size_t i = 0; i < c->row_count; i++) {
        uint32_t prompt = (uint32_t)spread(rng, 1, longest_prompt);
        c->rows[i] = (struct row){
            .arrival_us = c->mooncake ? now_us / 1000 * 1000 : now_us, /* that format counts milliseconds */
            .prompt_tokens = prompt,
            .output_tokens = (uint32_t)spread(rng, 1, chance(rng, 10) ? 400 : 80),
            .session = sessions ? pick(rng, 0, 5) : 0,
            .class_index = classes ? pick(rng, 0, 3) : 0,
            .prefix = hashes ? pick(rng, 0, 3) : 0,
            .shared_blocks = pick(rng, 0, 4),
        };
        if (!ties || chance(rng, 60))
            now_us += (uint64_t)(spread(rng, gap_s / 100, gap_s * 3) * 1e6);
    }
}

/* Lengths with a trace replace the trace's own. */
static void draw_trace(const struct drawing *d)
{
    draw_rows(d);
    draw(d, "workload.trace");
    if (chance(d->rng, 20))
        case_set(d->c, "workload.trace_format", d->c->mooncake ? "mooncake" : "kingman");
    if (chance(d->rng, 10))
        draw_lengths(d, "workload.prompt_tokens");
    if (chance(d->rng, 10))
        draw_lengths(d, "workload.output_tokens");
    maybe(d, 8, "workload.start_s");
    if (chance(d->rng, 10)) {
        draw(d, "workload.bootstrap_block_s");
        maybe(d, 50, "workload.bootstrap_length");
    }
}

static void draw_arrivals(const struct drawing *d)
{
    struct random_scenario *c = d->c;
    const bool trace = c->row_count > 0;
    draw(d, "workload.arrivals.process");
    const char *process = case_get(c, "workload.arrivals.process");
    if (!trace && strcmp(process, "trace") == 0) {
        case_set(c, "workload.arrivals.process", "poisson");
        process = "poisson";
    }
    bool varied = strcmp(process, "gamma") == 0 || strcmp(process, "weibull") == 0;
    if (strcmp(process, "closed_loop") == 0) {
        draw(d, "workload.arrivals.clients");
        if (chance(d->rng, 50))
            draw_lengths(d, "workload.arrivals.think_s");
    } else if (varied || strcmp(process, "poisson") == 0 || strcmp(process, "constant") == 0) {
        draw(d, "workload.arrivals.rate_per_s");
        if (varied)
            draw(d, "workload.arrivals.cv");
        maybe(d, 15, "workload.arrivals.swing");
        maybe(d, 15, "workload.arrivals.swing_period_s");
    }
}

/* Turns that wait for their answers; their lengths are the trace's, and nothing cuts it. */
static void draw_sessions(const struct drawing *d)
{
    static const char *const others[] = {"workload.prompt_tokens",       "workload.output_tokens",
                                         "workload.prompt_tokens_scale", "workload.output_tokens_scale",
                                         "workload.bootstrap_block_s",   "workload.bootstrap_length"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        case_drop(d->c, others[i]);
    draw(d, "workload.sessions.turns");
    draw_lengths(d, "workload.sessions.think_s");
    draw(d, "workload.sessions.prompts");
}

static void draw_workload(const struct drawing *d)
{
    struct random_scenario *c = d->c;
    if (chance(d->rng, 50))
        draw_trace(d);
    if (!c->row_count || chance(d->rng, 15))
        draw_arrivals(d);
    if (!c->row_count) {
        draw_lengths(d, "workload.prompt_tokens");
        draw_lengths(d, "workload.output_tokens");
        draw(d, "workload.requests");
    } else {
        maybe(d, 15, "workload.requests");
    }
    bool closed = case_is(c, "workload.arrivals.process", "closed_loop");
    maybe(d, closed ? 0 : 15, "workload.rate_scale");
    maybe(d, 10, "workload.end_s");
    keys_draw_some(d->keys, d->rng, "workload.", "workload.", c);
    if (chance(d->rng, 20)) {
        draw(d, "workload.cancel.share");
        uint32_t which = pick(d->rng, 1, 3);
        if (which & 1)
            draw_lengths(d, "workload.cancel.after_s");
        if (which & 2)
            draw_lengths(d, "workload.cancel.after_tokens");
    }
    if (c->row_count && !closed && chance(d->rng, 20))
        draw_sessions(d);
}

/* --- replicas ------------------------------------------------------------------------------------------ */

static void draw_all_reduce(const struct drawing *d)
{
    static const char key[] = "engine.collectives.all_reduce";
    char at[128];
    uint32_t rules = pick(d->rng, 1, 3);
    for (uint32_t i = 0; i < rules; i++) {
        snprintf(at, sizeof at, "%s.%u.algorithm", key, i);
        keys_draw_at(d->keys, d->rng, "engine.collectives.all_reduce.algorithm", at, d->c);
        snprintf(at, sizeof at, "%s.%u.fixed_s", key, i);
        if (chance(d->rng, 50))
            keys_draw_at(d->keys, d->rng, "engine.collectives.all_reduce.fixed_s", at, d->c);
        snprintf(at, sizeof at, "%s.%u.bandwidth_share", key, i);
        if (chance(d->rng, 30))
            keys_draw_at(d->keys, d->rng, "engine.collectives.all_reduce.bandwidth_share", at, d->c);
        if (i + 1 == rules)
            break; /* the last rule always holds */
        snprintf(at, sizeof at, "%s.%u.below_bytes", key, i);
        keys_draw_at(d->keys, d->rng, "engine.collectives.all_reduce.below_bytes", at, d->c);
        snprintf(at, sizeof at, "%s.%u.max_ranks", key, i);
        if (chance(d->rng, 40))
            keys_draw_at(d->keys, d->rng, "engine.collectives.all_reduce.max_ranks", at, d->c);
        snprintf(at, sizeof at, "%s.%u.direct", key, i);
        if (chance(d->rng, 40))
            keys_draw_at(d->keys, d->rng, "engine.collectives.all_reduce.direct", at, d->c);
    }
}

/* Stated once, in one of two ways. */
static void draw_frontend(const struct drawing *d)
{
    maybe(d, 5, "engine.host.ingest_s");
    if (case_get(d->c, "engine.host.ingest_s"))
        return;
    maybe(d, 20, "engine.frontend.kind");
    maybe(d, 10, "engine.frontend.fixed_s");
    maybe(d, 10, "engine.frontend.prompt_token_s");
    maybe(d, 10, "engine.frontend.chunk_s");
    maybe(d, 10, "engine.frontend.capacity_per_s");
}

static void draw_batching(const struct drawing *d)
{
    struct random_scenario *c = d->c;
    draw_frontend(d);
    draw(d, "engine.batching.policy");
    draw(d, "engine.batching.max_num_seqs");
    draw(d, "engine.batching.max_num_batched_tokens");
    maybe(d, 25, "engine.max_model_len");
    maybe(d, 20, "engine.batching.long_prefill_token_threshold");
    if (chance(d->rng, 15)) { /* then the budget must hold the longest request */
        case_set(c, "engine.batching.enable_chunked_prefill", "false");
        draw(d, "engine.max_model_len");
        case_set(c, "engine.batching.max_num_batched_tokens", "%ld", 48 + integer(d, "engine.max_model_len"));
        case_drop(c, "engine.batching.long_prefill_token_threshold");
    }
    const char *policy = case_get(c, "engine.batching.policy");
    if (strcmp(policy, "fixed") == 0 || strcmp(policy, "elastic") == 0 || chance(d->rng, 5)) {
        draw(d, "engine.batching.batch_size");
        if (integer(d, "engine.batching.batch_size") > integer(d, "engine.batching.max_num_seqs"))
            case_set(c, "engine.batching.max_num_seqs", "%ld", integer(d, "engine.batching.batch_size"));
    }
    maybe(d, km_batching_find(policy)->traits & KM_BATCHING_BY_LENGTH ? 100 : 10, "prediction.output_tokens");
    if (km_batching_find(policy)->settings)
        maybe(d, 50, "engine.batching.policy_settings");
    maybe(d, strcmp(policy, "dynamic") == 0 || strcmp(policy, "elastic") == 0 ? 60 : 5,
          "engine.batching.batch_cap");
}

static void draw_cost(const struct drawing *d)
{
    uint32_t model = pick(d->rng, 0, 99);
    if (model < 25) {
        case_set(d->c, "cost.model", "linear");
        maybe(d, 60, "cost.k1");
        maybe(d, 60, "cost.k2");
        maybe(d, 60, "cost.k3");
        draw(d, "cost.k4");
    } else if (model < 29) { /* profiles take long to read */
        case_set(d->c, "cost.model", "profile");
        draw(d, "cost.profile");
    } else if (model < 60) {
        case_set(d->c, "cost.model", "roofline");
    }
}

/* Replicas of several kinds, each with some keys of its own. */
static void draw_groups(const struct drawing *d)
{
    struct random_scenario *c = d->c;
    uint32_t groups = pick(d->rng, 1, 3);
    char at[64];
    for (uint32_t i = 0; i < groups; i++) {
        snprintf(at, sizeof at, "cluster.groups.%u.device", i);
        keys_draw_at(d->keys, d->rng, "cluster.groups.device", at, c);
        snprintf(at, sizeof at, "cluster.groups.%u.", i);
        keys_draw_some(d->keys, d->rng, "cluster.groups.", at, c);
        if (chance(d->rng, 30)) {
            snprintf(at, sizeof at, "cluster.groups.%u.engine.batching.max_num_seqs", i);
            keys_draw_at(d->keys, d->rng, "engine.batching.max_num_seqs", at, c);
        }
        if (chance(d->rng, 20)) {
            snprintf(at, sizeof at, "cluster.groups.%u.precision.kv_cache", i);
            keys_draw_at(d->keys, d->rng, "precision.kv_cache", at, c);
        }
    }
}

static void draw_schedule(const struct drawing *d)
{
    uint32_t entries = pick(d->rng, 1, 4);
    long lowest = integer(d, "autoscaling.min_replicas"), highest = integer(d, "autoscaling.max_replicas");
    double at_s = chance(d->rng, 50) ? 0 : 0.5;
    for (uint32_t i = 0; i < entries; i++, at_s += spread(d->rng, 0.1, 6)) {
        char key[64];
        snprintf(key, sizeof key, "autoscaling.schedule.%u.at_s", i);
        case_set(d->c, key, "%.4g", at_s);
        snprintf(key, sizeof key, "autoscaling.schedule.%u.replicas", i);
        case_set(d->c, key, "%u", pick(d->rng, lowest ? (uint32_t)lowest : 1, (uint32_t)highest));
    }
    maybe(d, 40, "autoscaling.period_s");
}

static void draw_autoscaling(const struct drawing *d)
{
    struct random_scenario *c = d->c;
    draw(d, "autoscaling.policy");
    maybe(d, 60, "autoscaling.min_replicas");
    draw(d, "autoscaling.max_replicas");
    draw(d, "autoscaling.startup_s");
    const char *policy = case_get(c, "autoscaling.policy");
    bool all = chance(d->rng, 5);
    if (all || strcmp(policy, "target_queue") == 0)
        draw(d, "autoscaling.target_requests");
    if (all || strcmp(policy, "target_utilization") == 0)
        draw(d, "autoscaling.target_utilization");
    if (all || strcmp(policy, "predictive") == 0)
        draw(d, "autoscaling.target_tokens_per_s");
    if (all || strcmp(policy, "schedule") == 0)
        draw_schedule(d);
    if (case_get(c, "cluster.groups.1.device"))
        draw(d, "autoscaling.group");
    else
        case_set(
            c, "cluster.replicas", "%u",
            pick(d->rng,
                 (uint32_t)integer(d, "autoscaling.min_replicas") + !case_get(c, "autoscaling.min_replicas"),
                 (uint32_t)integer(d, "autoscaling.max_replicas")));
    keys_draw_some(d->keys, d->rng, "autoscaling.", "autoscaling.", c);
}

/* --- targets ------------------------------------------------------------------------------------------- */

static void draw_terms(const struct drawing *d, const char *prefix)
{
    static const char *const metrics[] = {"ttft", "tpot", "itl", "e2e", "queueing_delay", "normalized"};
    static const char *const statistics[] = {"mean", "p50", "p90", "p99"};
    char key[128];
    for (uint32_t terms = pick(d->rng, 1, 3); terms > 0; terms--) {
        const char *metric = metrics[pick(d->rng, 0, 5)];
        const char *statistic = statistics[pick(d->rng, 0, 3)];
        snprintf(key, sizeof key, "%s.%s_%s_s", prefix, metric, statistic);
        case_set(d->c, key, "%.5g", spread(d->rng, 1e-4, 20));
    }
    snprintf(key, sizeof key, "%s.min_goodput_per_s", prefix);
    if (chance(d->rng, 30))
        case_set(d->c, key, "%.5g", spread(d->rng, 0.01, 50));
    snprintf(key, sizeof key, "%s.deadline_s", prefix);
    if (chance(d->rng, 30))
        case_set(d->c, key, "%.5g", spread(d->rng, 0.1, 100));
}

static void draw_slo(const struct drawing *d)
{
    if (chance(d->rng, 15)) { /* a dot parts keys: this one cannot be set by itself */
        double e2e_s = spread(d->rng, 0.1, 20), ttft_s = spread(d->rng, 1e-3, 20);
        case_set(d->c, "slo", "{e2e_p99.9_s: %.5g, ttft_p7.5_s: %.5g}", e2e_s, ttft_s);
        return;
    }
    draw_terms(d, "slo");
    if (chance(d->rng, 20))
        case_set(d->c, "slo.max_rejected_share", "%.3g", gsl_rng_uniform(d->rng));
    if (chance(d->rng, 20))
        case_set(d->c, "slo.max_abandoned_share", "%.3g", gsl_rng_uniform(d->rng));
    if (chance(d->rng, 30)) /* a class that is there, or none */
        draw_terms(d, d->c->row_count && d->c->rows[0].class_index && chance(d->rng, 80)
                          ? "slo.classes.c1"
                          : "slo.classes.nobody");
}

void draw_case_by(const struct keys *keys, gsl_rng *rng, struct km_arena *arena, struct random_scenario *out)
{
    memset(out, 0, sizeof *out);
    out->arena = arena;
    const struct drawing d = {keys, rng, out};
    draw(&d, "model");
    draw(&d, "cluster.device");
    if (chance(rng, 10))
        draw_groups(&d);
    keys_draw_some(keys, rng, "cluster.", "cluster.", out);
    keys_draw_some(keys, rng, "precision.", "precision.", out);
    draw_batching(&d);
    keys_draw_some(keys, rng, "engine.", "engine.", out);
    if (chance(rng, 6))
        draw_all_reduce(&d);
    draw_cost(&d);
    keys_draw_some(keys, rng, "cost.", "cost.", out);
    draw_workload(&d);
    if (chance(rng, 15))
        draw_autoscaling(&d);
    if (chance(rng, 40))
        draw_slo(&d);
    keys_draw_some(keys, rng, "economics.", "economics.", out);
    maybe(&d, 4, "search");
    maybe(&d, 4, "sweep");
    maybe(&d, 4, "executor");
    maybe(&d, 30, "seed");
}

void draw_case(const struct keys *keys, uint64_t seed, uint64_t number, struct km_arena *arena,
               struct random_scenario *out)
{
    /* km_random_stream() mixes its seed: neighbouring cases are unrelated. */
    gsl_rng *rng = km_random_stream(seed * 1000003u + number, KM_RANDOM_ARRIVALS);
    draw_case_by(keys, rng, arena, out);
    out->seed = seed;
    out->number = number;
    gsl_rng_free(rng);
}
