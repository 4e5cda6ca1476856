#include "base/memory.h"

#include "base/leftovers.h"

#include <cjson/cJSON.h>
#include <gsl/gsl_errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARENA_BLOCK_BYTES ((size_t)64 * 1024)

struct km_arena_block {
    struct km_arena_block *next;
    size_t used, capacity;
    _Alignas(16) char bytes[];
};

_Noreturn void km_out_of_memory(void)
{
    static const char line[] = "kingman: out of memory\n";
    static atomic_flag told = ATOMIC_FLAG_INIT;
    while (atomic_flag_test_and_set(&told)) /* another thread was first, and ends this one, too */
        pause();
    ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
    (void)written;
    km_leftovers_remove();
    _exit(2);
}

static void *checked(void *p)
{
    if (!p)
        km_out_of_memory();
    return p;
}

void *km_alloc(size_t bytes)
{
    return checked(calloc(1, bytes ? bytes : 1));
}

void *km_realloc(void *p, size_t bytes)
{
    return checked(realloc(p, bytes ? bytes : 1));
}

static void *json_malloc(size_t bytes)
{
    return checked(malloc(bytes));
}

static void gsl_failed(const char *reason, const char *file, int line, int code)
{
    if (code == GSL_ENOMEM)
        km_out_of_memory();
    fprintf(stderr, "kingman: GSL: %s (%s:%d)\n", reason, file, line);
    abort();
}

void km_memory_guard_libraries(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = json_malloc, .free_fn = free});
    gsl_set_error_handler(gsl_failed);
}

char *km_strdup(const char *text)
{
    return checked(strdup(text));
}

void *km_grow(void *items, size_t *capacity, size_t need, size_t element_bytes)
{
    if (need <= *capacity)
        return items;
    size_t want = *capacity ? *capacity * 2 : 16;
    if (want < need)
        want = need;
    if (want > SIZE_MAX / element_bytes)
        km_out_of_memory();
    *capacity = want;
    return km_realloc(items, want * element_bytes);
}

void *km_arena_alloc(struct km_arena *arena, size_t bytes)
{
    size_t need = (bytes + 15) & ~(size_t)15;
    struct km_arena_block *block = arena->blocks;
    if (!block || block->capacity - block->used < need) {
        size_t capacity = need > ARENA_BLOCK_BYTES ? need : ARENA_BLOCK_BYTES;
        block = km_alloc(sizeof *block + capacity);
        block->capacity = capacity;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *p = block->bytes + block->used;
    block->used += need;
    return p;
}

char *km_arena_strdup(struct km_arena *arena, const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(km_arena_alloc(arena, bytes), text, bytes);
}

char *km_arena_printf(struct km_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) /* vsnprintf() may allocate */
        km_out_of_memory();
    size_t bytes = (size_t)length + 1;
    char *text = km_arena_alloc(arena, bytes);
    vsnprintf(text, bytes, format, again);
    va_end(again);
    return text;
}

void km_arena_release(struct km_arena *arena)
{
    while (arena->blocks) {
        struct km_arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}
