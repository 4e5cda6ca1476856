#include "golden/answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 120

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

void answer_strip(cJSON *answer)
{
    for (cJSON *child = answer->child, *next; child; child = next) {
        next = child->next;
        if (child->string && (ends_with(child->string, "wall_s") || strcmp(child->string, "version") == 0 ||
                              strcmp(child->string, "accuracy") == 0))
            cJSON_Delete(cJSON_DetachItemViaPointer(answer, child));
        else
            answer_strip(child);
    }
}

/* The length of a line, its end included where it has one. */
static size_t line_length(const char *text)
{
    size_t length = strcspn(text, "\n");
    return length + (text[length] == '\n');
}

static bool tells_wall_time(const char *line, size_t length)
{
    static const char begin[] = "simulator ", within[] = " candidates; ";
    if (length >= sizeof begin - 1 && memcmp(line, begin, sizeof begin - 1) == 0)
        return true;
    for (size_t i = 0; i + sizeof within - 1 <= length; i++)
        if (memcmp(line + i, within, sizeof within - 1) == 0)
            return true;
    return false;
}

void answer_strip_text(char *text)
{
    char *kept = text;
    for (size_t length; (length = line_length(text)) > 0; text += length) {
        if (tells_wall_time(text, length))
            continue;
        memmove(kept, text, length);
        kept += length;
    }
    *kept = '\0';
}

static void print_at(const cJSON *value, size_t indent, size_t column, struct km_text *out)
{
    char *line = cJSON_PrintUnformatted(value);
    bool scalar = !value->child;
    if (scalar || column + strlen(line) < COLUMNS) {
        km_text_puts(out, line);
        free(line);
        return;
    }
    free(line);
    bool object = cJSON_IsObject(value);
    km_text_puts(out, object ? "{" : "[");
    for (const cJSON *child = value->child; child; child = child->next) {
        km_text_printf(out, "\n%*s", (int)indent + 1, "");
        size_t before = out->length;
        if (object)
            km_text_printf(out, "\"%s\":", child->string);
        print_at(child, indent + 1, indent + 1 + out->length - before, out);
        if (child->next)
            km_text_puts(out, ",");
    }
    km_text_printf(out, "\n%*s%s", (int)indent, "", object ? "}" : "]");
}

void answer_print(const cJSON *answer, struct km_text *out)
{
    print_at(answer, 0, 0, out);
    km_text_puts(out, "\n");
}

static bool same_number(double a, double b, double tolerance)
{
    return a == b || fabs(a - b) <= tolerance * fmax(fabs(a), fabs(b));
}

/* A value as a difference shows it: cut where it is long. */
static void show(const cJSON *value, struct km_text *out)
{
    char *line = value ? cJSON_PrintUnformatted(value) : NULL;
    km_text_printf(out, "%.*s%s", COLUMNS, line ? line : "(absent)",
                   line && strlen(line) > COLUMNS ? "..." : "");
    free(line);
}

static size_t differ(const char *path, const cJSON *golden, const cJSON *now, struct km_text *out)
{
    km_text_printf(out, "%s: ", path[0] ? path : "(all)");
    show(golden, out);
    km_text_puts(out, " -> ");
    show(now, out);
    if (golden && now && cJSON_IsNumber(golden) && cJSON_IsNumber(now) && golden->valuedouble != 0)
        km_text_printf(out, "  (%+.3g %%)", 100 * (now->valuedouble / golden->valuedouble - 1));
    km_text_puts(out, "\n");
    return 1;
}

static size_t compare_at(const char *path, const cJSON *golden, const cJSON *now, double tolerance,
                         struct km_text *out);

static size_t compare_objects(const char *path, const cJSON *golden, const cJSON *now, double tolerance,
                              struct km_text *out)
{
    size_t count = 0;
    const char *dot = path[0] ? "." : "";
    struct km_text inner = {0};
    for (const cJSON *child = golden->child; child; child = child->next) {
        km_text_reset(&inner);
        km_text_printf(&inner, "%s%s%s", path, dot, child->string);
        count += compare_at(km_text_c(&inner), child, cJSON_GetObjectItemCaseSensitive(now, child->string),
                            tolerance, out);
    }
    for (const cJSON *child = now->child; child; child = child->next) {
        if (cJSON_GetObjectItemCaseSensitive(golden, child->string))
            continue;
        km_text_reset(&inner);
        km_text_printf(&inner, "%s%s%s", path, dot, child->string);
        count += differ(km_text_c(&inner), NULL, child, out);
    }
    km_text_release(&inner);
    return count;
}

static size_t compare_arrays(const char *path, const cJSON *golden, const cJSON *now, double tolerance,
                             struct km_text *out)
{
    size_t count = 0, i = 0;
    struct km_text inner = {0};
    const cJSON *a = golden->child, *b = now->child;
    for (; a || b; i++, a = a ? a->next : NULL, b = b ? b->next : NULL) {
        km_text_reset(&inner);
        km_text_printf(&inner, "%s[%zu]", path, i);
        count += compare_at(km_text_c(&inner), a, b, tolerance, out);
    }
    km_text_release(&inner);
    return count;
}

static size_t compare_at(const char *path, const cJSON *golden, const cJSON *now, double tolerance,
                         struct km_text *out)
{
    if (golden && now && cJSON_IsObject(golden) && cJSON_IsObject(now))
        return compare_objects(path, golden, now, tolerance, out);
    if (golden && now && cJSON_IsArray(golden) && cJSON_IsArray(now))
        return compare_arrays(path, golden, now, tolerance, out);
    bool same = golden && now && cJSON_IsNumber(golden) && cJSON_IsNumber(now)
                    ? same_number(golden->valuedouble, now->valuedouble, tolerance)
                    : golden && now && cJSON_Compare(golden, now, true);
    return same ? 0 : differ(path, golden, now, out);
}

size_t answer_compare(const cJSON *golden, const cJSON *now, double tolerance, struct km_text *out)
{
    return compare_at("", golden, now, tolerance, out);
}

/* The next word of a line, and the gap before it; words are parted by blanks and commas. */
static size_t word_length(const char *text, const char *end)
{
    size_t length = 0;
    while (text + length < end && strchr(" ,", text[length]))
        length++;
    while (text + length < end && !strchr(" ,", text[length]))
        length++;
    return length;
}

static bool same_word(const char *a, size_t a_length, const char *b, size_t b_length, double tolerance)
{
    if (a_length == b_length && memcmp(a, b, a_length) == 0)
        return true;
    a += strspn(a, " ,"), b += strspn(b, " ,");
    char *a_end = NULL, *b_end = NULL;
    double x = strtod(a, &a_end), y = strtod(b, &b_end);
    return tolerance > 0 && a_end != a && b_end != b && strchr(" ,\n", *a_end) && strchr(" ,\n", *b_end) &&
           same_number(x, y, tolerance);
}

static bool same_line(const char *a, size_t a_length, const char *b, size_t b_length, double tolerance)
{
    const char *a_end = a + a_length, *b_end = b + b_length;
    while (a < a_end || b < b_end) {
        size_t x = word_length(a, a_end), y = word_length(b, b_end);
        if (!same_word(a, x, b, y, tolerance))
            return false;
        a += x, b += y;
    }
    return true;
}

size_t answer_compare_text(const char *golden, const char *now, double tolerance, struct km_text *out)
{
    size_t count = 0;
    for (size_t line = 1; *golden || *now; line++) {
        size_t a = line_length(golden), b = line_length(now);
        if (!same_line(golden, a, now, b, tolerance)) {
            km_text_printf(out, "line %zu:\n    %.*s\n -> %.*s\n", line, (int)strcspn(golden, "\n"), golden,
                           (int)strcspn(now, "\n"), now);
            count++;
        }
        golden += a, now += b;
    }
    return count;
}
