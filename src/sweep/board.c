#include "sweep/board.h"

#include "base/pool.h"

#include <pthread.h>

static void note_failure(struct km_board *board, enum km_status status, const struct km_error *error)
{
    *board->work->stop = 1;
    if (board->status != KM_OK && board->status != KM_INTERRUPTED)
        return; /* the first failure is the one to tell */
    board->status = status;
    board->error = *error;
}

void km_board_fail(struct km_board *board, enum km_status status, const struct km_error *error)
{
    pthread_mutex_lock(&board->mutex);
    note_failure(board, status, error);
    pthread_mutex_unlock(&board->mutex);
}

bool km_board_next(struct km_board *board, uint64_t *run)
{
    const struct km_sweep_work *work = board->work;
    pthread_mutex_lock(&board->mutex);
    while (board->next < work->runs && work->has(work->context, board->next))
        board->next++;
    bool more = board->next < work->runs && !*work->stop;
    *run = board->next;
    board->next += more;
    pthread_mutex_unlock(&board->mutex);
    return more;
}

void km_board_take(struct km_board *board, uint64_t run, const struct km_text *row)
{
    const struct km_sweep_work *work = board->work;
    struct km_error error = {0};
    pthread_mutex_lock(&board->mutex);
    /* After a failure to write, what follows would not be in order. */
    if (board->status == KM_OK || board->status == KM_INTERRUPTED) {
        enum km_status status = work->take(work->context, run, row, &error);
        if (status != KM_OK)
            note_failure(board, status, &error);
    }
    pthread_mutex_unlock(&board->mutex);
}

static void compute_runs(void *context, uint64_t thread)
{
    (void)thread;
    struct km_board *board = context;
    struct km_text row = {0};
    struct km_error error = {0};
    for (uint64_t run; km_board_next(board, &run);) {
        km_text_reset(&row);
        enum km_status status = board->work->compute(board->work->context, run, &row, &error);
        if (status == KM_OK)
            km_board_take(board, run, &row);
        else
            km_board_fail(board, status, &error);
    }
    km_text_release(&row);
}

void *km_board_compute(void *board)
{
    uint32_t threads = ((struct km_board *)board)->work->threads;
    km_pool_run(threads, threads, compute_runs, board);
    return NULL;
}
