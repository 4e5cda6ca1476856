#include "support/finite.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

static size_t word_length(const char *text)
{
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) || text[length] == '_')
        length++;
    return length;
}

const char *find_not_finite(const char *text)
{
    static const char *const words[] = {"nan", "inf", "infinity"};
    while (*text) {
        size_t length = word_length(text);
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (length == strlen(words[i]) && strncasecmp(text, words[i], length) == 0)
                return text;
        text += length ? length : 1;
    }
    return NULL;
}

void assert_finite_text(const char *what, const char *text)
{
    const char *found = find_not_finite(text);
    if (!found)
        return;
    const char *from = found;
    while (from > text && from[-1] != '\n')
        from--;
    fail_msg("%s: not a number in \"%.*s\"", what, (int)strcspn(from, "\n"), from);
}
