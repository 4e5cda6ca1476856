#include "base/text.h"

#include "base/memory.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void km_text_append(struct km_text *text, const char *bytes, size_t length)
{
    text->bytes = km_grow(text->bytes, &text->capacity, text->length + length + 1, 1);
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void km_text_puts(struct km_text *text, const char *string)
{
    km_text_append(text, string, strlen(string));
}

void km_text_printf(struct km_text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) /* vsnprintf() may allocate */
        km_out_of_memory();
    if (length > 0) {
        text->bytes = km_grow(text->bytes, &text->capacity, text->length + (size_t)length + 1, 1);
        vsnprintf(text->bytes + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

void km_text_number(struct km_text *text, double value, int digits)
{
    if (isfinite(value))
        km_text_printf(text, "%.*g", digits, value);
    else
        km_text_puts(text, "-");
}

const char *km_text_c(const struct km_text *text)
{
    return text->bytes ? text->bytes : "";
}

void km_text_reset(struct km_text *text)
{
    text->length = 0;
    if (text->bytes)
        text->bytes[0] = '\0';
}

void km_text_release(struct km_text *text)
{
    free(text->bytes);
    *text = (struct km_text){0};
}
