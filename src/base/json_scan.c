#include "base/json_scan.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* cJSON copies a number into 64 bytes and would cut a longer one. */
#define NUMBER_LIMIT 63

struct scan {
    const char *text;
    size_t at, bytes;
    size_t stop_at, values;
    bool stopped;
    const char *fault;
};

static char peek(const struct scan *s)
{
    return s->at < s->bytes ? s->text[s->at] : '\0';
}

static void skip_space(struct scan *s)
{
    while (s->at < s->bytes && strchr(" \t\r\n", s->text[s->at]) && s->text[s->at])
        s->at++;
}

static void fault(struct scan *s, const char *what)
{
    if (!s->fault)
        s->fault = s->at >= s->bytes ? "the text ends here, in the middle of a value" : what;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool hex(char c)
{
    return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static void digits(struct scan *s)
{
    if (!digit(peek(s)))
        fault(s, "expected a digit");
    while (digit(peek(s)))
        s->at++;
}

static void number(struct scan *s)
{
    size_t start = s->at;
    if (peek(s) == '-')
        s->at++;
    if (peek(s) == '0')
        s->at++;
    else
        digits(s);
    if (peek(s) == '.') {
        s->at++;
        digits(s);
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        digits(s);
    }
    if (s->at - start > NUMBER_LIMIT && !s->fault) {
        s->at = start;
        fault(s, "number longer than 63 characters");
    }
}

/* Bytes of the UTF-8 character that begins here (RFC 3629), 0 when it is none. */
static size_t character(const struct scan *s)
{
    const unsigned char *c = (const unsigned char *)s->text + s->at;
    size_t left = s->bytes - s->at;
    if (c[0] < 0x80)
        return 1;
    size_t need = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    if (c[0] < 0xc2 || c[0] > 0xf4 || left < need)
        return 0;
    for (size_t i = 1; i < need; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    bool beyond = (c[0] == 0xed && c[1] > 0x9f) || (c[0] == 0xf4 && c[1] > 0x8f);
    return overlong || beyond ? 0 : need;
}

static void escape(struct scan *s)
{
    s->at++;
    if (peek(s) == 'u') {
        s->at++;
        if (s->bytes - s->at >= 4 && memcmp(s->text + s->at, "0000", 4) == 0)
            fault(s, "\\u0000 is not accepted in a string");
        for (int i = 0; i < 4 && !s->fault; i++) {
            if (hex(peek(s)))
                s->at++;
            else
                fault(s, "expected four hexadecimal digits after \\u");
        }
    } else if (s->at < s->bytes && peek(s) && strchr("\"\\/bfnrt", peek(s))) {
        s->at++;
    } else {
        fault(s, "unknown escape in a string");
    }
}

static void string(struct scan *s)
{
    s->at++;
    while (!s->fault) {
        unsigned char c = (unsigned char)peek(s);
        if (s->at < s->bytes && c == '"') {
            s->at++;
            return;
        }
        if (c < 0x20) {
            fault(s, "control character in a string (a missing quote?)");
        } else if (c == '\\') {
            escape(s);
        } else {
            size_t length = character(s);
            if (!length)
                fault(s, "invalid UTF-8 in a string");
            s->at += length;
        }
    }
}

static void literal(struct scan *s, const char *word)
{
    size_t length = strlen(word);
    if (s->bytes - s->at < length || memcmp(s->text + s->at, word, length) != 0)
        fault(s, "expected a value");
    else
        s->at += length;
}

static void value(struct scan *s, int depth);

static void key(struct scan *s)
{
    if (peek(s) != '"') {
        fault(s, "expected a key in double quotes");
        return;
    }
    string(s);
    skip_space(s);
    if (s->fault)
        return;
    if (peek(s) != ':')
        fault(s, "expected ':' after a key");
    else
        s->at++;
}

static void members(struct scan *s, int depth, char close, bool keyed)
{
    s->at++;
    skip_space(s);
    if (peek(s) == close) {
        s->at++;
        return;
    }
    while (!s->fault && !s->stopped) {
        skip_space(s);
        if (keyed)
            key(s);
        if (s->fault)
            return;
        value(s, depth);
        if (s->fault || s->stopped)
            return;
        skip_space(s);
        if (peek(s) == close) {
            s->at++;
            return;
        }
        if (peek(s) != ',')
            fault(s, keyed ? "expected ',' or '}'" : "expected ',' or ']'");
        else
            s->at++;
    }
}

static void value(struct scan *s, int depth)
{
    skip_space(s);
    if (s->values++ == s->stop_at) {
        s->stopped = true;
        return;
    }
    char c = peek(s);
    if ((c == '{' || c == '[') && depth <= 0)
        fault(s, "nested too deeply");
    else if (c == '{')
        members(s, depth - 1, '}', true);
    else if (c == '[')
        members(s, depth - 1, ']', false);
    else if (c == '"')
        string(s);
    else if (c == '-' || digit(c))
        number(s);
    else
        literal(s, c == 't' ? "true" : c == 'f' ? "false" : "null");
}

/* Bytes of a leading UTF-8 byte order mark, which is no character of the text. */
static size_t byte_order_mark(const char *text, size_t bytes)
{
    return bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

const char *km_json_scan(const char *text, size_t bytes, int depth_limit, size_t stop_at, size_t *offset)
{
    struct scan s = {.text = text, .bytes = bytes, .stop_at = stop_at};
    s.at = byte_order_mark(text, bytes);
    skip_space(&s);
    if (s.at >= s.bytes)
        s.fault = "empty: expected a JSON value";
    else
        value(&s, depth_limit);
    if (!s.fault && !s.stopped) {
        skip_space(&s);
        if (s.at < s.bytes)
            s.fault = "text after the end of the JSON value";
    }
    *offset = s.at;
    return s.fault;
}

void km_json_line_column(const char *text, size_t offset, int *line, int *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = byte_order_mark(text, offset); i < offset; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            ++*column;
        }
    }
}
