#include "report/advice_report.h"

#include "report/cells.h"
#include "report/json_writer.h"
#include "report/report.h"

#include <math.h>

static const struct km_advice_point *advised_point(const struct km_advice *a)
{
    return &a->points[a->advised];
}

static const char *bound_words(enum km_advice_bound bound)
{
    static const char *const words[] = {
        [KM_ADVICE_AT_MOST] = "the largest batch looked at",
        [KM_ADVICE_MEMORY] = "the largest that the KV cache holds at the mean length",
        [KM_ADVICE_EFFICIENCY] =
            "beyond it a sequence yields on average less than epsilon of what one alone does",
        [KM_ADVICE_SLO] = "beyond it the SLO is missed",
        [KM_ADVICE_PLATEAU] = "larger batches have no more throughput",
    };
    return words[bound];
}

static const char *bound_key(enum km_advice_bound bound)
{
    static const char *const keys[] = {
        [KM_ADVICE_AT_MOST] = "at_most",       [KM_ADVICE_MEMORY] = "memory",
        [KM_ADVICE_EFFICIENCY] = "efficiency", [KM_ADVICE_SLO] = "slo",
        [KM_ADVICE_PLATEAU] = "plateau",
    };
    return keys[bound];
}

/* --- text ---------------------------------------------------------------------------------------------- */

static void curve(const struct km_advice *a, struct km_text *out)
{
    char c[6][KM_CELL];
    km_text_printf(out, "%8s %12s %11s %9s %9s %9s %7s %7s\n", "batch", "tokens/s", "efficiency", "ITL mean",
                   "ITL p99", "KV used", "busy", "MBU");
    for (uint32_t i = 0; i < a->point_count; i++) {
        const struct km_advice_point *p = &a->points[i];
        km_text_printf(out, "%8u %12s %11.2f %9s %9s %9s %7s %7s%s\n", p->batch,
                       km_cell_rounded(c[0], p->output_tokens_per_s), p->efficiency,
                       km_cell_seconds(c[1], p->itl_mean_s), km_cell_seconds(c[2], p->itl_p99_s),
                       km_cell_percent(c[3], (double)p->peak_blocks / (double)a->blocks),
                       km_cell_percent(c[4], p->busy), km_cell_percent(c[5], p->mbu),
                       i == a->advised ? (km_advice_is_withdrawn(a) ? "  <- the knee" : "  <- advised")
                       : !p->slo_met   ? "  SLO missed"
                       : !p->efficient ? "  below epsilon"
                                       : "");
    }
}

static void memory(const struct km_advice *a, struct km_text *out)
{
    char c[6][KM_CELL];
    km_text_printf(
        out,
        "\nmemory      weights %s, activations and reserve %s, KV cache %s a GPU; the advised batch "
        "needs %s of it\n",
        km_cell_bytes(c[0], a->weight_bytes), km_cell_bytes(c[1], a->other_bytes),
        km_cell_bytes(c[2], a->kv_bytes), km_cell_bytes(c[3], a->kv_needed_bytes));
    km_text_printf(
        out, "            frees %s a GPU: num_gpu_blocks_override: %s, or gpu_memory_utilization: %.2f\n",
        km_cell_bytes(c[4], a->kv_freed_bytes), km_cell_count(c[5], a->needed_blocks),
        ceil(100 * a->needed_utilization) / 100);
}

static void sharing(const struct km_advice *a, struct km_text *out)
{
    char c[8][KM_CELL];
    km_text_printf(
        out,
        "\nsharing     of the run %s bound by arithmetic, %s by memory or links, %s launches, %s without "
        "the device\n",
        km_cell_percent(c[0], a->compute_share), km_cell_percent(c[1], a->memory_share),
        km_cell_percent(c[2], a->busy_share - a->compute_share - a->memory_share),
        km_cell_percent(c[3], 1 - a->busy_share));
    km_text_printf(out, "%8s %12s %18s %18s %18s\n", "replicas", "memory", "sliced, ITL", "adding up, ITL",
                   "overlapping, ITL");
    for (uint32_t i = 0; i < a->share_count; i++) {
        const struct km_advice_share *s = &a->shares[i];
        km_text_printf(out, "%8u %12s", s->replicas, km_cell_bytes(c[0], s->memory_bytes));
        for (int model = 0; model < KM_SHARING_COUNT; model++)
            km_text_printf(out, " %8s %9s", km_cell_rounded(c[1], s->output_tokens_per_s[model]),
                           km_cell_seconds(c[2], s->itl_mean_s[model]));
        km_text_puts(out, !s->fits                             ? "  does not fit\n"
                          : !s->slo_met                        ? "  SLO missed\n"
                          : s->replicas == a->advised_replicas ? "  <- advised\n"
                                                               : "\n");
    }
    km_text_puts(out,
                 "            tokens/s of all replicas: in time slices; side by side (MPS), phases bound by "
                 "bandwidth or arithmetic\n            adding up; and if these could overlap perfectly. "
                 "Caches and fewer multiprocessors a kernel are left out.\n");
}

static void runs(const struct km_advice *a, struct km_text *out)
{
    char c[8][KM_CELL];
    km_text_puts(out, "\nthe scenario's own arrivals\n");
    km_text_printf(out, "%18s %8s %8s %9s %9s %9s %9s %9s %11s %10s\n", "", "batch", "replicas", "TTFT p50",
                   "TTFT p99", "TPOT p50", "TPOT p99", "E2E p99", "tokens/s", "load");
    for (uint32_t i = 0; i < a->run_count + a->tried_count; i++) {
        const struct km_advice_run *run = i < a->run_count ? &a->runs[i] : &a->tried[i - a->run_count];
        const struct km_summary *s = &run->summary;
        km_text_printf(out, "%18s %8u %8u %9s %9s %9s %9s %9s %11s %10s%s\n", run->name, run->max_num_seqs,
                       run->replicas, km_cell_seconds(c[0], s->latency[KM_TTFT].p50_s),
                       km_cell_seconds(c[1], s->latency[KM_TTFT].p99_s),
                       km_cell_seconds(c[2], s->latency[KM_TPOT].p50_s),
                       km_cell_seconds(c[3], s->latency[KM_TPOT].p99_s),
                       km_cell_seconds(c[5], s->latency[KM_E2E].p99_s),
                       km_cell_rounded(c[4], s->output_tokens_per_s),
                       s->verdict == KM_STABLE      ? "stable"
                       : s->verdict == KM_SATURATED ? "saturated"
                                                    : "unknown",
                       !s->slo_stated    ? ""
                       : s->slo_attained ? "  SLO met"
                                         : "  SLO missed");
    }
}

static const char *harm_words(enum km_advice_harm harm)
{
    static const char *const words[] = {
        [KM_ADVICE_HARMLESS] = "",
        [KM_ADVICE_SATURATES] = "with it the load saturates the replicas",
        [KM_ADVICE_MISSES_SLO] = "it misses the SLO, which is met as it is",
        [KM_ADVICE_SLOWER] = "it makes the p99 of E2E latency more than a tenth longer",
    };
    return words[harm];
}

static const char *harm_key(enum km_advice_harm harm)
{
    static const char *const keys[] = {
        [KM_ADVICE_HARMLESS] = NULL,
        [KM_ADVICE_SATURATES] = "saturates",
        [KM_ADVICE_MISSES_SLO] = "misses_slo",
        [KM_ADVICE_SLOWER] = "slower",
    };
    return keys[harm];
}

/* What was withdrawn, and what helps instead. */
static void withdrawn(const struct km_advice *a, struct km_text *out)
{
    char c[2][KM_CELL];
    km_text_printf(out, "\nadvice      keep max_num_seqs: %u. The knee of the curve is %u, but %s.\n",
                   a->runs[0].max_num_seqs, advised_point(a)->batch, harm_words(a->runs[1].harm));
    const struct km_advice_run *instead = km_advice_instead(a);
    if (instead) {
        km_text_printf(out, "            What helps: %s, p99 of E2E latency %s instead of %s%s\n",
                       instead->setting, km_cell_seconds(c[0], instead->summary.latency[KM_E2E].p99_s),
                       km_cell_seconds(c[1], a->runs[0].summary.latency[KM_E2E].p99_s),
                       instead->summary.slo_attained ? ", SLO met" : "");
        return;
    }
    km_text_puts(out, "            Tried without help:");
    for (uint32_t i = 0; i < a->tried_count; i++)
        km_text_printf(out, "%s %s", i ? "," : "", a->tried[i].name);
    km_text_puts(out, a->tried_count ? "\n" : " nothing else is possible here\n");
}

void km_advice_report_text(const struct km_advice_report *r, struct km_text *out)
{
    const struct km_advice *a = r->advice;
    const struct km_advice_point *p = advised_point(a), *last = &a->points[a->point_count - 1];
    char c[4][KM_CELL];
    double most = 0;
    for (uint32_t i = 0; i < a->point_count; i++)
        most = fmax(most, a->points[i].output_tokens_per_s);
    km_text_printf(out, "%s on %s, prompts of %s and outputs of %s tokens on average, epsilon %g\n\n",
                   r->model, r->device, km_cell_rounded(c[0], a->mean_prompt_tokens),
                   km_cell_rounded(c[1], a->mean_output_tokens), a->epsilon);
    curve(a, out);
    if (km_advice_is_withdrawn(a)) {
        withdrawn(a, out);
        runs(a, out);
        return;
    }
    km_text_printf(
        out,
        "\nadvice      max_num_seqs: %u, %s of the most throughput (%s tokens/s of %s up to batch %u)\n"
        "            %s\n",
        p->batch, km_cell_percent(c[0], p->output_tokens_per_s / most),
        km_cell_rounded(c[1], p->output_tokens_per_s), km_cell_rounded(c[2], most), last->batch,
        bound_words(a->bound));
    memory(a, out);
    sharing(a, out);
    if (a->run_count > 2 && a->runs[2].harm != KM_ADVICE_HARMLESS)
        km_text_printf(out, "            %u replicas sharing are not advised: %s\n", a->runs[2].replicas,
                       harm_words(a->runs[2].harm));
    runs(a, out);
}

/* --- JSON ---------------------------------------------------------------------------------------------- */

static void put_points(struct km_json_writer *w, const struct km_advice *a)
{
    km_json_put_open(w, "points", '[');
    for (uint32_t i = 0; i < a->point_count; i++) {
        const struct km_advice_point *p = &a->points[i];
        km_json_put_open(w, NULL, '{');
        km_json_put_count(w, "batch", p->batch);
        km_json_put_number(w, "output_tokens_per_s", p->output_tokens_per_s);
        km_json_put_number(w, "efficiency", p->efficiency);
        km_json_put_number(w, "itl_mean_s", p->itl_mean_s);
        km_json_put_number(w, "itl_p99_s", p->itl_p99_s);
        km_json_put_number(w, "tpot_mean_s", p->tpot_mean_s);
        km_json_put_number(w, "slo_ratio", p->slo_ratio);
        km_json_put_bool(w, "slo_met", p->slo_met);
        km_json_put_bool(w, "efficient", p->efficient);
        km_json_put_number(w, "mfu", p->mfu);
        km_json_put_number(w, "mbu", p->mbu);
        km_json_put_number(w, "busy", p->busy);
        km_json_put_count(w, "peak_blocks", p->peak_blocks);
        km_json_put_count(w, "requests", p->requests);
        km_json_put_count(w, "preemptions", p->preemptions);
        km_json_put_close(w, '}');
    }
    km_json_put_close(w, ']');
}

static void put_sharing(struct km_json_writer *w, const struct km_advice *a)
{
    static const char *const models[KM_SHARING_COUNT] = {"sliced", "adding", "overlap"};
    km_json_put_number(w, "compute_share", a->compute_share);
    km_json_put_number(w, "memory_share", a->memory_share);
    km_json_put_number(w, "busy_share", a->busy_share);
    km_json_put_open(w, "sharing", '[');
    for (uint32_t i = 0; i < a->share_count; i++) {
        const struct km_advice_share *s = &a->shares[i];
        km_json_put_open(w, NULL, '{');
        km_json_put_count(w, "replicas", s->replicas);
        km_json_put_number(w, "memory_bytes", s->memory_bytes);
        km_json_put_bool(w, "fits", s->fits);
        km_json_put_bool(w, "slo_met", s->slo_met);
        for (int model = 0; model < KM_SHARING_COUNT; model++) {
            km_json_put_open(w, models[model], '{');
            km_json_put_number(w, "output_tokens_per_s", s->output_tokens_per_s[model]);
            km_json_put_number(w, "itl_mean_s", s->itl_mean_s[model]);
            km_json_put_close(w, '}');
        }
        km_json_put_close(w, '}');
    }
    km_json_put_close(w, ']');
}

static void put_runs(struct km_json_writer *w, const char *key, const struct km_advice_run *runs,
                     uint32_t count)
{
    km_json_put_open(w, key, '[');
    for (uint32_t i = 0; i < count; i++) {
        const struct km_summary *s = &runs[i].summary;
        km_json_put_open(w, NULL, '{');
        km_json_put_string(w, "name", runs[i].name);
        km_json_put_string(w, "setting", runs[i].setting[0] ? runs[i].setting : NULL);
        km_json_put_string(w, "harm", harm_key(runs[i].harm));
        km_json_put_bool(w, "helps", runs[i].helps);
        km_json_put_string(w, "load", km_verdict_name(s->verdict));
        km_json_put_count(w, "max_num_seqs", runs[i].max_num_seqs);
        km_json_put_count(w, "replicas", runs[i].replicas);
        km_json_put_count(w, "gpus", runs[i].gpus);
        km_json_put_number(w, "requests_per_s", s->requests_per_s);
        km_json_put_number(w, "output_tokens_per_s", s->output_tokens_per_s);
        km_json_put_number(w, "ttft_p50_s", s->latency[KM_TTFT].p50_s);
        km_json_put_number(w, "ttft_p99_s", s->latency[KM_TTFT].p99_s);
        km_json_put_number(w, "tpot_p50_s", s->latency[KM_TPOT].p50_s);
        km_json_put_number(w, "tpot_p99_s", s->latency[KM_TPOT].p99_s);
        km_json_put_number(w, "itl_mean_s", s->latency[KM_ITL].mean_s);
        km_json_put_number(w, "e2e_p99_s", s->latency[KM_E2E].p99_s);
        km_json_put_count(w, "preemptions", s->preemptions);
        if (s->slo_stated)
            km_json_put_bool(w, "slo_attained", s->slo_attained);
        else
            km_json_put_null(w, "slo_attained");
        km_json_put_close(w, '}');
    }
    km_json_put_close(w, ']');
}

void km_advice_report_json(const struct km_advice_report *r, struct km_text *out)
{
    const struct km_advice *a = r->advice;
    const struct km_advice_point *p = advised_point(a);
    struct km_json_writer writer = {.out = out}, *w = &writer;
    km_json_put_open(w, NULL, '{');
    km_json_put_count(w, "schema", 1);
    km_json_put_string(w, "version", r->version);
    km_json_put_raw(w, "scenario", r->scenario_json ? r->scenario_json : "null");
    km_json_put_number(w, "epsilon", a->epsilon);
    km_json_put_number(w, "itl_slo_s", a->itl_slo_s > 0 ? a->itl_slo_s : (double)NAN);
    km_json_put_number(w, "mean_prompt_tokens", a->mean_prompt_tokens);
    km_json_put_number(w, "mean_output_tokens", a->mean_output_tokens);
    km_json_put_count(w, "fits_batch", a->fits_batch);
    km_json_put_open(w, "advice", '{');
    const bool is_withdrawn = km_advice_is_withdrawn(a);
    km_json_put_bool(w, "withdrawn", is_withdrawn);
    km_json_put_string(w, "withdrawn_because", harm_key(a->runs[1].harm));
    km_json_put_string(w, "instead", a->instead ? km_advice_instead(a)->setting : NULL);
    km_json_put_count(w, "max_num_seqs", is_withdrawn ? a->runs[0].max_num_seqs : p->batch);
    km_json_put_count(w, "knee", p->batch);
    km_json_put_string(w, "bound_by", bound_key(a->bound));
    km_json_put_count(w, "num_gpu_blocks", a->needed_blocks);
    km_json_put_number(w, "gpu_memory_utilization", a->needed_utilization);
    km_json_put_count(w, "replicas_sharing", a->advised_replicas);
    km_json_put_close(w, '}');
    km_json_put_open(w, "memory", '{');
    km_json_put_number(w, "budget_bytes", a->budget_bytes);
    km_json_put_number(w, "weight_bytes", a->weight_bytes);
    km_json_put_number(w, "other_bytes", a->other_bytes);
    km_json_put_number(w, "kv_bytes", a->kv_bytes);
    km_json_put_number(w, "kv_needed_bytes", a->kv_needed_bytes);
    km_json_put_number(w, "kv_freed_bytes", a->kv_freed_bytes);
    km_json_put_count(w, "blocks", a->blocks);
    km_json_put_close(w, '}');
    put_points(w, a);
    put_sharing(w, a);
    put_runs(w, "runs", a->runs, a->run_count);
    put_runs(w, "tried", a->tried, a->tried_count);
    km_json_put_close(w, '}');
}
