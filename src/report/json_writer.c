#include "report/json_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void write_string(struct km_text *out, const char *value)
{
    km_text_puts(out, "\"");
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '"' || c == '\\')
            km_text_printf(out, "\\%c", c);
        else if (c < 0x20)
            km_text_printf(out, "\\u%04x", c);
        else
            km_text_append(out, value, 1);
    }
    km_text_puts(out, "\"");
}

static void begin(struct km_json_writer *writer, const char *key)
{
    if (writer->filled)
        km_text_puts(writer->out, writer->depth == 1 ? "," : ", ");
    if (writer->depth == 1)
        km_text_puts(writer->out, "\n  ");
    if (key) {
        write_string(writer->out, key);
        km_text_puts(writer->out, ": ");
    }
    writer->filled = true;
}

void km_json_put_open(struct km_json_writer *writer, const char *key, char bracket)
{
    begin(writer, key);
    km_text_append(writer->out, &bracket, 1);
    writer->depth++;
    writer->filled = false;
}

void km_json_put_close(struct km_json_writer *writer, char bracket)
{
    writer->depth--;
    if (writer->depth == 0)
        km_text_puts(writer->out, "\n");
    km_text_append(writer->out, &bracket, 1);
    if (writer->depth == 0)
        km_text_puts(writer->out, "\n");
    writer->filled = true;
}

void km_json_put_string(struct km_json_writer *writer, const char *key, const char *value)
{
    begin(writer, key);
    if (value)
        write_string(writer->out, value);
    else
        km_text_puts(writer->out, "null");
}

void km_json_put_number(struct km_json_writer *writer, const char *key, double value)
{
    begin(writer, key);
    if (!isfinite(value)) {
        km_text_puts(writer->out, "null");
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    km_text_puts(writer->out, text);
}

void km_json_put_count(struct km_json_writer *writer, const char *key, uint64_t value)
{
    begin(writer, key);
    km_text_printf(writer->out, "%llu", (unsigned long long)value);
}

void km_json_put_bool(struct km_json_writer *writer, const char *key, bool value)
{
    begin(writer, key);
    km_text_puts(writer->out, value ? "true" : "false");
}

void km_json_put_null(struct km_json_writer *writer, const char *key)
{
    begin(writer, key);
    km_text_puts(writer->out, "null");
}

void km_json_put_raw(struct km_json_writer *writer, const char *key, const char *json)
{
    begin(writer, key);
    km_text_puts(writer->out, json);
}
