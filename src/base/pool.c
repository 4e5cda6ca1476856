#define _GNU_SOURCE /* sched_getaffinity() */
#include "base/pool.h"

#include "base/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct pool {
    void (*job)(void *context, uint64_t index);
    void *context;
    uint64_t jobs;
    _Atomic uint64_t next, done;
};

static bool work_once(struct pool *pool)
{
    uint64_t index = atomic_fetch_add(&pool->next, 1);
    if (index >= pool->jobs)
        return false;
    pool->job(pool->context, index);
    atomic_fetch_add(&pool->done, 1);
    return true;
}

static void *work(void *pool)
{
    while (work_once(pool))
        ;
    return NULL;
}

uint32_t km_pool_cores(void)
{
#ifdef CPU_COUNT
    cpu_set_t mine; /* taskset and mpirun give a process some of the machine's processors */
    if (sched_getaffinity(0, sizeof mine, &mine) == 0 && CPU_COUNT(&mine) > 0)
        return (uint32_t)CPU_COUNT(&mine);
#endif
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : (uint32_t)cores;
}

uint32_t km_pool_share(uint32_t processes)
{
    /* Of the machine's, not of this process' own: those may be its part already. */
    long all = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t part = all < 1 || processes == 0 ? 1 : (uint32_t)all / processes, mine = km_pool_cores();
    return part < 1 ? 1 : part < mine ? part : mine;
}

void km_pool_run(uint32_t workers, uint64_t jobs, void (*job)(void *context, uint64_t index), void *context)
{
    km_pool_run_watched(workers, jobs, job, context, NULL, NULL, NULL);
}

void km_pool_run_watched(uint32_t workers, uint64_t jobs, void (*job)(void *context, uint64_t index),
                         void *context, const struct km_watch *watch, const char *phase, const char *note)
{
    struct pool pool = {.job = job, .context = context, .jobs = jobs};
    if (workers == 0)
        workers = km_pool_cores();
    if (workers > jobs)
        workers = (uint32_t)jobs;
    /* The caller's thread is one of the workers. */
    uint32_t started = 0, others = workers ? workers - 1 : 0;
    pthread_t *threads = others ? km_alloc(others * sizeof *threads) : NULL;
    while (started < others && pthread_create(&threads[started], NULL, work, &pool) == 0)
        started++;
    km_watch_tell(watch, phase, note, 0);
    while (work_once(&pool))
        km_watch_tell(watch, phase, note, (double)atomic_load(&pool.done) / (double)jobs);
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        km_watch_tell(watch, phase, note, (double)atomic_load(&pool.done) / (double)jobs);
    }
    free(threads);
}
