#include "cli/sweep_table.h"

#include "report/cells.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum unit { PLAIN, SECONDS, YES };

static const struct figure {
    const char *column, *heading;
    enum unit unit;
} figures[] = {
    {"throughput.requests_per_s", "requests/s", PLAIN},
    {"throughput.output_tokens_per_s", "tokens/s", PLAIN},
    {"ttft_s.p99", "TTFT p99", SECONDS},
    {"tpot_s.p99", "TPOT p99", SECONDS},
    {"e2e_s.p99", "E2E p99", SECONDS},
    {"slo.attained", "SLO met", YES},
    {"slo.goodput_per_s", "goodput/s", PLAIN},
    {"cost.usd_per_million_output_tokens", "USD/M output", PLAIN},
};
#define FIGURES (sizeof figures / sizeof figures[0])

struct moments { /* Welford */
    uint32_t count;
    double mean, squares;
};

struct point {
    struct moments figures[FIGURES];
    char *reason; /* owned; why a run of it did not run */
};

struct km_sweep_table {
    const struct km_sweep *sweep;
    const struct km_rows *rows;
    uint32_t run, status, reason, columns[FIGURES]; /* where they are; UINT32_MAX: nowhere */
    struct point *points;                           /* [points] */
};

static uint32_t find_column(const struct km_rows *rows, const char *name)
{
    for (uint32_t i = 0; i < rows->count; i++)
        if (strcmp(rows->names[i], name) == 0)
            return i;
    return UINT32_MAX;
}

struct km_sweep_table *km_sweep_table_create(const struct km_sweep *sweep, const struct km_rows *rows)
{
    struct km_sweep_table *table = km_alloc(sizeof *table);
    *table = (struct km_sweep_table){.sweep = sweep,
                                     .rows = rows,
                                     .status = find_column(rows, "status"),
                                     .reason = find_column(rows, "reason")};
    for (size_t i = 0; i < FIGURES; i++)
        table->columns[i] = find_column(rows, figures[i].column);
    table->points = km_alloc(sweep->axes.points * sizeof *table->points);
    return table;
}

void km_sweep_table_destroy(struct km_sweep_table *table)
{
    if (!table)
        return;
    for (uint64_t i = 0; i < table->sweep->axes.points; i++)
        free(table->points[i].reason);
    free(table->points);
    free(table);
}

/* --- gathering ------------------------------------------------------------------------------------------ */

static void add(struct moments *moments, double value)
{
    double from_mean = value - moments->mean;
    moments->mean += from_mean / ++moments->count;
    moments->squares += from_mean * (value - moments->mean);
}

static double half_width(const struct moments *moments)
{
    if (moments->count < 2)
        return (double)NAN;
    double freedom = moments->count - 1.0;
    return gsl_cdf_tdist_Pinv(0.975, freedom) * sqrt(moments->squares / freedom / moments->count);
}

void km_sweep_table_row(struct km_sweep_table *table, const char *const *cells)
{
    struct point *point = &table->points[km_rows_run(cells) / table->sweep->replications];
    if (strcmp(cells[table->status], km_sweep_state_name(KM_SWEEP_RAN)) != 0 && !point->reason) {
        struct km_text reason = {0};
        km_text_printf(&reason, "%s: %s", cells[table->status], cells[table->reason]);
        point->reason = reason.bytes;
    }
    for (size_t i = 0; i < FIGURES; i++) {
        const char *text = table->columns[i] == UINT32_MAX ? "" : cells[table->columns[i]];
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
            add(&point->figures[i], *text == 't');
        else if (*text)
            add(&point->figures[i], strtod(text, NULL));
    }
}

/* --- printing ------------------------------------------------------------------------------------------- */

static const char *format(char *out, double value, enum unit unit)
{
    return unit == SECONDS ? km_cell_seconds(out, value) : km_cell_rounded(out, value);
}

static void format_figure(char *out, size_t size, const struct moments *moments, enum unit unit)
{
    char mean[KM_CELL], width[KM_CELL];
    if (moments->count == 0)
        snprintf(out, size, "-");
    else if (unit == YES && moments->count == 1)
        snprintf(out, size, "%s", moments->mean > 0.0 ? "yes" : "no");
    else if (unit == YES)
        snprintf(out, size, "%.0f of %u", moments->mean * moments->count, moments->count);
    else if (moments->count == 1)
        snprintf(out, size, "%s", format(mean, moments->mean, unit));
    else
        snprintf(out, size, "%s ±%s", format(mean, moments->mean, unit),
                 format(width, half_width(moments), unit));
}

/* Columns a terminal takes: bytes but the later ones of a character. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void put(struct km_text *out, const char *text, size_t width, bool left)
{
    size_t own = width_of(text), pad = width > own ? width - own : 0;
    km_text_printf(out, "%*s%s%*s", left ? 0 : (int)pad, "", text, left ? (int)pad : 0, "");
}

static void end_line(struct km_text *out)
{
    while (out->length && out->bytes[out->length - 1] == ' ')
        out->length--;
    km_text_puts(out, "\n");
}

/* The last part of a key, or as many as tell it from the others. */
static const char *short_key(const struct km_axes *axes, uint32_t index)
{
    const char *key = axes->axes[index].key;
    for (const char *at = key + strlen(key); at > key; at--) {
        if (at[-1] != '.')
            continue;
        bool alone = true;
        for (uint32_t i = 0; i < axes->count; i++) {
            const char *other = axes->axes[i].key;
            size_t length = strlen(at), whole = strlen(other);
            if (i != index && whole >= length && strcmp(other + whole - length, at) == 0 &&
                (whole == length || other[whole - length - 1] == '.'))
                alone = false;
        }
        if (alone)
            return at;
    }
    return key;
}

struct layout {
    size_t axes[64], figures[FIGURES]; /* widths; 0: not shown */
};
#define SHOWN_AXES (sizeof((struct layout *)0)->axes / sizeof(size_t))

static void measure(const struct km_sweep_table *table, struct layout *layout)
{
    const struct km_axes *axes = &table->sweep->axes;
    *layout = (struct layout){0};
    for (uint32_t i = 0; i < axes->count && i < SHOWN_AXES; i++) {
        layout->axes[i] = width_of(short_key(axes, i));
        for (uint32_t value = 0; value < axes->axes[i].count; value++) {
            size_t width = width_of(axes->axes[i].values[value]);
            layout->axes[i] = width > layout->axes[i] ? width : layout->axes[i];
        }
    }
    for (size_t i = 0; i < FIGURES; i++) {
        for (uint64_t point = 0; point < axes->points; point++) {
            char text[3 * KM_CELL];
            if (table->points[point].figures[i].count == 0)
                continue;
            format_figure(text, sizeof text, &table->points[point].figures[i], figures[i].unit);
            size_t width = width_of(text), heading = width_of(figures[i].heading);
            width = width > heading ? width : heading;
            layout->figures[i] = width > layout->figures[i] ? width : layout->figures[i];
        }
    }
}

static void print_point(const struct km_sweep_table *table, const struct layout *layout, uint64_t index,
                        const struct km_override *at, struct km_text *out)
{
    const struct point *point = &table->points[index];
    for (uint32_t i = 0; i < table->sweep->axes.count && i < SHOWN_AXES; i++) {
        put(out, at[i].value, layout->axes[i], true);
        km_text_puts(out, "  ");
    }
    for (size_t i = 0; !point->reason && i < FIGURES; i++) {
        char text[3 * KM_CELL];
        if (!layout->figures[i])
            continue;
        format_figure(text, sizeof text, &point->figures[i], figures[i].unit);
        put(out, text, layout->figures[i], false);
        km_text_puts(out, "  ");
    }
    km_text_puts(out, point->reason ? point->reason : "");
    end_line(out);
}

void km_sweep_table_print(const struct km_sweep_table *table, struct km_text *out)
{
    const struct km_axes *axes = &table->sweep->axes;
    struct layout layout;
    measure(table, &layout);
    for (uint32_t i = 0; i < axes->count && i < SHOWN_AXES; i++) {
        put(out, short_key(axes, i), layout.axes[i], true);
        km_text_puts(out, "  ");
    }
    for (size_t i = 0; i < FIGURES; i++) {
        if (!layout.figures[i])
            continue;
        put(out, figures[i].heading, layout.figures[i], false);
        km_text_puts(out, "  ");
    }
    end_line(out);
    struct km_override *at = km_alloc((axes->count + 1) * sizeof *at);
    for (uint64_t point = 0; point < axes->points; point++) {
        km_axes_point(axes, point, at);
        print_point(table, &layout, point, at, out);
    }
    free(at);
    if (table->sweep->replications > 1)
        km_text_printf(out, "%u replications of each: mean ± half-width of the 95 %% confidence interval\n",
                       table->sweep->replications);
}
