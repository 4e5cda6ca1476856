/* Memory: allocation that does not return on failure, and an arena freed as a whole.
 *
 * A planner that runs out of memory has nothing useful left to do, so km_alloc() and its kin end in
 * km_out_of_memory(): one line, exit 2, on whichever thread; no caller checks. What was being written is
 * removed as after any failure (base/outfile.h), and the rows that a sweep has are in its file. The arena
 * serves everything that lives as long as a scenario or a run: blocks are bumped, never freed singly, and
 * km_arena_release() frees all. */
#ifndef KM_BASE_MEMORY_H
#define KM_BASE_MEMORY_H

#include <stddef.h>

_Noreturn void km_out_of_memory(void);

/* Called once, before anything is allocated: from then on cJSON and GSL, which allocate for themselves, end
 * in the same way, so that no caller looks for their NULLs. (libyaml says so by its own error, fopen() and
 * its kin by errno.) GSL's other errors are mistakes of the program and abort it, as they do without. */
void km_memory_guard_libraries(void);

void *km_alloc(size_t bytes); /* zeroed; owned by the caller, free() it */
void *km_realloc(void *p, size_t bytes);
char *km_strdup(const char *text);

/* Make room for `need` elements in a growable array, at least doubling: `items = km_grow(items, &capacity,
 * need, sizeof *items)`. */
void *km_grow(void *items, size_t *capacity, size_t need, size_t element_bytes);

struct km_arena {
    struct km_arena_block *blocks; /* private */
};

void *km_arena_alloc(struct km_arena *arena, size_t bytes); /* zeroed, 16-byte aligned, valid until release */
char *km_arena_strdup(struct km_arena *arena, const char *text);
char *km_arena_printf(struct km_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
void km_arena_release(struct km_arena *arena);

#endif
