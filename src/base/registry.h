/* Registries: const tables of interchangeable things (policies, KV managers, cost models, trace formats,
 * ...), found by name.
 *
 * The first member of every such table is a `struct km_entry`, so that listings, "did you mean" and the
 * contract tests walk any registry alike. A registry is a NULL-terminated array of entries; adding a thing is
 * one file and one line in it. Names are resolved once, when a scenario is loaded; nothing compares strings
 * in the simulation loop. */
#ifndef KM_BASE_REGISTRY_H
#define KM_BASE_REGISTRY_H

struct km_entry {
    const char *name;
    const char *summary; /* one line for `kingman list` */
};

/* NULL when there is no such name. The result may be cast to the table type whose first member it is. */
const struct km_entry *km_registry_find(const struct km_entry *const *registry, const char *name);

#endif
