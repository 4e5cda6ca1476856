/* A recording: a whole trace in memory, read once and then never changed, so that any number of runs on any
 * number of threads may take their requests from it.
 *
 * It takes 80 bytes a request, plus 8 for each prefix hash and the trace's own ids where it has them (the
 * Azure conversation trace of 2023: 19,366 requests, 1.5 MB). A workload without one reads its trace from the
 * file as it goes, in constant memory. */
#ifndef KM_WORKLOAD_RECORDING_H
#define KM_WORKLOAD_RECORDING_H

#include "base/error.h"
#include "workload/request.h"

#include <stddef.h>
#include <stdint.h>

struct km_recording; /* opaque */

/* An empty one, to be filled in the order of arrival before anybody else sees it. */
struct km_recording *km_recording_create(void);
/* Takes over what the request owns. */
void km_recording_append(struct km_recording *recording, const struct km_request *request);
/* Classes below `count` are called so (copied); once, when the requests are there. */
void km_recording_name_classes(struct km_recording *recording, uint32_t count,
                               const char *(*name)(const void *context, uint32_t class_index),
                               const void *context);
/* `format`: as km_trace_open(). KM_BAD_INPUT for a broken line anywhere, or no request at all. */
enum km_status km_recording_load(const char *path, const char *format, struct km_recording **out,
                                 struct km_error *error);
void km_recording_destroy(struct km_recording *recording);

/* Ordered by arrival, the first at 0; borrowed. A loaded one has at least one. */
const struct km_request *km_recording_requests(const struct km_recording *recording, size_t *count);
/* Index of the first request at or after `at_ps`; the count when there is none. */
size_t km_recording_find(const struct km_recording *recording, uint64_t at_ps);
uint32_t km_recording_class_count(const struct km_recording *recording);
/* [0] is "", the class of requests that name none. */
const char *km_recording_class_name(const struct km_recording *recording, uint32_t class_index);

#endif
