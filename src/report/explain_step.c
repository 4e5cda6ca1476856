#include "report/explain.h"

#include "report/cells.h"
#include "report/roofline_picture.h"

#include <string.h>

static void title(const struct km_explain_step *step, struct km_text *out)
{
    char a[KM_CELL];
    km_text_printf(out, "%s step:", step->name);
    if (step->prefill_tokens) {
        km_text_printf(out, " %s prompt tokens", km_cell_count(a, step->prefill_tokens));
        if (step->past_tokens)
            km_text_printf(out, " after %s", km_cell_count(a, step->past_tokens));
    }
    if (step->decode_sequences)
        km_text_printf(out, "%s %u decode%s at context %s", step->prefill_tokens ? " and" : "",
                       step->decode_sequences, step->decode_sequences > 1 ? "s" : "",
                       km_cell_count(a, step->context_tokens));
    km_text_puts(out, "\n");
}

/* Letters go to operators with arithmetic, in the order of the table, as long as there are letters. */
static char letter_of(const struct km_step_account *a, uint32_t index)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t used = 0;
    for (uint32_t i = 0; i <= index; i++) {
        const struct km_op_cost *cost = &a->ops[i];
        bool drawn =
            cost->stage == a->slowest_stage && cost->flops > 0.0 && cost->bytes > 0.0 && cost->time_s > 0.0;
        if (i == index)
            return drawn && used < sizeof letters - 1 ? letters[used] : ' ';
        used += drawn;
    }
    return ' ';
}

static void operators(const struct km_step_account *a, struct km_text *out)
{
    char time[KM_CELL], share[KM_CELL], flops[KM_CELL], bytes[KM_CELL], intensity[KM_CELL];
    double whole_s = a->stage_s[a->slowest_stage];
    km_text_printf(out, "  %-19s %5s %9s %7s %8s %8s %6s  %s\n", "operator", "times", "time", "share", "FLOP",
                   "bytes", "FLOP/B", "bound by");
    for (uint32_t i = 0; i < a->op_count; i++) {
        const struct km_op_cost *cost = &a->ops[i];
        if (cost->stage != a->slowest_stage)
            continue;
        km_text_printf(out, "%c %-19s %5u %9s %7s %8s %8s %6s  %s\n", letter_of(a, i), cost->op->name,
                       cost->op->count, km_cell_seconds(time, cost->time_s),
                       km_cell_percent(share, cost->time_s / whole_s), km_cell_scaled(flops, cost->flops),
                       km_cell_scaled(bytes, cost->bytes),
                       cost->bytes > 0.0 ? km_cell_scaled(intensity, cost->flops / cost->bytes) : "-",
                       km_bound_name(cost->bound_by));
    }
    if (a->stages > 1)
        km_text_printf(out, "  stage %u of %u, the slowest%28s\n", a->slowest_stage, a->stages,
                       km_cell_seconds(time, whole_s));
}

/* With a measured profile: which operators' times are how certain. */
static void origins(const struct km_step_account *a, struct km_text *out)
{
    double time_s[KM_ORIGIN_COUNT] = {0};
    for (uint32_t i = 0; i < a->op_count; i++)
        time_s[a->ops[i].origin] += a->ops[i].time_s;
    if (a->op_count == 0 || time_s[KM_ORIGIN_MODEL] >= a->device_s * (1.0 - 1e-9))
        return;
    for (int origin = 0; origin < KM_ORIGIN_COUNT; origin++) {
        char share[KM_CELL];
        size_t line = out->length;
        if (time_s[origin] <= 0.0)
            continue;
        km_text_printf(out, "  %s %s:", km_origin_name((enum km_origin)origin),
                       km_cell_percent(share, time_s[origin] / a->device_s));
        for (uint32_t i = 0; i < a->op_count; i++) {
            const struct km_op_cost *cost = &a->ops[i];
            if (cost->origin != (enum km_origin)origin || cost->stage != a->slowest_stage)
                continue;
            const char *note = cost->supplement ? " (supplement)" : "";
            bool full = out->length - line + strlen(cost->op->name) + strlen(note) + 1 > 80;
            if (full)
                line = out->length + 1;
            km_text_printf(out, "%s%s%s", full ? "\n    " : " ", cost->op->name, note);
        }
        km_text_puts(out, "\n");
    }
}

static void as_run(const struct km_step_account *a, struct km_text *out)
{
    char x[KM_CELL], y[KM_CELL], z[KM_CELL];
    km_text_printf(out, "  device  %s", km_cell_seconds(x, a->device_s));
    if (a->op_count) {
        const char *before = ": ";
        for (int i = 0; i < KM_BOUND_COUNT; i++)
            if (a->bound_s[i] > 0.0) {
                km_text_printf(out, "%s%s %s", before, km_bound_name((enum km_bound)i),
                               km_cell_percent(y, a->bound_s[i] / a->device_s));
                before = ", ";
            }
    }
    km_text_puts(out, "\n");
    origins(a, out);
    km_text_puts(out, "  graph   ");
    if (!a->captured)
        km_text_printf(out, "none: launched kernel by kernel, no shorter than %s\n",
                       km_cell_seconds(x, a->launch_s));
    else if (a->padded_tokens != a->tokens)
        km_text_printf(out, "%u tokens, padded to %u\n", a->tokens, a->padded_tokens);
    else
        km_text_printf(out, "%u tokens\n", a->tokens);
    km_text_printf(out, "  host    form %s + launch %s + process %s", km_cell_seconds(x, a->form_s),
                   km_cell_seconds(y, a->launch_s), km_cell_seconds(z, a->process_s));
    km_text_printf(out, " = %s, %s\n", km_cell_seconds(x, a->host_s),
                   a->paced_by == KM_PACED_BY_DEVICE ? "hidden" : "not hidden");
    km_text_printf(out, "  as run  %s a step, paced by %s", km_cell_seconds(x, a->step_s),
                   km_paced_by_name(a->paced_by));
    if (a->batches_in_flight > 1)
        km_text_printf(out, "; %u such batches in flight", a->batches_in_flight);
    km_text_puts(out, "\n");
}

static void picture(const struct km_explanation *e, const struct km_step_account *a, struct km_text *out)
{
    struct km_roofline_mark marks[52];
    struct km_roofline roofline = {.peak_flops_per_s = e->peak_flops_per_s,
                                   .bandwidth_bytes_per_s = e->bandwidth_bytes_per_s,
                                   .marks = marks};
    char x[KM_CELL], y[KM_CELL], z[KM_CELL];
    for (uint32_t i = 0; i < a->op_count; i++) {
        char letter = letter_of(a, i);
        const struct km_op_cost *cost = &a->ops[i];
        if (letter != ' ')
            marks[roofline.count++] =
                (struct km_roofline_mark){letter, cost->flops / cost->bytes, cost->flops / cost->time_s};
    }
    if (roofline.count == 0)
        return;
    km_text_printf(out, "\n  FLOP/s over FLOP/byte; the roof is %sFLOP/s and %sB/s, they meet at %s\n",
                   km_cell_scaled(x, e->peak_flops_per_s), km_cell_scaled(y, e->bandwidth_bytes_per_s),
                   km_cell_scaled(z, e->peak_flops_per_s / e->bandwidth_bytes_per_s));
    km_roofline_picture(&roofline, out);
    size_t width = 0;
    km_text_puts(out, "  ");
    for (uint32_t i = 0; i < a->op_count; i++) {
        char letter = letter_of(a, i);
        if (letter == ' ')
            continue;
        size_t length = strlen(a->ops[i].op->name) + 4;
        if (width + length > 76) {
            km_text_puts(out, "\n  ");
            width = 0;
        }
        km_text_printf(out, "%s%c %s", width ? "  " : "", letter, a->ops[i].op->name);
        width += length;
    }
    km_text_puts(out, "\n");
}

void km_explain_step_text(const struct km_explanation *e, const struct km_explain_step *step,
                          struct km_text *out)
{
    const struct km_step_account *a = &step->account;
    title(step, out);
    if (a->op_count)
        operators(a, out);
    else
        km_text_printf(out, "  cost model %s has no operators\n", e->cost);
    as_run(a, out);
    if (e->data_parallel_size > 1)
        km_text_printf(
            out,
            "  ranks   an even share for each of %u; in a run each forms its own batches, all are padded "
            "to the\n"
            "          busiest and wait for the slowest, and one without a batch runs a dummy\n",
            e->data_parallel_size);
    picture(e, a, out);
}
