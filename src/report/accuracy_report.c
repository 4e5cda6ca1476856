#include "report/accuracy_report.h"

#include "report/cells.h"
#include "report/parts.h"

#include <string.h>

#define PAGE_WIDTH    80u
#define SOURCES_WIDTH 40u

static void put_key(struct km_json_writer *w, const char *name, const struct km_accuracy_key *key)
{
    km_json_put_open(w, name, '{');
    for (int i = 0; i < KM_ACCURACY_DIMS; i++)
        km_json_put_string(w, km_accuracy_dim_name((enum km_accuracy_dim)i), key->of[i]);
    km_json_put_close(w, '}');
}

static void put_figures(struct km_json_writer *w, const struct km_accuracy_row *row)
{
    km_json_put_string(w, "profile", row->profile);
    km_json_put_count(w, "points", row->points);
    km_json_put_number(w, "median", row->median);
    km_json_put_number(w, "p10", row->p10);
    km_json_put_number(w, "p90", row->p90);
    km_json_put_string(w, "sources", row->sources);
}

void km_report_accuracy_json(const struct km_accuracy_answer *answers, size_t count, struct km_json_writer *w)
{
    km_json_put_open(w, "accuracy", '[');
    for (size_t i = 0; i < count; i++) {
        struct km_text words = {0};
        km_accuracy_describe(&answers[i], &words);
        km_json_put_open(w, NULL, '{');
        put_key(w, "asked", &answers[i].asked);
        km_json_put_string(w, "closest", km_accuracy_level_name(answers[i].level));
        put_key(w, "row", &answers[i].row.key);
        put_figures(w, &answers[i].row);
        km_json_put_string(w, "words", km_text_c(&words));
        km_json_put_close(w, '}');
        km_text_release(&words);
    }
    km_json_put_close(w, ']');
}

void km_report_accuracy_text(const struct km_accuracy_answer *answers, size_t count, const char *label,
                             struct km_text *out)
{
    for (size_t i = 0; i < count; i += KM_ACCURACY_METRICS) {
        const struct km_accuracy_row *row = &answers[i].row;
        struct km_text words = {0};
        km_accuracy_describe(&answers[i], &words);
        if (row->points)
            km_text_printf(&words, "; %s %.2f to %.2f of measured (80 %%), median %.2f",
                           answers[i].asked.of[KM_ACCURACY_METRIC], row->p10, row->p90, row->median);
        km_text_puts(out, label);
        km_put_wrapped(km_text_c(&words), (unsigned)strlen(label), PAGE_WIDTH, out);
        km_text_release(&words);
    }
}

/* Columns as wide as their widest word. */
static size_t width_of(const struct km_accuracy_row *rows, size_t count, int dim)
{
    size_t width = strlen(km_accuracy_dim_name((enum km_accuracy_dim)dim));
    for (size_t i = 0; i < count; i++)
        if (strlen(rows[i].key.of[dim]) > width)
            width = strlen(rows[i].key.of[dim]);
    return width;
}

static size_t left_out(const struct km_accuracy *accuracy)
{
    size_t count = 0;
    for (size_t i = 0; i < accuracy->count; i++)
        count += accuracy->points[i].left_out[0] != '\0';
    return count;
}

/* As they are, or how many where that is too long for a line. */
static void put_sources(const char *sources, struct km_text *out)
{
    unsigned commas = 0;
    for (const char *c = sources; *c; c++)
        commas += *c == ',';
    if (strlen(sources) <= SOURCES_WIDTH)
        km_text_printf(out, "%s\n", sources);
    else
        km_text_printf(out, "%u: --json\n", commas + 1);
}

void km_accuracy_report_text(const struct km_accuracy *accuracy, const struct km_accuracy_row *rows,
                             size_t count, struct km_text *out)
{
    size_t widths[KM_ACCURACY_DIMS] = {0};
    for (int dim = 0; count > 0 && dim < KM_ACCURACY_DIMS; dim++)
        if (rows[0].key.of[dim]) {
            widths[dim] = width_of(rows, count, dim);
            km_text_printf(out, "%-*s  ", (int)widths[dim], km_accuracy_dim_name((enum km_accuracy_dim)dim));
        }
    km_text_printf(out, "%6s  %6s  %5s  %5s  %s\n", "points", "median", "p10", "p90", "sources");
    for (size_t i = 0; i < count; i++) {
        for (int dim = 0; dim < KM_ACCURACY_DIMS; dim++)
            if (rows[i].key.of[dim])
                km_text_printf(out, "%-*s  ", (int)widths[dim], rows[i].key.of[dim]);
        km_text_printf(out, "%6u  %6.3f  %5.3f  %5.3f  ", rows[i].points, rows[i].median, rows[i].p10,
                       rows[i].p90);
        put_sources(rows[i].sources, out);
    }
    km_text_printf(out,
                   "\npredicted over measured; %zu points, %zu of them left out (fitted, or not predicted); "
                   "rows of fewer "
                   "than %u points answer for nothing\n",
                   accuracy->count, left_out(accuracy), KM_ACCURACY_LEAST_POINTS);
}

void km_accuracy_report_json(const struct km_accuracy *accuracy, const struct km_accuracy_row *rows,
                             size_t count, struct km_text *out)
{
    struct km_json_writer w = {.out = out};
    km_json_put_open(&w, NULL, '{');
    km_json_put_count(&w, "schema", 1);
    km_json_put_count(&w, "points", accuracy->count);
    km_json_put_count(&w, "left_out", left_out(accuracy));
    km_json_put_count(&w, "least_points", KM_ACCURACY_LEAST_POINTS);
    km_json_put_open(&w, "rows", '[');
    for (size_t i = 0; i < count; i++) {
        km_json_put_open(&w, NULL, '{');
        for (int dim = 0; dim < KM_ACCURACY_DIMS; dim++)
            km_json_put_string(&w, km_accuracy_dim_name((enum km_accuracy_dim)dim), rows[i].key.of[dim]);
        put_figures(&w, &rows[i]);
        km_json_put_close(&w, '}');
    }
    km_json_put_close(&w, ']');
    km_json_put_close(&w, '}');
    km_text_puts(out, "\n");
}
