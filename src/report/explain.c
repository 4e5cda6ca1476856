#include "report/explain.h"

#include "report/cells.h"
#include "report/parts.h"

static void turn(struct km_text *out, const char *what, uint32_t batch, uint32_t last)
{
    if (batch)
        km_text_printf(out, "  %s: compute-bound from %u sequences on\n", what, batch);
    else
        km_text_printf(out, "  %s: not compute-bound up to %u sequences\n", what, last);
}

static const char *bound_cell(enum km_bound bound)
{
    return bound == KM_BOUND_NONE ? "-" : km_bound_name(bound);
}

void km_explain_sweep_text(const struct km_explanation *e, struct km_text *out)
{
    char a[KM_CELL], b[KM_CELL], c[KM_CELL], d[KM_CELL], f[KM_CELL];
    bool overfull = false;
    if (e->sweep_count == 0)
        return;
    km_text_printf(out, "decode-only steps at context %s\n", km_cell_count(a, e->sweep_context_tokens));
    km_text_printf(out, "  %9s %10s %10s %9s %9s   %-10s %s\n", "sequences", "step", "tokens/s", "of which",
                   "of which", "products", "attention");
    km_text_printf(out, "  %9s %10s %10s %9s %9s   %-10s %s\n", "", "", "", "memory", "compute", "bound by",
                   "bound by");
    for (size_t i = 0; i < e->sweep_count; i++) {
        const struct km_explain_sweep_row *row = &e->sweep[i];
        km_text_printf(out, "%c %9s %10s %10s %9s %9s   %-10s %s\n", row->fits ? ' ' : '!',
                       km_cell_count(a, row->sequences), km_cell_seconds(b, row->step_s),
                       km_cell_rounded(c, row->tokens_per_s), km_cell_percent(d, row->share[KM_BOUND_MEMORY]),
                       km_cell_percent(f, row->share[KM_BOUND_COMPUTE]), bound_cell(row->products_bound_by),
                       bound_cell(row->attention_bound_by));
        overfull |= !row->fits;
    }
    if (overfull)
        km_text_puts(out, "  ! more than the KV cache holds\n");
    uint32_t last = e->sweep[e->sweep_count - 1].sequences;
    bool products = e->sweep[0].products_bound_by != KM_BOUND_NONE;
    bool attention = e->sweep[0].attention_bound_by != KM_BOUND_NONE;
    if (products)
        turn(out, "matrix products", e->products_turn, last);
    if (attention)
        turn(out, "attention", e->attention_turn, last);
    if (products || attention)
        turn(out, "the step as a whole", e->step_turn, last);
}

static void parameters(const struct km_explanation *e, struct km_text *out)
{
    char total[KM_CELL], active[KM_CELL];
    km_text_printf(out, "parameters %s, %s of them read for a token", km_cell_scaled(total, e->parameters),
                   km_cell_scaled(active, e->active_parameters));
    if (e->parameters_in_name > 0.0)
        km_text_printf(out, "; its name says %s", km_cell_scaled(total, e->parameters_in_name));
    if (e->active_parameters_in_name > 0.0)
        km_text_printf(out, ", %s active", km_cell_scaled(active, e->active_parameters_in_name));
    if (e->towers)
        km_text_printf(out, "\nother towers: %s, %s parameters in memory, their work is not costed",
                       e->towers, km_cell_scaled(total, e->tower_parameters));
    km_text_puts(out, "\n\n");
}

void km_explain_text(const struct km_explanation *e, struct km_text *out)
{
    km_text_printf(out, "%s on %s, %s, engine %s, cost %s\n\n", e->model, e->device, e->layout, e->engine,
                   e->cost);
    parameters(e, out);
    km_explain_memory_text(e, out);
    for (size_t i = 0; i < e->step_count; i++) {
        km_text_puts(out, "\n");
        km_explain_step_text(e, &e->steps[i], out);
    }
    if (e->sweep_count)
        km_text_puts(out, "\n");
    km_explain_sweep_text(e, out);
    if (e->note_count || e->warning_count || e->accuracy_count)
        km_text_puts(out, "\n");
    for (size_t i = 0; i < e->note_count; i++)
        km_text_printf(out, "note: %s\n", e->notes[i]);
    km_report_warnings_text(e->warnings, e->warning_count, "warning: ", out);
    km_report_accuracy_text(e->accuracy, e->accuracy_count, "accuracy: ", out);
}
