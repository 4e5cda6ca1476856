/* Fingerprints: 64 bits that tell whether two inputs are the same (FNV-1a of Fowler, Noll and Vo, as in
 * draft-eastlake-fnv). They guard against mistakes, not against malice. */
#ifndef KM_BASE_FINGERPRINT_H
#define KM_BASE_FINGERPRINT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define KM_FINGERPRINT_START UINT64_C(0xcbf29ce484222325) /* the standard's offset basis */

uint64_t km_fingerprint_add(uint64_t print, const void *bytes, size_t count);
/* The text and its end, so that ("ab", "c") and ("a", "bc") differ. */
uint64_t km_fingerprint_add_text(uint64_t print, const char *text);
/* All bytes of a file; KM_IO when it cannot be read. */
enum km_status km_fingerprint_add_file(uint64_t *print, const char *path, struct km_error *error);

#endif
