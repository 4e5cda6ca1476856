#include "base/suggest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LONGEST            64
#define SHORTEST_BEGINNING 3 /* letters */

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t km_edit_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST)
        return SIZE_MAX;
    size_t rows[3][LONGEST + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = before[j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t replaced = last[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = min(replaced, min(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = min(row[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[m];
}

void km_suggest_offer(struct km_suggestion *suggestion, const char *name)
{
    size_t word = strlen(suggestion->word), length = strlen(name);
    size_t longer = word > length ? word : length;
    size_t allowed = longer / 3 > 1 ? longer / 3 : 1;
    bool begun = word >= SHORTEST_BEGINNING && strncmp(suggestion->word, name, word) == 0;
    size_t distance = begun ? 0 : km_edit_distance(suggestion->word, name);
    /* A one-letter name is a replacement away from anything short; such a guess helps nobody. */
    if (distance > allowed || distance >= longer)
        return;
    if (!suggestion->best || distance < suggestion->distance) {
        suggestion->best = name;
        suggestion->distance = distance;
    }
}

const char *km_suggest_registry(const char *word, const struct km_entry *const *registry)
{
    struct km_suggestion suggestion = {.word = word};
    for (; *registry; registry++)
        km_suggest_offer(&suggestion, (*registry)->name);
    return suggestion.best;
}
