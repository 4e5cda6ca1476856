/* Ranks: the processes that one `mpirun` starts, on one host or many, as a sweep sees them.
 *
 * What speaks MPI is a module of its own, kingman_mpi.so beside the program (or in lib/kingman of its install
 * prefix), loaded when the environment says that mpirun started this process: kingman itself links no MPI,
 * starts as fast without it, and runs where there is none. */
#ifndef KM_SWEEP_RANKS_H
#define KM_SWEEP_RANKS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* What the module brings. All calls come from one thread, the one that called begin(). A failure inside MPI
 * ends all ranks, as MPI does by default. */
struct km_transport {
    void (*begin)(int *rank, int *size, int *local_size);
    void (*send)(int to, const void *bytes, size_t count);
    bool (*poll)(int *from, size_t *count);               /* has a message come? returns at once */
    void (*receive)(int from, void *bytes, size_t count); /* the one that poll() told */
    void (*end)(void);
};

#define KM_TRANSPORT_MODULE "kingman_mpi.so"
#define KM_TRANSPORT_SYMBOL "km_transport_mpi"

struct km_ranks {
    int rank, size;                       /* 0, 1 without mpirun */
    int local_size;                       /* ranks on this host, >= 1 */
    const struct km_transport *transport; /* NULL without mpirun */
};

/* KM_BAD_INPUT: started by mpirun, and this kingman has no such module. */
enum km_status km_ranks_begin(struct km_ranks *out, struct km_error *error);
/* Every rank must come here; harmless without mpirun. */
void km_ranks_end(struct km_ranks *ranks);

#endif
