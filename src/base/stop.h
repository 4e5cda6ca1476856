/* A request to stop early: set by a signal handler or by any thread, looked at now and then by those that
 * work. A lock-free atomic is safe in both places (C17, 7.14.1.1 and 5.1.2.4). */
#ifndef KM_BASE_STOP_H
#define KM_BASE_STOP_H

#include <stdatomic.h>

#if ATOMIC_INT_LOCK_FREE != 2
#error "a signal handler needs a lock-free atomic_int"
#endif

typedef atomic_int km_stop; /* not 0: stop */

#endif
