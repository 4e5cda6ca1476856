/* A pool of threads for jobs that know nothing of each other.
 *
 * km_pool_run() calls job(context, 0), ..., job(context, jobs - 1), each once, on `workers` threads, and
 * returns when all are done. Indices are handed out in order, so job i has been started when job i + 1
 * starts; they end in any order. A job writes to its own slot of whatever `context` points to, never to
 * another's: then results do not depend on the number of workers. What jobs wrote may be read without locks
 * after the return.
 *
 * `workers` 0 is one a processor this process may use. There are never more threads than jobs; with one
 * worker, or one job, everything runs on the caller's thread. Where the system refuses a thread, those it
 * gave do the work. A job may itself call km_pool_run(): every call has threads of its own. */
#ifndef KM_BASE_POOL_H
#define KM_BASE_POOL_H

#include "base/watch.h"

#include <stdint.h>

void km_pool_run(uint32_t workers, uint64_t jobs, void (*job)(void *context, uint64_t index), void *context);

/* The same; whenever the caller's thread has done a job, or waits for others to end theirs, `watch` is told
 * the share of the jobs that are done. */
void km_pool_run_watched(uint32_t workers, uint64_t jobs, void (*job)(void *context, uint64_t index),
                         void *context, const struct km_watch *watch, const char *phase, const char *note);

/* Processors this process may use; at least 1. */
uint32_t km_pool_cores(void);
/* Its fair part of them when `processes` like it share this machine; at least 1. */
uint32_t km_pool_share(uint32_t processes);

#endif
