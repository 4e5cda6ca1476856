/* A set of 64-bit values (open addressing, grows by doubling): prefix hashes and sessions seen. */
#ifndef KM_WORKLOAD_HASH_SET_H
#define KM_WORKLOAD_HASH_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct km_hash_set {
    uint64_t *slots; /* 0 = free */
    size_t capacity; /* a power of two, or 0 */
    size_t count;    /* values in the set */
    bool has_zero;
};

bool km_hash_set_has(const struct km_hash_set *set, uint64_t value);
bool km_hash_set_add(struct km_hash_set *set, uint64_t value); /* false when it was there */
void km_hash_set_release(struct km_hash_set *set);

#endif
