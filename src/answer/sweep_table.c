#include "answer/sweep_table.h"

#include "base/settings.h"
#include "base/suggest.h"
#include "metrics/quantile.h"
#include "report/cells.h"
#include "report/report.h"
#include "workload/resample.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum unit { PLAIN, SECONDS, YES };

static const struct figure {
    const char *column, *heading;
    enum unit unit;
    const char *thin; /* column that names its quantiles of too few samples; NULL: it is none */
    bool usual;       /* shown where nobody says what to show */
} figures[] = {
    {"throughput.requests_per_s", "requests/s", PLAIN, NULL, true},
    {"throughput.output_tokens_per_s", "tokens/s", PLAIN, NULL, true},
    {"ttft_s.mean", "TTFT mean", SECONDS, NULL, false},
    {"ttft_s.p99", "TTFT p99", SECONDS, "ttft_s.too_few_samples_for", true},
    {"tpot_s.mean", "TPOT mean", SECONDS, NULL, false},
    {"tpot_s.p99", "TPOT p99", SECONDS, "tpot_s.too_few_samples_for", true},
    {"itl_s.p99", "ITL p99", SECONDS, "itl_s.too_few_samples_for", false},
    {"e2e_s.mean", "E2E mean", SECONDS, NULL, false},
    {"e2e_s.p99", "E2E p99", SECONDS, "e2e_s.too_few_samples_for", true},
    {"slo.attained", "SLO met", YES, NULL, true},
    {"slo.goodput_per_s", "goodput/s", PLAIN, NULL, true},
    {"kv.prefix_hit_rate", "prefix hits", PLAIN, NULL, false},
    {"utilization.busy", "busy", PLAIN, NULL, false},
    {"utilization.mfu", "MFU", PLAIN, NULL, false},
    {"utilization.mbu", "MBU", PLAIN, NULL, false},
    {"cost.gpus", "GPUs", PLAIN, NULL, false},
    {"cost.usd", "USD", PLAIN, NULL, false},
    {"cost.usd_per_hour", "USD/h", PLAIN, NULL, false},
    {"cost.usd_per_million_output_tokens", "USD/M output", PLAIN, NULL, true},
    {"cost.energy_per_output_token_j", "J/output", PLAIN, NULL, false},
};
#define FIGURES (sizeof figures / sizeof figures[0])

struct moments { /* Welford */
    uint32_t count;
    double mean, squares;
};

struct value {
    struct moments samples[KM_SWEEP_SAMPLES];
    bool thin;      /* a quantile, and too few samples in one of the runs */
    bool saturated; /* a latency, and one of the runs is saturated: it grows as long as the load lasts */
};

struct point {
    struct value figures[FIGURES];
    char *reason; /* owned; why a run of it did not run */
};

struct km_sweep_table {
    const struct km_sweep *sweep;
    const struct km_rows *rows;
    bool shown[FIGURES];
    uint32_t status, reason, sample, verdict; /* where they are; UINT32_MAX: nowhere */
    uint32_t columns[FIGURES], thin[FIGURES]; /* the same */
    struct point *points;                     /* [points] */
};

static uint32_t find_column(const struct km_rows *rows, const char *name)
{
    for (uint32_t i = 0; i < rows->count; i++)
        if (strcmp(rows->names[i], name) == 0)
            return i;
    return UINT32_MAX;
}

static bool is_shown(const struct km_yaml *show, const struct figure *figure)
{
    for (size_t i = 0; show && i < show->count; i++)
        if (strcmp(show->items[i]->text, figure->column) == 0)
            return true;
    return !show && figure->usual;
}

enum km_status km_sweep_table_check(const struct km_yaml *show, struct km_error *error)
{
    if (show && (show->kind != KM_YAML_SEQUENCE || show->count == 0))
        return km_yaml_fail(show, error, "expected a list of figures such as [ttft_s.p99, slo.attained]");
    for (size_t i = 0; show && i < show->count; i++) {
        const char *name;
        enum km_status status = km_settings_text(show->items[i], "a figure", &name, error);
        struct km_suggestion suggestion = {.word = name};
        bool found = false;
        for (size_t k = 0; status == KM_OK && k < FIGURES; k++) {
            found |= strcmp(figures[k].column, name) == 0;
            km_suggest_offer(&suggestion, figures[k].column);
        }
        if (status == KM_OK && !found)
            status = km_settings_unknown_name(show->items[i], suggestion.best,
                                              "ttft_s.p99, slo.attained, ...", error);
        if (status != KM_OK)
            return status;
    }
    return KM_OK;
}

struct km_sweep_table *km_sweep_table_create(const struct km_sweep *sweep, const struct km_rows *rows)
{
    struct km_sweep_table *table = km_alloc(sizeof *table);
    *table = (struct km_sweep_table){.sweep = sweep,
                                     .rows = rows,
                                     .status = find_column(rows, "status"),
                                     .reason = find_column(rows, "reason"),
                                     .sample = find_column(rows, "sample"),
                                     .verdict = find_column(rows, "stability.verdict")};
    for (size_t i = 0; i < FIGURES; i++) {
        table->shown[i] = is_shown(sweep->show, &figures[i]);
        table->columns[i] = find_column(rows, figures[i].column);
        table->thin[i] = figures[i].thin ? find_column(rows, figures[i].thin) : UINT32_MAX;
    }
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

/* Of a mean of independent runs; of a recording's own figure, whose standard error is the deviation among
 * resamples itself (sweep/sample.h). NAN below two runs to see it by. */
static double half_width(const struct value *value)
{
    const struct moments *drawn = &value->samples[KM_SWEEP_DRAWN],
                         *resampled = &value->samples[KM_SWEEP_RESAMPLED];
    const struct moments *seen = drawn->count > 0 ? drawn : resampled;
    if (seen->count < 2)
        return (double)NAN;
    double freedom = seen->count - 1.0, variance = seen->squares / freedom;
    return gsl_cdf_tdist_Pinv(0.975, freedom) * sqrt(seen == drawn ? variance / seen->count : variance);
}

/* The recording's own where there is one. */
static double centre(const struct value *value)
{
    const struct moments *s = value->samples;
    return s[KM_SWEEP_RECORDED].count > 0 ? s[KM_SWEEP_RECORDED].mean
           : s[KM_SWEEP_DRAWN].count > 0  ? s[KM_SWEEP_DRAWN].mean
                                          : s[KM_SWEEP_RESAMPLED].mean;
}

static uint32_t count_runs(const struct value *value)
{
    uint32_t count = 0;
    for (int i = 0; i < KM_SWEEP_SAMPLES; i++)
        count += value->samples[i].count;
    return count;
}

static enum km_sweep_sample read_sample(const char *name)
{
    for (int i = 0; i < KM_SWEEP_SAMPLES; i++)
        if (strcmp(name, km_sweep_sample_name((enum km_sweep_sample)i)) == 0)
            return (enum km_sweep_sample)i;
    return KM_SWEEP_DRAWN;
}

/* "p95, p99" of "ttft_s.p99" */
static bool names_quantile(const char *list, const char *column)
{
    return strstr(list, strrchr(column, '.') + 1) != NULL;
}

void km_sweep_table_row(struct km_sweep_table *table, const char *const *cells)
{
    struct point *point = &table->points[km_rows_run(cells) / table->sweep->replications];
    if (strcmp(cells[table->status], km_sweep_state_name(KM_SWEEP_RAN)) != 0 && !point->reason) {
        struct km_text reason = {0};
        km_text_printf(&reason, "%s: %s", cells[table->status], cells[table->reason]);
        point->reason = reason.bytes;
    }
    enum km_sweep_sample sample = read_sample(cells[table->sample]);
    bool saturated = strcmp(cells[table->verdict], km_verdict_name(KM_SATURATED)) == 0;
    for (size_t i = 0; i < FIGURES; i++) {
        struct value *value = &point->figures[i];
        const char *text = table->columns[i] == UINT32_MAX ? "" : cells[table->columns[i]];
        const char *thin = table->thin[i] == UINT32_MAX ? "" : cells[table->thin[i]];
        value->thin |= names_quantile(thin, figures[i].column);
        value->saturated |= figures[i].unit == SECONDS && saturated;
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
            add(&value->samples[sample], *text == 't');
        else if (*text)
            add(&value->samples[sample], strtod(text, NULL));
    }
}

/* --- printing ------------------------------------------------------------------------------------------- */

static const char *format(char *out, double value, enum unit unit)
{
    return unit == SECONDS ? km_cell_seconds(out, value) : km_cell_rounded(out, value);
}

static void format_share(char *out, size_t size, const struct value *value)
{
    uint32_t count = count_runs(value);
    double yes = 0.0;
    for (int i = 0; i < KM_SWEEP_SAMPLES; i++)
        yes += value->samples[i].mean * value->samples[i].count;
    if (count == 1)
        snprintf(out, size, "%s", yes > 0.0 ? "yes" : "no");
    else
        snprintf(out, size, "%.0f of %u", yes, count);
}

static void format_figure(char *out, size_t size, const struct value *value, enum unit unit)
{
    char number[KM_CELL], width[KM_CELL];
    double half = half_width(value);
    if (count_runs(value) == 0 || value->saturated)
        snprintf(out, size, "-");
    else if (unit == YES)
        format_share(out, size, value);
    else if (isnan(half))
        snprintf(out, size, "%s%s", format(number, centre(value), unit), value->thin ? KM_QUANTILE_MARK : "");
    else
        snprintf(out, size, "%s%s ±%s", format(number, centre(value), unit),
                 value->thin ? KM_QUANTILE_MARK : "", format(width, half, unit));
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
            if (!table->shown[i] || count_runs(&table->points[point].figures[i]) == 0)
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

/* What the +- of this table's points are, and which have none. */
static void print_notes(const struct km_sweep_table *table, struct km_text *out)
{
    bool has[KM_SWEEP_SAMPLES] = {0}, alone = false, thin = false, saturated = false;
    for (uint64_t point = 0; point < table->sweep->axes.points; point++) {
        for (size_t i = 0; i < FIGURES; i++) {
            const struct value *value = &table->points[point].figures[i];
            thin |= value->thin && table->shown[i];
            saturated |= value->saturated && table->shown[i];
            for (int sample = 0; sample < KM_SWEEP_SAMPLES; sample++)
                has[sample] |= value->samples[sample].count > 0;
            alone |= value->samples[KM_SWEEP_RECORDED].count > 0 && isnan(half_width(value));
        }
    }
    if (thin)
        km_text_printf(out, "%s fewer than %d requests beyond it in a run: too few to tell\n",
                       KM_QUANTILE_MARK, KM_QUANTILE_BEYOND);
    if (saturated)
        km_text_puts(out, "- more than the system can serve: latencies grow as long as the load lasts\n");
    uint32_t replications = table->sweep->replications;
    if (replications < 2)
        return;
    if (has[KM_SWEEP_DRAWN])
        km_text_printf(out, "%u replications of each: mean ± half-width of the 95 %% confidence interval\n",
                       replications);
    if (has[KM_SWEEP_RESAMPLED] && has[KM_SWEEP_RECORDED])
        km_text_printf(out,
                       "the recording ± half-width of the 95 %% interval by %u resamples of it, in blocks of "
                       "%g s\n",
                       replications - 1, KM_BOOTSTRAP_BLOCK_S);
    else if (has[KM_SWEEP_RESAMPLED])
        km_text_printf(out,
                       "%u resamples of one recording: mean ± half-width of the recording's 95 %% interval\n",
                       replications);
    if (alone)
        km_text_puts(out, "one recording, the same requests in every replication: no interval\n");
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
    print_notes(table, out);
}
