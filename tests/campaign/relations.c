#include "campaign/relations.h"

#include "hardware/device.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- conditions ---------------------------------------------------------------------------------------- */

/* Requests come from the trace as it stands. */
static void from_trace(struct random_scenario *c)
{
    static const char *const keys[] = {
        "workload.arrivals",         "workload.prompt_tokens", "workload.output_tokens",
        "workload.start_s",          "workload.end_s",         "workload.sessions",
        "workload.cancel",           "workload.requests",      "workload.bootstrap_block_s",
        "workload.bootstrap_length", "workload.rate_scale",    "autoscaling"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        case_drop(c, keys[i]);
    case_set(c, "workload.trace", "trace");
    for (size_t i = 0; c->row_count == 0 && i < 12; i++) /* a drawn workload: a trace in its place */
        c->rows[i] = (struct row){.arrival_us = i * (c->number % 977) * 1000,
                                  .prompt_tokens = 1 + (uint32_t)(c->number * (i + 7) % 301),
                                  .output_tokens = 1 + (uint32_t)(c->number * (i + 3) % 71)};
    c->row_count = c->row_count ? c->row_count : 12;
}

/* One replica, or equal ones. */
static void one_kind(struct random_scenario *c, unsigned replicas)
{
    case_drop(c, "cluster.groups");
    case_set(c, "cluster.replicas", "%u", replicas);
}

static void without_prefixes(struct random_scenario *c)
{
    for (size_t i = 0; i < c->row_count; i++)
        c->rows[i].prefix = 0;
}

/* A prediction depends on the request alone. */
static void steady_predictions(struct random_scenario *c)
{
    if (case_get(c, "prediction.output_tokens"))
        case_set(c, "prediction.output_tokens", "{kind: oracle}");
}

/* A step takes as long whenever it runs. */
static void steady_clock(struct random_scenario *c)
{
    case_set(c, "cost.power_state", "sustained");
}

/* One request after the other: a queue with one server, first come first served, whose service times depend
 * on the request alone: nothing overlaps, nothing is shared, nobody leaves. */
static void one_server(struct random_scenario *c, unsigned replicas)
{
    from_trace(c);
    one_kind(c, replicas);
    without_prefixes(c);
    steady_clock(c);
    case_set(c, "cluster.router", "round_robin");
    case_set(c, "cluster.pipeline_parallel_size", "1");
    case_set(c, "cluster.data_parallel_size", "1");
    case_set(c, "engine.batching.policy", "continuous");
    case_set(c, "engine.batching.max_num_seqs", "1");
    case_set(c, "engine.batching.async_scheduling", "false");
    case_drop(c, "engine.batching.batch_size");
    case_drop(c, "engine.batching.policy_settings");
    case_drop(c, "workload.patience_s");
}

/* --- comparing ----------------------------------------------------------------------------------------- */

static bool same_times(const struct ended *a, const struct ended *b, uint64_t shift_ps)
{
    const struct km_record *x = &a->record, *y = &b->record;
    if (a->outcome != b->outcome)
        return false;
    return a->outcome != KM_COMPLETED ||
           (x->scheduled_ps + shift_ps == y->scheduled_ps && x->started_ps + shift_ps == y->started_ps &&
            x->first_token_ps + shift_ps == y->first_token_ps &&
            x->last_token_ps + shift_ps == y->last_token_ps && x->preemptions == y->preemptions);
}

/* Row `id` of one run is row `other` of another, later by a shift. */
static bool row_agrees(const struct run *a, uint64_t id, const struct run *b, uint64_t other,
                       uint64_t shift_ps, const char *law, struct complaint *out)
{
    const struct ended *x = run_row(a, id), *y = run_row(b, other);
    if (x && y && same_times(x, y, shift_ps))
        return true;
    if (!x || !y)
        return complain(out, law, "request %" PRIu64 " or %" PRIu64 " is missing", id, other);
    return complain(out, law,
                    "request %" PRIu64 ": %d at %" PRIu64 " %" PRIu64 " %" PRIu64 ", then %d at %" PRIu64
                    " %" PRIu64 " %" PRIu64 ", expected later by %" PRIu64,
                    id, x->outcome, x->record.scheduled_ps, x->record.first_token_ps, x->record.last_token_ps,
                    y->outcome, y->record.scheduled_ps, y->record.first_token_ps, y->record.last_token_ps,
                    shift_ps);
}

/* Every request ends in b no later than in a. */
static bool no_later(const struct run *a, const struct run *b, const char *law, struct complaint *out)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct km_record *x = &a->rows[i].record, *y = &run_row(b, x->id)->record;
        if (y->last_token_ps > x->last_token_ps)
            return complain(out, law, "request %" PRIu64 " ends at %" PRIu64 " instead of %" PRIu64, x->id,
                            y->last_token_ps, x->last_token_ps);
    }
    return true;
}

static bool all_completed(const struct run *run)
{
    return run->status == KM_OK && run->result.summary.completed == run->count;
}

/* Run both; false, and both released, unless both ended well. */
static bool run_both(const struct random_scenario *a, const struct random_scenario *b, const char *folder,
                     const struct run_options *options, struct run *first, struct run *second)
{
    memset(second, 0, sizeof *second);
    run_case(a, folder, options, first);
    if (first->status == KM_OK)
        run_case(b, folder, options, second);
    if (first->status == KM_OK && second->status == KM_OK)
        return true;
    run_release(first);
    run_release(second);
    return false;
}

static enum verdict verdict_of(const struct complaint *out, bool asked, struct run *a, struct run *b)
{
    run_release(a);
    run_release(b);
    return out->text[0] ? BROKEN : asked ? HELD : NOT_ASKED;
}

/* --- the relations ------------------------------------------------------------------------------------- */

static void condition_shift(struct random_scenario *c)
{
    from_trace(c);
}

static enum verdict check_shift(const struct random_scenario *c, const char *folder, struct complaint *out)
{
    static struct random_scenario later;
    struct run a, b;
    later = *c;
    for (size_t i = 0; i < later.row_count; i++)
        later.rows[i].arrival_us += 12345678000;
    if (!run_both(c, &later, folder, NULL, &a, &b))
        return NOT_ASKED;
    same_runs(&a, &b, "time shift", out);
    return verdict_of(out, true, &a, &b);
}

static void condition_group(struct random_scenario *c)
{
    case_drop(c, "cluster.groups");
}

static enum verdict check_group(const struct random_scenario *c, const char *folder, struct complaint *out)
{
    static const char *const own[] = {"cluster.device", "cluster.replicas", "cluster.tensor_parallel_size",
                                      "cluster.pipeline_parallel_size", "cluster.node"};
    static const struct run_options options = {.without_scenario = true};
    static struct random_scenario grouped;
    struct run a, b;
    char to[128];
    grouped = *c;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        snprintf(to, sizeof to, "cluster.groups.0.%s", strchr(own[i], '.') + 1);
        case_move(&grouped, own[i], to);
    }
    case_set(&grouped, "cluster.device", "h200-sxm"); /* laid over */
    if (!run_both(c, &grouped, folder, &options, &a, &b))
        return NOT_ASKED;
    same_runs(&a, &b, "one group", out);
    return verdict_of(out, true, &a, &b);
}

static void condition_twins(struct random_scenario *c)
{
    static const char *const waiting[] = {"fixed", "dynamic", "elastic"};
    from_trace(c);
    steady_predictions(c);
    for (size_t i = 0; i < sizeof waiting / sizeof *waiting; i++)
        if (case_is(c, "engine.batching.policy", waiting[i]))
            case_drop(c, "workload.patience_s");
    one_kind(c, 1);
    case_set(c, "cluster.router", "round_robin");
    c->row_count = c->row_count < MOST_REQUESTS / 2 ? c->row_count : MOST_REQUESTS / 2;
}

static enum verdict check_twins(const struct random_scenario *c, const char *folder, struct complaint *out)
{
    static struct random_scenario twins;
    struct run a, b;
    twins = *c;
    case_set(&twins, "cluster.replicas", "2");
    twins.row_count = 2 * c->row_count;
    for (size_t i = 0; i < twins.row_count; i++)
        twins.rows[i] = c->rows[i / 2];
    /* own prompts stay unlike: a row's own hashes follow its place, and both of a pair are on different
     * replicas */
    if (!run_both(c, &twins, folder, NULL, &a, &b))
        return NOT_ASKED;
    for (uint64_t id = 0; id < twins.row_count; id++)
        row_agrees(&a, id / 2, &b, id, 0, "twice the load on twice the replicas", out);
    return verdict_of(out, true, &a, &b);
}

static void condition_more(struct random_scenario *c)
{
    one_server(c, 1 + (unsigned)(c->number % 3));
}

static enum verdict check_more(const struct random_scenario *c, const char *folder, struct complaint *out)
{
    static struct random_scenario more;
    struct run a, b;
    more = *c;
    case_set(&more, "cluster.replicas", "%d", 2 * atoi(case_get(c, "cluster.replicas")));
    if (!run_both(c, &more, folder, NULL, &a, &b))
        return NOT_ASKED;
    bool asked = all_completed(&a) && all_completed(&b);
    if (asked)
        no_later(&a, &b, "more replicas", out);
    return verdict_of(out, asked, &a, &b);
}

static void condition_shorter(struct random_scenario *c)
{
    one_server(c, 1);
    case_drop(c, "workload.output_tokens_scale");
}

static enum verdict check_shorter(const struct random_scenario *c, const char *folder, struct complaint *out)
{
    static struct random_scenario shorter;
    struct run a, b;
    shorter = *c;
    for (size_t i = c->number % 3; i < c->row_count; i += 3)
        shorter.rows[i].output_tokens = 1 + (shorter.rows[i].output_tokens - 1) / 2;
    if (!run_both(c, &shorter, folder, NULL, &a, &b))
        return NOT_ASKED;
    bool asked = all_completed(&a) && all_completed(&b);
    if (asked)
        no_later(&a, &b, "shorter outputs", out);
    return verdict_of(out, asked, &a, &b);
}

static void condition_faster(struct random_scenario *c)
{
    from_trace(c);
    one_kind(c, 1);
    steady_clock(c);
    c->row_count = 1;
    case_drop(c, "cost");
    case_set(c, "cost.power_state", "sustained");
    case_drop(c, "cluster.node");
    case_drop(c, "engine.kernels.gemm_time_scale");
    case_drop(c, "engine.kernels.gemm_power_rise");
}

/* The device's description, with something twice as good, as "<folder>/<name>.yaml". */
static void write_device(const char *device, const char *folder, const char *name, uint64_t what)
{
    struct km_arena arena = {0};
    struct km_device d;
    struct km_error error;
    struct km_text text = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/configs/devices/%s.yaml", KM_SOURCE_DIR, device);
    if (km_device_read(path, &arena, &d, &error) != KM_OK)
        abort();
    for (int i = 0; what == 1 && i < KM_DTYPE_COUNT; i++)
        d.peak_flops_per_s[i] *= 2;
    if (what == 2)
        d.bandwidth_bytes_per_s *= 2;
    if (what == 3) {
        d.node.link.bandwidth_bytes_per_s *= 2;
        d.node.network.bandwidth_bytes_per_s *= 2;
    }
    if (what == 4) {
        d.gemm_fixed_s /= 2;
        d.kernel_graph_s /= 2;
        d.node.link.latency_s /= 2;
    }
    km_settings_write_json(km_device_settings, &d, &text);
    snprintf(path, sizeof path, "%s/%s.yaml", folder, name);
    FILE *file = fopen(path, "w");
    if (!file || fputs(km_text_c(&text), file) < 0 || fclose(file) != 0)
        abort();
    km_text_release(&text);
    km_arena_release(&arena);
}

static enum verdict check_faster(const struct random_scenario *c, const char *folder, struct complaint *out)
{
    static struct random_scenario slow, fast;
    struct run a, b;
    slow = fast = *c;
    write_device(case_get(c, "cluster.device"), folder, "slow", 0);
    write_device(case_get(c, "cluster.device"), folder, "fast", 1 + c->number / 8 % 4);
    case_set(&slow, "cluster.device", "slow.yaml");
    case_set(&fast, "cluster.device", "fast.yaml");
    if (!run_both(&slow, &fast, folder, NULL, &a, &b))
        return NOT_ASKED;
    bool asked = all_completed(&a) && all_completed(&b);
    if (asked)
        no_later(&a, &b, "faster device", out);
    return verdict_of(out, asked, &a, &b);
}

/* Nothing of one part of the trace is left when the next begins. */
static void condition_split(struct random_scenario *c)
{
    from_trace(c);
    one_kind(c, 1);
    without_prefixes(c);
    steady_clock(c);
    case_set(c, "engine.batching.policy", "%s", c->number % 16 < 8 ? "continuous" : "orca");
    steady_predictions(c);
    case_drop(c, "engine.batching.batch_size");
    case_drop(c, "engine.batching.policy_settings");
}

#define APART_US UINT64_C(200000000000) /* 200,000 s */

/* The runs of [0, cut) and [cut, end) by themselves, and of both, the second APART_US after the first began.
 */
static enum verdict split_at(const struct random_scenario *c, size_t cut, const char *folder, const char *law,
                             struct complaint *out)
{
    static struct random_scenario both, part;
    struct run whole, one;
    bool asked = true;
    both = *c;
    for (size_t i = cut; i < c->row_count; i++)
        both.rows[i].arrival_us =
            c->rows[0].arrival_us + APART_US + c->rows[i].arrival_us - c->rows[cut].arrival_us;
    run_case(&both, folder, NULL, &whole);
    for (int half = 0; half < 2 && whole.status == KM_OK; half++) {
        part = *c;
        size_t from = half ? cut : 0, to = half ? c->row_count : cut;
        part.row_count = to - from;
        memmove(part.rows, &part.rows[from], part.row_count * sizeof *part.rows);
        run_case(&part, folder, NULL, &one);
        asked = asked && one.status == KM_OK && one.result.summary.duration_s < 1e-6 * APART_US / 2;
        for (size_t i = from; asked && i < to; i++)
            row_agrees(&one, i - from, &whole, i, half ? APART_US * 1000000 : 0, law, out);
        run_release(&one);
    }
    asked = asked && whole.status == KM_OK;
    run_release(&whole);
    return out->text[0] ? BROKEN : asked ? HELD : NOT_ASKED;
}

static enum verdict check_split(const struct random_scenario *c, const char *folder, struct complaint *out)
{
    return c->row_count < 2 ? NOT_ASKED : split_at(c, c->row_count / 2, folder, "split trace", out);
}

/* Each request alone, far from every other. */
static enum verdict check_idle(const struct random_scenario *c, const char *folder, struct complaint *out)
{
    static struct random_scenario sparse, alone;
    struct run all, one;
    bool asked;
    sparse = *c;
    sparse.row_count = c->row_count < 6 ? c->row_count : 6;
    for (size_t i = 0; i < sparse.row_count; i++)
        sparse.rows[i].arrival_us = i * APART_US;
    run_case(&sparse, folder, NULL, &all);
    asked = all.status == KM_OK;
    for (size_t i = 0; asked && i < sparse.row_count; i++) {
        alone = sparse;
        alone.row_count = 1;
        alone.rows[0] = sparse.rows[i];
        run_case(&alone, folder, NULL, &one);
        asked = one.status == KM_OK && !(one.result.summary.duration_s > 1e-6 * APART_US / 2);
        if (asked)
            row_agrees(&one, 0, &all, i, i * APART_US * 1000000, "rate to 0", out);
        run_release(&one);
    }
    run_release(&all);
    return out->text[0] ? BROKEN : asked ? HELD : NOT_ASKED;
}

const struct relation relations[] = {
    {"time shift",
     "A trace whose times are all later by the same: everything stays, since time begins with the first "
     "request.",
     condition_shift, check_shift},
    {"one group",
     "A plain cluster written as a list of one group: everything stays, since it is the same fleet.",
     condition_group, check_group},
    {"twice the load on twice the replicas",
     "Every request of a trace sent twice, at the same moment, round robin to 2 replicas instead of 1: each "
     "replica "
     "sees the old stream, so every request has the old times. Equal replicas that do not scale, whatever "
     "they are; but not patience under a policy that waits for company: that nobody will come is known when "
     "the "
     "whole fleet is idle, and a twin may give up in the same moment.",
     condition_twins, check_twins},
    {"more replicas",
     "Twice as many replicas, round robin: nobody ends later. One sequence at a time, host and steps in "
     "turn, one "
     "stage, no shared prefixes, no patience, one power state, nobody rejected: each replica is a queue with "
     "one "
     "server, first come first served, whose service times are the requests' own, and it keeps a part of its "
     "requests "
     "(Lindley's recursion is monotone in the customers before). With batches it need not hold: a request "
     "may gain by "
     "company.",
     condition_more, check_more},
    {"shorter outputs",
     "Some outputs of a trace halved: nobody ends later, under the same conditions on one replica. With "
     "batches, a "
     "sooner end may admit a prompt that delays others.",
     condition_shorter, check_shorter},
    {"faster device",
     "A single request on a device with twice the FLOP/s, memory or link bandwidth, or half the fixed times: "
     "it ends "
     "no later, since every operator takes no longer. With company a faster step may catch fewer arrivals "
     "and the "
     "order of batches changes. One power state: a faster device may reach its power limit. "
     "No gemm_time_scale and gemm_power_rise: they hold for products bound by arithmetic, and what is faster "
     "may be bound "
     "otherwise.",
     condition_faster, check_faster},
    {"split trace",
     "Two halves of a trace, far apart: each is the run of that half alone, later by a shift. One replica, "
     "since a "
     "router remembers; no shared prefixes, since a cache does; one power state, since a device is warm; a "
     "policy "
     "that does not wait for company, and nothing that scales.",
     condition_split, check_split},
    {"rate to 0", "Requests far apart: each has the latency of a run of its own, under the same conditions.",
     condition_split, check_idle},
};
const uint32_t relation_count = sizeof relations / sizeof *relations;
