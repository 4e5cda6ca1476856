/* The module kingman_mpi.so: sweep/ranks.h in terms of MPI. */
#include "sweep/ranks.h"

#include <limits.h>
#include <mpi.h>

extern const struct km_transport km_transport_mpi;

static void begin(int *rank, int *size, int *local_size)
{
    int provided;
    MPI_Comm host;
    /* Other threads compute, one speaks. */
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    if (provided < MPI_THREAD_FUNNELED)
        MPI_Abort(MPI_COMM_WORLD, 2);
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, size);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_size(host, local_size);
    MPI_Comm_free(&host);
}

static void send(int to, const void *bytes, size_t count)
{
    if (count > INT_MAX)
        MPI_Abort(MPI_COMM_WORLD, 2);
    MPI_Send(bytes, (int)count, MPI_BYTE, to, 0, MPI_COMM_WORLD);
}

static bool poll(int *from, size_t *count)
{
    int there = 0, bytes = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, 0, MPI_COMM_WORLD, &there, &status);
    if (!there)
        return false;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    *from = status.MPI_SOURCE;
    *count = (size_t)bytes;
    return true;
}

static void receive(int from, void *bytes, size_t count)
{
    MPI_Recv(bytes, (int)count, MPI_BYTE, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void end(void)
{
    MPI_Finalize();
}

const struct km_transport km_transport_mpi = {begin, send, poll, receive, end};
