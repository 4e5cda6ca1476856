#include "workload/trace/classes.h"

#include "base/memory.h"
#include "workload/trace/trace.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS (KM_TRACE_CLASS_LIMIT * 4) /* a power of two */

struct km_trace_classes {
    struct km_arena arena;
    uint32_t count;
    const char *names[KM_TRACE_CLASS_LIMIT];
    uint32_t slots[SLOTS]; /* index into names; 0 = free, as "" is never looked up here */
};

struct km_trace_classes *km_trace_classes_create(void)
{
    struct km_trace_classes *classes = km_alloc(sizeof *classes);
    classes->names[0] = "";
    classes->count = 1;
    return classes;
}

void km_trace_classes_destroy(struct km_trace_classes *classes)
{
    km_arena_release(&classes->arena);
    free(classes);
}

bool km_trace_classes_intern(struct km_trace_classes *classes, struct km_span name, uint32_t *out)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < name.length; i++)
        hash = (hash ^ (unsigned char)name.text[i]) * 16777619u;
    uint32_t slot = hash & (SLOTS - 1);
    for (; classes->slots[slot]; slot = (slot + 1) & (SLOTS - 1)) {
        const char *known = classes->names[classes->slots[slot]];
        if (strlen(known) == name.length && memcmp(known, name.text, name.length) == 0) {
            *out = classes->slots[slot];
            return true;
        }
    }
    if (classes->count == KM_TRACE_CLASS_LIMIT)
        return false;
    char *copy = km_arena_alloc(&classes->arena, name.length + 1);
    memcpy(copy, name.text, name.length);
    classes->names[classes->count] = copy;
    classes->slots[slot] = *out = classes->count++;
    return true;
}

const char *km_trace_classes_name(const struct km_trace_classes *classes, uint32_t index)
{
    assert(index < classes->count);
    return classes->names[index];
}

uint32_t km_trace_classes_count(const struct km_trace_classes *classes)
{
    return classes->count;
}
