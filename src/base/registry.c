#include "base/registry.h"

#include <stddef.h>
#include <string.h>

const struct km_entry *km_registry_find(const struct km_entry *const *registry, const char *name)
{
    for (; *registry; registry++)
        if (strcmp((*registry)->name, name) == 0)
            return *registry;
    return NULL;
}
