/* Names of request classes, numbered in order of appearance; 0 is "", the default. */
#ifndef KM_WORKLOAD_TRACE_CLASSES_H
#define KM_WORKLOAD_TRACE_CLASSES_H

#include "workload/trace/scan.h"

#include <stdbool.h>
#include <stdint.h>

struct km_trace_classes; /* opaque */

struct km_trace_classes *km_trace_classes_create(void);
void km_trace_classes_destroy(struct km_trace_classes *classes);
/* False when the name is new and KM_TRACE_CLASS_LIMIT is reached. */
bool km_trace_classes_intern(struct km_trace_classes *classes, struct km_span name, uint32_t *out);
const char *km_trace_classes_name(const struct km_trace_classes *classes, uint32_t index);
uint32_t km_trace_classes_count(const struct km_trace_classes *classes);

#endif
