#include "answer/queue_report.h"

#include "report/json_writer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* --- text ---------------------------------------------------------------------------------------------- */

static void put_cell(double value, int width, struct km_text *out)
{
    if (!isfinite(value))
        km_text_printf(out, " %*s", width, "-");
    else
        km_text_printf(out, " %*.6g", width, value);
}

/* One quantity: theory, simulation with its interval, and how far apart. */
static void put_row(const char *name, double theory, const struct km_queue_estimate *simulated,
                    struct km_text *out)
{
    km_text_printf(out, "%-26s", name);
    put_cell(theory, 12, out);
    if (simulated) {
        put_cell(simulated->value, 12, out);
        put_cell(simulated->ci95, 10, out);
        double ratio = fabs(theory) > 0 ? simulated->value / theory : (double)NAN;
        if (isfinite(ratio))
            km_text_printf(out, " %+9.2f%%", 100 * (ratio - 1));
    }
    km_text_puts(out, "\n");
}

static void put_headline(const struct km_queue_section *section, struct km_text *out)
{
    struct km_text json = {0};
    km_queue_section_write(section, &json);
    km_text_printf(out, "queue %s\n\n", km_text_c(&json));
    km_text_release(&json);
}

static const char *const formula_texts[] = {
    [KM_ERLANG_C] = "exact (M/M/c, Erlang C)",
    [KM_POLLACZEK_KHINCHINE] = "exact (M/G/1, Pollaczek-Khinchine)",
    [KM_KINGMAN] = "approximate (G/G/1, Kingman)",
    [KM_ALLEN_CUNNEEN] = "approximate (G/G/c, Allen-Cunneen)",
};

void km_queue_text(const struct km_queue_section *section, const struct km_queue_point *point,
                   struct km_text *out)
{
    const struct km_queue_answer *t = &point->theory;
    const struct km_queue_simulated *s = point->simulated ? &point->simulation : NULL;
    const double none = (double)NAN;
    const struct {
        const char *name;
        double theory;
        struct km_queue_estimate simulated;
    } rows[] = {
        {"utilization", t->utilization, {none, none}},
        {"stable below, per s", t->stable_below_per_s, {none, none}},
        {"mean wait, s", t->mean_wait_s, s ? s->mean_wait_s : (struct km_queue_estimate){none, none}},
        {"variance of wait, s^2", t->var_wait_s, {s ? s->var_wait_s : none, none}},
        {"mean response, s", t->mean_response_s,
         s ? s->mean_response_s : (struct km_queue_estimate){none, none}},
        {"mean batch", t->mean_batch, {s ? s->mean_batch : none, none}},
        {"idle", t->idle, {s ? s->idle : none, none}},
        {"loss", t->loss, s ? s->loss : (struct km_queue_estimate){none, none}},
    };
    put_headline(section, out);
    km_text_printf(out, "%-26s %12s%s\n", "", "theory", s ? "    simulated    +- 95 %  difference" : "");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        put_row(rows[i].name, rows[i].theory, s ? &rows[i].simulated : NULL, out);
    for (size_t i = 0; i < point->tail.count; i++) {
        char name[40];
        snprintf(name, sizeof name, "P(wait > %g s)", point->tail.t_s[i]);
        put_row(name, point->tail.probability[i], s ? &s->wait_tail[i] : NULL, out);
    }
    if (s && s->requests < point->asked_requests)
        km_text_printf(out, "\nsimulated %" PRIu64 " requests of %" PRIu64 ": simulated time ends there\n",
                       s->requests, point->asked_requests);
    if (isfinite(point->asymptote_eta_per_s) && isfinite(point->asymptote_coefficient))
        km_text_printf(out, "\nfar out P(wait > t) ~ %.6g exp(-%.6g t)\n", point->asymptote_coefficient,
                       point->asymptote_eta_per_s);
    if (isfinite(point->bound_wait_s)) {
        const struct km_servers servers = km_queue_model_servers(&section->model);
        km_text_printf(out, "\nmean wait %s\nmean wait at most %.6g s (Kingman's bound)\n",
                       formula_texts[km_servers_formula(&servers)], point->bound_wait_s);
    }
    if (isfinite(point->bound_response_s))
        km_text_printf(out, "\nmean response at most %.6g s by the simple bound\n", point->bound_response_s);
}

void km_queue_sweep_text(const struct km_queue_section *section, const struct km_queue_sweep *sweep,
                         struct km_text *out)
{
    bool simulated = false;
    for (size_t i = 0; i < sweep->count; i++)
        simulated = simulated || sweep->points[i].simulated;
    put_headline(section, out);
    km_text_printf(out, "%12s %12s %12s %12s %12s %12s %12s%s\n", sweep->parameter, "utilization", "wait s",
                   "response s", "batch", "idle", "loss", simulated ? "  simulated s     +- 95 %" : "");
    for (size_t i = 0; i < sweep->count; i++) {
        const struct km_queue_point *point = &sweep->points[i];
        const struct km_queue_answer *t = &point->theory;
        km_text_printf(out, "%12.6g", sweep->values[i]);
        const double cells[] = {t->utilization, t->mean_wait_s, t->mean_response_s,
                                t->mean_batch,  t->idle,        t->loss};
        for (size_t c = 0; c < sizeof cells / sizeof cells[0]; c++)
            put_cell(cells[c], 12, out);
        if (point->simulated) {
            put_cell(point->simulation.mean_wait_s.value, 12, out);
            put_cell(point->simulation.mean_wait_s.ci95, 10, out);
        }
        km_text_puts(out, t->stable ? "\n" : "  unstable\n");
    }
}

void km_queue_limit_text(const struct km_token_limit *limit, struct km_text *out)
{
    km_text_printf(
        out, "best token limit %u: mean wait %.6g s, clips %.6g of the answers, %.6g tokens an answer\n\n",
        limit->max_tokens, limit->mean_wait_s, limit->clipped, limit->mean_tokens);
}

/* --- JSON ---------------------------------------------------------------------------------------------- */

static void put_theory(const struct km_queue_section *section, const struct km_queue_point *point,
                       struct km_json_writer *w)
{
    const struct km_queue_answer *t = &point->theory;
    km_json_put_open(w, "theory", '{');
    km_json_put_number(w, "utilization", t->utilization);
    km_json_put_bool(w, "stable", t->stable);
    km_json_put_number(w, "stable_below_per_s", t->stable_below_per_s);
    km_json_put_number(w, "mean_wait_s", t->mean_wait_s);
    km_json_put_number(w, "var_wait_s", t->var_wait_s);
    km_json_put_number(w, "mean_response_s", t->mean_response_s);
    km_json_put_number(w, "mean_batch", t->mean_batch);
    km_json_put_number(w, "mean_batch_seen", t->mean_batch_seen);
    km_json_put_number(w, "idle", t->idle);
    km_json_put_number(w, "loss", t->loss);
    km_json_put_open(w, "wait_tail", '[');
    for (size_t i = 0; i < point->tail.count; i++) {
        km_json_put_open(w, NULL, '[');
        km_json_put_number(w, NULL, point->tail.t_s[i]);
        km_json_put_number(w, NULL, point->tail.probability[i]);
        km_json_put_close(w, ']');
    }
    km_json_put_close(w, ']');
    km_json_put_number(w, "asymptote_eta_per_s", point->asymptote_eta_per_s);
    km_json_put_number(w, "asymptote_coefficient", point->asymptote_coefficient);
    km_json_put_number(w, "bound_response_s", point->bound_response_s);
    if (section->model.discipline == KM_DISCIPLINE_GGC) {
        const struct km_servers servers = km_queue_model_servers(&section->model);
        km_json_put_number(w, "bound_wait_s", point->bound_wait_s);
        km_json_put_string(w, "formula", km_servers_formula_names[km_servers_formula(&servers)]);
    }
    km_json_put_close(w, '}');
}

static void put_estimate(struct km_json_writer *w, const char *key, double value, double ci95)
{
    km_json_put_open(w, key, '{');
    km_json_put_number(w, "mean", value);
    km_json_put_number(w, "ci95", ci95);
    km_json_put_close(w, '}');
}

static void put_simulation(const struct km_queue_point *point, struct km_json_writer *w)
{
    const struct km_queue_simulated *s = &point->simulation;
    const double none = (double)NAN;
    if (!point->simulated) {
        km_json_put_null(w, "simulation");
        return;
    }
    km_json_put_open(w, "simulation", '{');
    put_estimate(w, "utilization", s->utilization, none);
    km_json_put_bool(w, "stable", point->theory.stable);
    put_estimate(w, "mean_wait_s", s->mean_wait_s.value, s->mean_wait_s.ci95);
    put_estimate(w, "var_wait_s", s->var_wait_s, none);
    put_estimate(w, "mean_response_s", s->mean_response_s.value, s->mean_response_s.ci95);
    put_estimate(w, "mean_batch", s->mean_batch, none);
    put_estimate(w, "idle", s->idle, none);
    put_estimate(w, "loss", s->loss.value, s->loss.ci95);
    km_json_put_open(w, "wait_tail", '[');
    for (size_t i = 0; i < point->tail.count; i++) {
        km_json_put_open(w, NULL, '[');
        km_json_put_number(w, NULL, point->tail.t_s[i]);
        put_estimate(w, NULL, s->wait_tail[i].value, s->wait_tail[i].ci95);
        km_json_put_close(w, ']');
    }
    km_json_put_close(w, ']');
    km_json_put_close(w, '}');
}

void km_queue_json(const struct km_queue_section *section, const struct km_queue_point *point,
                   const struct km_queue_sweep *sweep, const struct km_token_limit *limit,
                   struct km_text *out)
{
    struct km_json_writer w = {.out = out};
    struct km_text queue = {0};
    km_queue_section_write(section, &queue);
    km_json_put_open(&w, NULL, '{');
    km_json_put_count(&w, "schema", 1);
    km_json_put_raw(&w, "queue", km_text_c(&queue));
    km_text_release(&queue);
    if (limit) {
        km_json_put_open(&w, "best_limit", '{');
        km_json_put_count(&w, "max_tokens", limit->max_tokens);
        km_json_put_number(&w, "utilization", limit->utilization);
        km_json_put_number(&w, "mean_wait_s", limit->mean_wait_s);
        km_json_put_number(&w, "clipped", limit->clipped);
        km_json_put_number(&w, "mean_tokens", limit->mean_tokens);
        km_json_put_close(&w, '}');
    }
    if (point) {
        put_theory(section, point, &w);
        put_simulation(point, &w);
    } else {
        km_json_put_open(&w, "sweep", '{');
        km_json_put_string(&w, "parameter", sweep->parameter);
        km_json_put_open(&w, "points", '[');
        for (size_t i = 0; i < sweep->count; i++) {
            km_json_put_open(&w, NULL, '{');
            km_json_put_number(&w, "value", sweep->values[i]);
            put_theory(section, &sweep->points[i], &w);
            put_simulation(&sweep->points[i], &w);
            km_json_put_close(&w, '}');
        }
        km_json_put_close(&w, ']');
        km_json_put_close(&w, '}');
    }
    km_json_put_close(&w, '}');
}
