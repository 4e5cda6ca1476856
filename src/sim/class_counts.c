#include "sim/class_counts.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void km_class_counts_add(struct km_class_counts *counts, uint32_t class_index)
{
    if (class_index >= counts->used) {
        counts->counts =
            km_grow(counts->counts, &counts->capacity, (size_t)class_index + 1, sizeof *counts->counts);
        memset(counts->counts + counts->used, 0, (class_index + 1 - counts->used) * sizeof *counts->counts);
        counts->used = class_index + 1;
    }
    counts->counts[class_index]++;
}

void km_class_counts_remove(struct km_class_counts *counts, uint32_t class_index)
{
    assert(class_index < counts->used && counts->counts[class_index] > 0);
    counts->counts[class_index]--;
}

void km_class_counts_copy(struct km_class_counts *into, const struct km_class_counts *from)
{
    into->counts = km_grow(into->counts, &into->capacity, from->used, sizeof *into->counts);
    if (from->used)
        memcpy(into->counts, from->counts, from->used * sizeof *into->counts);
    into->used = from->used;
}

void km_class_counts_release(struct km_class_counts *counts)
{
    free(counts->counts);
    *counts = (struct km_class_counts){0};
}
