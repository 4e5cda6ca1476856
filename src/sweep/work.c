#include "sweep/work.h"

#include "sweep/board.h"

#include <pthread.h>

/* --- the board: what threads of a rank share -------------------------------------------------------------
 */

/* --- rank 0's own threads --------------------------------------------------------------------------------
 */

enum km_status km_sweep_work(const struct km_sweep_work *work, const struct km_ranks *ranks,
                             enum km_status before, struct km_error *error)
{
    struct km_board board = {.work = work, .mutex = PTHREAD_MUTEX_INITIALIZER};
    if (before != KM_OK)
        km_board_fail(&board, before, error);
    if (ranks->rank > 0)
        km_ranks_help(&board, ranks);
    else if (ranks->size > 1)
        km_ranks_lead(&board, ranks);
    else if (before == KM_OK)
        km_board_compute(&board);
    pthread_mutex_destroy(&board.mutex);
    if (board.status == KM_OK && *work->stop)
        board.status = KM_INTERRUPTED; /* rank 0 was told before any run was given up */
    if (board.status != KM_OK)
        *error = board.error;
    return board.status;
}
