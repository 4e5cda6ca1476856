#include "base/leftovers.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define MOST_LISTED 32 /* open at once; of more, the rest would outlive a signal */

static struct listed {
    atomic_int state;
    char path[KM_LEFTOVER_PATH];
} listed[MOST_LISTED];

enum { FREE, CLAIMED, THERE };

void km_leftover_note(const char *path)
{
    for (int i = 0; i < MOST_LISTED; i++) {
        int expected = FREE;
        if (!atomic_compare_exchange_strong(&listed[i].state, &expected, CLAIMED))
            continue;
        strcpy(listed[i].path, path);
        atomic_store(&listed[i].state, THERE);
        return;
    }
}

void km_leftover_forget(const char *path)
{
    for (int i = 0; i < MOST_LISTED; i++)
        if (atomic_load(&listed[i].state) == THERE && strcmp(listed[i].path, path) == 0) {
            atomic_store(&listed[i].state, FREE);
            return;
        }
}

void km_leftovers_remove(void)
{
    for (int i = 0; i < MOST_LISTED; i++)
        if (atomic_load(&listed[i].state) == THERE)
            unlink(listed[i].path);
}
