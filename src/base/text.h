/* A growable string: how every report, message list and JSON text is put together. */
#ifndef KM_BASE_TEXT_H
#define KM_BASE_TEXT_H

#include <stddef.h>

struct km_text {
    char *bytes; /* terminated; NULL while empty (km_text_c gives "") */
    size_t length, capacity;
};

void km_text_append(struct km_text *text, const char *bytes, size_t length);
void km_text_puts(struct km_text *text, const char *string);
void km_text_printf(struct km_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* `digits` significant digits of a number, "-" of what is none. */
void km_text_number(struct km_text *text, double value, int digits);
const char *km_text_c(const struct km_text *text); /* borrowed until the next change */
void km_text_reset(struct km_text *text);          /* empty, storage kept */
void km_text_release(struct km_text *text);

#endif
