#include "sweep/ranks.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* Set for its processes by Open MPI's mpirun, by Slurm's srun --mpi=pmix, by MPICH's and Intel's mpirun. */
static const char *const signs[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"};

static bool started_by_mpirun(void)
{
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (getenv(signs[i]))
            return true;
    return false;
}

enum km_status km_ranks_begin(struct km_ranks *out, struct km_error *error)
{
    *out = (struct km_ranks){.rank = 0, .size = 1, .local_size = 1};
    if (!started_by_mpirun())
        return KM_OK;
    /* Without a slash: the program's RUNPATH leads to it. Never closed: MPI leaves handlers behind. */
    void *module = dlopen(KM_TRANSPORT_MODULE, RTLD_NOW | RTLD_GLOBAL);
    out->transport = module ? dlsym(module, KM_TRANSPORT_SYMBOL) : NULL;
    if (!out->transport)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "started by mpirun, but this kingman was built without MPI: %s", dlerror());
    out->transport->begin(&out->rank, &out->size, &out->local_size);
    return KM_OK;
}

void km_ranks_end(struct km_ranks *ranks)
{
    if (ranks->transport)
        ranks->transport->end();
    ranks->transport = NULL;
}
