/* Inside km_sweep_work(): what the threads of a rank share, and the two sides of the talk between ranks. */
#ifndef KM_SWEEP_BOARD_H
#define KM_SWEEP_BOARD_H

#include "sweep/work.h"

#include <pthread.h>

struct km_board {
    const struct km_sweep_work *work;
    pthread_mutex_t mutex; /* of everything below */
    uint64_t next;         /* no run before it is free */
    enum km_status status;
    struct km_error error;
};

bool km_board_next(struct km_board *board, uint64_t *run); /* rank 0: a run that nobody has yet */
void km_board_take(struct km_board *board, uint64_t run, const struct km_text *row);
void km_board_fail(struct km_board *board, enum km_status status, const struct km_error *error);
void *km_board_compute(void *board); /* rank 0's threads: until nothing is left */

void km_ranks_lead(struct km_board *board, const struct km_ranks *ranks); /* rank 0 of several */
void km_ranks_help(struct km_board *board, const struct km_ranks *ranks); /* the others */

#endif
