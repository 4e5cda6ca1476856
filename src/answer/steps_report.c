#include "answer/steps_report.h"
#include "calibration/engine_file.h"
#include "report/json_writer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *verdict_name(enum km_step_verdict verdict)
{
    static const char *const names[] = {
        [KM_STEP_ESTIMATED] = "estimated", [KM_STEP_NOT_RECORDED] = "not recorded",
        [KM_STEP_NO_EFFECT] = "no effect", [KM_STEP_COLLINEAR] = "collinear",
        [KM_STEP_UNCERTAIN] = "uncertain", [KM_STEP_AT_BOUND] = "at bound"};
    return names[verdict];
}

static void why(const struct km_step_estimate *e, char *out, size_t size)
{
    switch (e->verdict) {
    case KM_STEP_ESTIMATED:
        snprintf(out, size, "yes");
        break;
    case KM_STEP_NOT_RECORDED:
        snprintf(out, size, "no: the longest contexts are known with --requests only");
        break;
    case KM_STEP_NO_EFFECT:
        snprintf(out, size, "no: no step's time depends on it");
        break;
    case KM_STEP_COLLINEAR:
        snprintf(out, size, "no: others do the same, %s most", e->twin);
        break;
    case KM_STEP_UNCERTAIN:
        snprintf(out, size, "no: its standard error is %.0f %% of %.4g", 100.0 * e->se / e->value, e->value);
        break;
    case KM_STEP_AT_BOUND:
        snprintf(out, size, "no: the steps would have it at or beyond %.4g", e->value);
        break;
    }
}

static void errors_line(const char *name, const struct km_step_errors *errors, struct km_text *out)
{
    km_text_printf(out, "  %-42s %+9.2f %% %12.2f %%\n", name, 100.0 * errors->whole, 100.0 * errors->median);
}

void km_steps_report_text(const struct km_steps_report *report, struct km_text *out)
{
    const struct km_step_fit *fit = report->fit;
    km_text_printf(out, "%s on %s, engine %s, cost model %s\n\n", report->scenario->model_name,
                   report->scenario->device_name, report->scenario->engine.name,
                   report->scenario->cost_model);
    for (size_t i = 0; i < report->source_count; i++) {
        const struct km_steps_source *s = &report->sources[i];
        km_text_printf(out, "%s: %zu steps, %s, ", s->log, s->steps,
                       s->requests ? "composition and clock by its requests" : "client's clock");
        if (s->used)
            km_text_printf(out, "%zu windows\n", s->windows);
        else
            km_text_printf(out, "not used: %.0f %% of its times are late and bunched\n", 100.0 * s->bunched);
    }
    km_text_printf(out, "\n%-31s %11s %11s %10s  %s\n", "parameter", "described", "estimate", "+-",
                   "identified");
    for (size_t i = 0; i < fit->count; i++) {
        const struct km_step_estimate *e = &fit->estimates[i];
        char reason[160];
        why(e, reason, sizeof reason);
        km_text_printf(out, "%-31s %11.4g ", e->parameter->key, e->described);
        if (e->verdict == KM_STEP_ESTIMATED)
            km_text_printf(out, "%11.4g %10.2g  %s\n", e->value, e->se, reason);
        else
            km_text_printf(out, "%11s %10s  %s\n", "-", "-", reason);
    }
    km_text_printf(out, "\n%zu windows of %zu steps, %zu outliers (%.1f %%)\n", fit->windows, fit->steps,
                   fit->outliers, 100.0 * (double)fit->outliers / (double)fit->windows);
    km_text_printf(out, "  %-42s %11s %14s\n", "error of predicted lengths", "all time", "median window");
    errors_line("engine as described", &fit->described, out);
    errors_line("engine as estimated", &fit->fitted, out);
    errors_line("as estimated, stretches not seen", &fit->unseen, out);
}

static void put_errors(struct km_json_writer *json, const char *key, const struct km_step_errors *errors)
{
    km_json_put_open(json, key, '{');
    km_json_put_number(json, "all_time", errors->whole);
    km_json_put_number(json, "median_window", errors->median);
    km_json_put_close(json, '}');
}

static void put_sources(struct km_json_writer *json, const struct km_steps_report *report)
{
    km_json_put_open(json, "sources", '[');
    for (size_t i = 0; i < report->source_count; i++) {
        const struct km_steps_source *s = &report->sources[i];
        km_json_put_open(json, NULL, '{');
        km_json_put_string(json, "steps_file", s->log);
        km_json_put_string(json, "requests_file", s->requests);
        km_json_put_count(json, "steps", s->steps);
        km_json_put_count(json, "windows", s->windows);
        km_json_put_number(json, "late_share", s->bunched);
        km_json_put_bool(json, "used", s->used);
        km_json_put_close(json, '}');
    }
    km_json_put_close(json, ']');
}

void km_steps_report_json(const struct km_steps_report *report, struct km_text *out)
{
    const struct km_step_fit *fit = report->fit;
    struct km_json_writer json = {.out = out};
    km_json_put_open(&json, NULL, '{');
    km_json_put_count(&json, "schema", 1);
    km_json_put_string(&json, "date", report->date);
    km_json_put_string(&json, "model", report->scenario->model_name);
    km_json_put_string(&json, "device", report->scenario->device_name);
    km_json_put_string(&json, "engine", report->scenario->engine.name);
    km_json_put_string(&json, "cost_model", report->scenario->cost_model);
    put_sources(&json, report);
    km_json_put_open(&json, "parameters", '[');
    for (size_t i = 0; i < fit->count; i++) {
        const struct km_step_estimate *e = &fit->estimates[i];
        bool estimated = e->verdict == KM_STEP_ESTIMATED;
        km_json_put_open(&json, NULL, '{');
        km_json_put_string(&json, "key", e->parameter->key);
        km_json_put_number(&json, "described", e->described);
        km_json_put_number(&json, "estimate", estimated ? e->value : (double)NAN);
        km_json_put_number(&json, "standard_error", estimated ? e->se : (double)NAN);
        km_json_put_string(&json, "verdict", verdict_name(e->verdict));
        km_json_put_string(&json, "like", e->verdict == KM_STEP_COLLINEAR ? e->twin : NULL);
        km_json_put_close(&json, '}');
    }
    km_json_put_close(&json, ']');
    km_json_put_count(&json, "windows", fit->windows);
    km_json_put_count(&json, "outliers", fit->outliers);
    put_errors(&json, "described_error", &fit->described);
    put_errors(&json, "fitted_error", &fit->fitted);
    put_errors(&json, "unseen_error", &fit->unseen);
    km_json_put_close(&json, '}');
    km_text_puts(out, "\n");
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void heading(const struct km_steps_report *report, struct km_text *out)
{
    const struct km_scenario *scenario = report->scenario;
    const struct km_step_fit *fit = report->fit;
    km_text_printf(out,
                   "%s with parameters estimated from a step log by kingman calibrate --from-steps, %s.\n",
                   scenario->engine.name, report->date);
    km_text_printf(out, "Model %s on %s, cost model %s%s%s.\n", scenario->model_name, scenario->device_name,
                   scenario->cost_model, scenario->profile ? ", profile " : "",
                   scenario->profile ? base_name(scenario->profile) : "");
    for (size_t i = 0; i < report->source_count; i++)
        if (report->sources[i].used)
            km_text_printf(out, "Source: %s%s%s, %zu steps in %zu windows.\n",
                           base_name(report->sources[i].log), report->sources[i].requests ? " and " : "",
                           report->sources[i].requests ? base_name(report->sources[i].requests) : "",
                           report->sources[i].steps, report->sources[i].windows);
    km_text_printf(
        out,
        "Time of the steps: %+.2f %% in all, %.2f %% in the median window; of steps not seen %+.2f %% "
        "and %.2f %%.\n",
        100.0 * fit->fitted.whole, 100.0 * fit->fitted.median, 100.0 * fit->unseen.whole,
        100.0 * fit->unseen.median);
    km_text_puts(out,
                 "[fit]: estimated here, with its standard error; everything else as described below.\n\n");
}

enum km_status km_steps_report_engine(const struct km_steps_report *report, const char *base,
                                      const char *name, struct km_text *out, struct km_error *error)
{
    const struct km_step_fit *fit = report->fit;
    struct km_engine_value values[KM_STEP_PARAMETERS_MOST + 1] = {{"name", name, NULL}};
    char numbers[KM_STEP_PARAMETERS_MOST][32], comments[KM_STEP_PARAMETERS_MOST][96];
    struct km_text lines = {0};
    size_t count = 1;
    for (size_t i = 0; i < fit->count; i++) {
        const struct km_step_estimate *e = &fit->estimates[i];
        if (e->verdict != KM_STEP_ESTIMATED)
            continue;
        snprintf(numbers[i], sizeof numbers[i], "%.4g", e->value);
        snprintf(comments[i], sizeof comments[i], "[fit] +- %.2g; was %.4g", e->se, e->described);
        values[count++] = (struct km_engine_value){e->parameter->key, numbers[i], comments[i]};
    }
    heading(report, &lines);
    enum km_status status = km_engine_file_edit(base, km_text_c(&lines), values, count, out, error);
    km_text_release(&lines);
    return status;
}
