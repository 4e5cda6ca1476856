#include "report/cells.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *km_cell_grouped(char *out, double value, int decimals)
{
    char digits[KM_CELL];
    if (!isfinite(value) || fabs(value) >= 1e12) {
        snprintf(out, KM_CELL, isfinite(value) ? "%.3g" : "-", value);
        return out;
    }
    snprintf(digits, sizeof digits, "%.*f", decimals, value);
    size_t whole = strcspn(digits, "."), o = 0;
    for (size_t i = 0; digits[i] && o + 2 < KM_CELL; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0 && digits[i - 1] != '-')
            out[o++] = ',';
        out[o++] = digits[i];
    }
    out[o] = '\0';
    return out;
}

const char *km_cell_rounded(char *out, double value)
{
    return km_cell_grouped(out, value, fabs(value) < 10 ? 2 : fabs(value) < 100 ? 1 : 0);
}

const char *km_cell_count(char *out, uint64_t value)
{
    return km_cell_grouped(out, (double)value, 0);
}

const char *km_cell_seconds(char *out, double value_s)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"s", 1}, {"ms", 1e3}, {"us", 1e6}, {"ns", 1e9}};
    if (!isfinite(value_s) || value_s <= 0) {
        snprintf(out, KM_CELL, isfinite(value_s) ? "0 s" : "-");
        return out;
    }
    /* The smallest unit that leaves three digits before the point, as they will be printed. */
    int unit = 0;
    while (unit < 3 && value_s * units[unit].factor < 0.9995)
        unit++;
    char number[KM_CELL];
    snprintf(out, KM_CELL, "%.20s %s", km_cell_rounded(number, value_s * units[unit].factor),
             units[unit].name);
    return out;
}

const char *km_cell_percent(char *out, double share)
{
    if (!isfinite(share))
        snprintf(out, KM_CELL, "-");
    else
        snprintf(out, KM_CELL, "%.1f %%", 100 * share);
    return out;
}

const char *km_cell_bytes(char *out, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    if (!isfinite(bytes))
        return strcpy(out, "-");
    while (unit < 4 && fabs(bytes) >= 1023.95) {
        bytes /= 1024.0;
        unit++;
    }
    char number[KM_CELL];
    snprintf(out, KM_CELL, "%.18s %s", km_cell_grouped(number, bytes, unit ? 1 : 0), units[unit]);
    return out;
}

const char *km_cell_scaled(char *out, double value)
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P", "E"};
    int unit = 0;
    if (!isfinite(value)) {
        snprintf(out, KM_CELL, "-");
        return out;
    }
    while (unit < 6 && fabs(value) >= 999.5) {
        value /= 1000.0;
        unit++;
    }
    snprintf(out, KM_CELL, "%.*f%s%s",
             fabs(value) < 9.995   ? 2
             : fabs(value) < 99.95 ? 1
                                   : 0,
             value, unit ? " " : "", units[unit]);
    return out;
}

void km_put_wrapped(const char *words, unsigned column, unsigned width, struct km_text *out)
{
    const size_t room = width - column;
    for (;;) {
        size_t length = strlen(words), cut = length;
        if (length > room)
            for (cut = room; cut > 0 && words[cut] != ' ';)
                cut--;
        if (cut == 0)
            cut = room;
        km_text_printf(out, "%.*s\n", (int)cut, words);
        words += cut + strspn(words + cut, " ");
        if (!*words)
            return;
        km_text_printf(out, "%*s", (int)column, "");
    }
}
