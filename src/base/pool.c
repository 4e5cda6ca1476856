#define _GNU_SOURCE /* sched_getaffinity() */
#include "base/pool.h"

#include "base/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct pool {
    void (*job)(void *context, uint64_t index);
    void *context;
    uint64_t jobs;
    _Atomic uint64_t next;
};

static void *work(void *argument)
{
    struct pool *pool = argument;
    for (;;) {
        uint64_t index = atomic_fetch_add(&pool->next, 1);
        if (index >= pool->jobs)
            return NULL;
        pool->job(pool->context, index);
    }
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
    work(&pool);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}
