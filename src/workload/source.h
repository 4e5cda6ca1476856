/* Where the requests of a trace come from: its file line by line, a recording in memory, or a bootstrap of
 * one. The requests of the window [start_s, end_s) in the order of time, the times the trace's own. */
#ifndef KM_WORKLOAD_SOURCE_H
#define KM_WORKLOAD_SOURCE_H

#include "workload/workload.h"

struct km_source; /* opaque */

/* Settings with a trace or a recording; borrowed. */
enum km_status km_source_open(const struct km_workload_settings *settings, uint64_t seed,
                              struct km_source **out, struct km_error *error);
void km_source_close(struct km_source *source);

/* The next request, owned by the caller; *found is false at the end. */
enum km_status km_source_next(struct km_source *source, struct km_request *out, bool *found,
                              struct km_error *error);
const char *km_source_class_name(const struct km_source *source, uint32_t class_index);
/* Share already given out, 0..1; negative when unknown. */
double km_source_progress(const struct km_source *source);

#endif
