/* "Did you mean": the nearest of a list of names, by the number of inserted, deleted, replaced or swapped
 * letters (the optimal string alignment distance, Damerau 1964 restricted to adjacent swaps). */
#ifndef KM_BASE_SUGGEST_H
#define KM_BASE_SUGGEST_H

#include "base/registry.h"

#include <stddef.h>

struct km_suggestion {
    const char *word; /* what was written; borrowed */
    const char *best; /* nearest name offered so far, if near enough to be meant; NULL = none */
    size_t distance;
};

/* Start with `{.word = ...}`, offer every name, read `best`. The first of equally near names wins. A name is
 * near when at most a third of the longer word's letters (and at least one may) differ; nearest of all when
 * the word is its beginning, of three letters or more. */
void km_suggest_offer(struct km_suggestion *suggestion, const char *name);

/* The nearest entry's name, or NULL. */
const char *km_suggest_registry(const char *word, const struct km_entry *const *registry);

/* Letters to change to turn a into b; words over 64 bytes are infinitely far (SIZE_MAX) from everything. */
size_t km_edit_distance(const char *a, const char *b);

#endif
