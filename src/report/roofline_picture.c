#include "report/roofline_picture.h"

#include "report/cells.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define COLUMNS KM_ROOFLINE_COLUMNS
#define ROWS    KM_ROOFLINE_ROWS
#define NUDGE   3
#define MARGIN  9 /* of the labels left of the picture */

struct canvas {
    char cells[ROWS][COLUMNS + 1];       /* row 0 on top */
    double low_x, high_x, low_y, high_y; /* decimal logarithms */
};

static int column_of(const struct canvas *c, double log_x)
{
    return (int)lround((log_x - c->low_x) / (c->high_x - c->low_x) * (COLUMNS - 1));
}

static int row_of(const struct canvas *c, double log_y)
{
    return (int)lround((c->high_y - log_y) / (c->high_y - c->low_y) * (ROWS - 1));
}

/* A mark without work or without bytes has no place on logarithmic axes. */
static bool has_place(const struct km_roofline_mark *mark)
{
    return isfinite(mark->intensity) && mark->intensity > 0 && isfinite(mark->flops_per_s) &&
           mark->flops_per_s > 0;
}

/* Whole decades around the ridge and every mark. */
static void scale(const struct km_roofline *r, struct canvas *c)
{
    double ridge = log10(r->peak_flops_per_s / r->bandwidth_bytes_per_s), peak = log10(r->peak_flops_per_s);
    c->low_x = floor(ridge) - 1.0;
    c->high_x = ceil(ridge) + 1.0;
    c->low_y = floor(peak) - 1.0;
    c->high_y = peak;
    for (size_t i = 0; i < r->count; i++) {
        if (!has_place(&r->marks[i]))
            continue;
        double x = log10(r->marks[i].intensity), y = log10(r->marks[i].flops_per_s);
        c->low_x = fmin(c->low_x, floor(x));
        c->high_x = fmax(c->high_x, ceil(x));
        c->low_y = fmin(c->low_y, floor(y));
        c->high_y = fmax(c->high_y, y);
    }
}

static void draw_roof(const struct km_roofline *r, struct canvas *c)
{
    double bandwidth = log10(r->bandwidth_bytes_per_s), peak = log10(r->peak_flops_per_s);
    int before = ROWS - 1;
    for (int column = 0; column < COLUMNS; column++) {
        double x = c->low_x + (c->high_x - c->low_x) * column / (COLUMNS - 1);
        int row = row_of(c, fmin(peak, x + bandwidth));
        for (int i = before - 1; i > row && column > 0; i--) /* steep: no gaps */
            if (i < ROWS)
                c->cells[i][column] = '/';
        if (row >= 0 && row < ROWS)
            c->cells[row][column] = x + bandwidth < peak ? '/' : '-';
        before = row;
    }
}

static void draw_marks(const struct km_roofline *r, struct canvas *c)
{
    char taken[ROWS][COLUMNS] = {{0}};
    for (size_t i = 0; i < r->count; i++) {
        if (!has_place(&r->marks[i]))
            continue;
        int row = row_of(c, log10(r->marks[i].flops_per_s)),
            column = column_of(c, log10(r->marks[i].intensity));
        for (int nudge = 0; nudge <= NUDGE && column + nudge < COLUMNS; nudge++)
            if (!taken[row][column + nudge]) {
                taken[row][column + nudge] = 1;
                c->cells[row][column + nudge] = r->marks[i].letter;
                break;
            }
    }
}

static void print_axes(const struct canvas *c, struct km_text *out)
{
    char number[KM_CELL], labels[COLUMNS + KM_CELL];
    for (int row = 0; row < ROWS; row++) {
        const char *label = "";
        for (double decade = ceil(c->low_y); decade <= c->high_y; decade += 1.0)
            if (row_of(c, decade) == row)
                label = km_cell_scaled(number, pow(10.0, decade));
        if (row == 0 && row_of(c, floor(c->high_y)) != 0)
            label = km_cell_scaled(number, pow(10.0, c->high_y));
        km_text_printf(out, "%*s |%s\n", MARGIN - 2, label, c->cells[row]);
    }
    km_text_printf(out, "%*s+", MARGIN - 1, "");
    memset(labels, ' ', sizeof labels);
    int end = 0;
    for (int column = 0; column < COLUMNS; column++) {
        double decade = round(c->low_x + (c->high_x - c->low_x) * column / (COLUMNS - 1));
        bool tick = column_of(c, decade) == column && decade <= c->high_x;
        km_text_puts(out, tick ? "+" : "-");
        if (!tick || column < end)
            continue;
        const char *label = km_cell_scaled(number, pow(10.0, decade));
        memcpy(labels + column, label, strlen(label));
        end = column + (int)strlen(label) + 1;
    }
    while (end > 0 && labels[end - 1] == ' ')
        end--;
    km_text_printf(out, "\n%*s%.*s\n", MARGIN, "", end, labels);
}

void km_roofline_picture(const struct km_roofline *roofline, struct km_text *out)
{
    struct canvas canvas;
    scale(roofline, &canvas);
    for (int row = 0; row < ROWS; row++) {
        memset(canvas.cells[row], ' ', COLUMNS);
        canvas.cells[row][COLUMNS] = '\0';
    }
    draw_roof(roofline, &canvas);
    draw_marks(roofline, &canvas);
    for (int row = 0; row < ROWS; row++) /* no blanks at line ends */
        for (int column = COLUMNS; column > 0 && canvas.cells[row][column - 1] == ' '; column--)
            canvas.cells[row][column - 1] = '\0';
    print_axes(&canvas, out);
}
