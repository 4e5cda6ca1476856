/* How the ranks of a sweep talk. A helper says READY; rank 0 answers with as many RUNs as it has room for,
 * and with one more RUN to each ROW, until it says FINISH; the helper computes what it still holds and says
 * BYE, and leaves when that is returned: nothing is under way then, in either direction. */
#include "base/memory.h"
#include "base/pool.h"
#include "sweep/board.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum kind {
    READY,  /* number: room for runs; text: the fingerprint of the helper's question */
    RUN,    /* number: a run to compute */
    ROW,    /* number: its run; text */
    FAILED, /* status; text: struct km_error */
    FINISH, /* status: KM_OK, or KM_INTERRUPTED to give up what is under way */
    BYE,
};

struct head {
    uint64_t number;
    int32_t kind, status;
};

static void say(const struct km_ranks *ranks, int to, struct head head, const void *text, size_t length)
{
    struct km_text message = {0};
    km_text_append(&message, (const char *)&head, sizeof head);
    if (length)
        km_text_append(&message, text, length);
    ranks->transport->send(to, message.bytes, message.length);
    km_text_release(&message);
}

/* The next message, if there is one. */
static bool hear(const struct km_ranks *ranks, int *from, struct head *head, struct km_text *text)
{
    size_t count;
    if (!ranks->transport->poll(from, &count))
        return false;
    char *bytes = km_alloc(count);
    ranks->transport->receive(*from, bytes, count);
    km_text_reset(text);
    *head = (struct head){.kind = BYE};
    if (count >= sizeof *head) {
        memcpy(head, bytes, sizeof *head);
        km_text_append(text, bytes + sizeof *head, count - sizeof *head);
    }
    free(bytes);
    return true;
}

/* MPI's own waiting takes a core that a thread could compute on. */
static void rest(void)
{
    nanosleep(&(const struct timespec){.tv_nsec = 500000}, NULL);
}

static struct km_error error_of(const struct km_text *text)
{
    struct km_error error = {.status = KM_IO};
    if (text->length == sizeof error)
        memcpy(&error, text->bytes, sizeof error);
    return error;
}

/* --- rank 0 --------------------------------------------------------------------------------------------- */

struct helper {
    bool told_to_finish, gone;
};

struct lead {
    struct km_board *board;
    const struct km_ranks *ranks;
    struct helper *helpers; /* [size] */
    int present;            /* not gone yet */
};

static void finish(struct lead *lead, int rank, enum km_status status)
{
    say(lead->ranks, rank, (struct head){.kind = FINISH, .status = status}, NULL, 0);
    lead->helpers[rank].told_to_finish = true;
}

static void hand_out(struct lead *lead, int rank, uint64_t count)
{
    uint64_t run;
    for (; count > 0 && !lead->helpers[rank].told_to_finish; count--) {
        if (km_board_next(lead->board, &run))
            say(lead->ranks, rank, (struct head){.kind = RUN, .number = run}, NULL, 0);
        else
            finish(lead, rank, *lead->board->work->stop ? KM_INTERRUPTED : KM_OK);
    }
}

static void answer(struct lead *lead, int from, const struct head *head, const struct km_text *text)
{
    struct km_error error = {0};
    switch (head->kind) {
    case READY:
        if (strcmp(km_text_c(text), lead->board->work->fingerprint) == 0) {
            hand_out(lead, from, head->number);
            break;
        }
        if (!lead->helpers[from].told_to_finish)
            finish(lead, from, KM_INTERRUPTED);
        km_fail(&error, KM_BAD_INPUT, NULL, 0, 0,
                "rank %d has another scenario, other input files or another kingman than rank 0", from);
        km_board_fail(lead->board, KM_BAD_INPUT, &error);
        break;
    case ROW:
        km_board_take(lead->board, head->number, text);
        hand_out(lead, from, 1);
        break;
    case FAILED:
        error = error_of(text);
        km_board_fail(lead->board, (enum km_status)head->status, &error);
        break;
    default: /* BYE */
        say(lead->ranks, from, (struct head){.kind = BYE}, NULL, 0);
        lead->helpers[from].gone = true;
        lead->present--;
    }
}

void km_ranks_lead(struct km_board *board, const struct km_ranks *ranks)
{
    struct lead lead = {.board = board,
                        .ranks = ranks,
                        .helpers = km_alloc((size_t)ranks->size * sizeof *lead.helpers),
                        .present = ranks->size - 1};
    struct km_text text = {0};
    pthread_t computing;
    bool stopped = false;
    /* This thread listens; without another one the helpers do the work. */
    bool computes = board->status == KM_OK && pthread_create(&computing, NULL, km_board_compute, board) == 0;
    while (lead.present > 0) {
        int from;
        struct head head;
        if (hear(ranks, &from, &head, &text))
            answer(&lead, from, &head, &text);
        else
            rest();
        if (!stopped && *board->work->stop) {
            stopped = true; /* whoever has not been told to finish, or computes on, gives up */
            for (int rank = 1; rank < ranks->size; rank++)
                if (!lead.helpers[rank].gone)
                    finish(&lead, rank, KM_INTERRUPTED);
        }
    }
    if (computes)
        pthread_join(computing, NULL);
    km_text_release(&text);
    free(lead.helpers);
}

/* --- the others ----------------------------------------------------------------------------------------- */

struct result {
    struct result *next;
    uint64_t run;
    enum km_status status;
    struct km_error error;
    struct km_text row;
};

struct help {
    struct km_board *board; /* its mutex guards this, too */
    pthread_cond_t changed; /* runs came, or no more will */
    uint64_t *runs;         /* [room] that wait for a thread */
    uint64_t room, count;
    uint64_t busy; /* threads that compute */
    bool finished;
    struct result *results; /* to be sent */
};

static void help_compute(void *context, uint64_t thread)
{
    (void)thread;
    struct help *help = context;
    const struct km_sweep_work *work = help->board->work;
    pthread_mutex_lock(&help->board->mutex);
    for (;;) {
        while (help->count == 0 && !help->finished)
            pthread_cond_wait(&help->changed, &help->board->mutex);
        if (help->count == 0)
            break;
        struct result *result = km_alloc(sizeof *result);
        result->run = help->runs[0];
        memmove(help->runs, help->runs + 1, --help->count * sizeof *help->runs);
        help->busy++;
        pthread_mutex_unlock(&help->board->mutex);
        result->status = work->compute(work->context, result->run, &result->row, &result->error);
        pthread_mutex_lock(&help->board->mutex);
        help->busy--;
        result->next = help->results;
        help->results = result;
    }
    pthread_mutex_unlock(&help->board->mutex);
}

static void *help_threads(void *help)
{
    uint32_t threads = ((struct help *)help)->board->work->threads;
    km_pool_run(threads, threads, help_compute, help);
    return NULL;
}

static void obey(struct help *help, const struct head *head)
{
    pthread_mutex_lock(&help->board->mutex);
    if (head->kind == RUN && help->count < help->room) {
        help->runs[help->count++] = head->number;
    } else if (head->kind == FINISH) {
        help->finished = true;
        if (head->status != KM_OK) {
            help->count = 0;
            *help->board->work->stop = 1;
        }
    }
    pthread_cond_broadcast(&help->changed);
    pthread_mutex_unlock(&help->board->mutex);
}

static void send_results(const struct km_ranks *ranks, struct result *results)
{
    while (results) {
        struct result *result = results;
        results = result->next;
        if (result->status == KM_OK)
            say(ranks, 0, (struct head){.kind = ROW, .number = result->run}, km_text_c(&result->row),
                result->row.length);
        else
            say(ranks, 0, (struct head){.kind = FAILED, .status = result->status}, &result->error,
                sizeof result->error);
        km_text_release(&result->row);
        free(result);
    }
}

/* Until rank 0 says FINISH and everything held has been sent, then until it returns BYE. */
static void talk(struct help *help, const struct km_ranks *ranks)
{
    struct km_text text = {0};
    struct head head = {.kind = RUN};
    for (bool leaving = false; head.kind != BYE;) {
        int from;
        bool heard = hear(ranks, &from, &head, &text);
        if (heard)
            obey(help, &head);
        pthread_mutex_lock(&help->board->mutex);
        struct result *results = help->results;
        help->results = NULL;
        bool done = help->finished && help->count == 0 && help->busy == 0;
        pthread_mutex_unlock(&help->board->mutex);
        if (results)
            send_results(ranks, results);
        if (done && !leaving) {
            say(ranks, 0, (struct head){.kind = BYE}, NULL, 0);
            leaving = true;
        }
        if (!heard && !results)
            rest();
    }
    km_text_release(&text);
}

void km_ranks_help(struct km_board *board, const struct km_ranks *ranks)
{
    struct help help = {
        .board = board, .changed = PTHREAD_COND_INITIALIZER, .room = (uint64_t)board->work->threads + 1};
    help.runs = km_alloc(help.room * sizeof *help.runs);
    pthread_t computing;
    bool computes = board->status == KM_OK && pthread_create(&computing, NULL, help_threads, &help) == 0;
    if (!computes && board->status == KM_OK)
        board->status =
            km_fail(&board->error, KM_IO, NULL, 0, 0, "rank %d cannot start a thread", ranks->rank);
    if (computes)
        say(ranks, 0, (struct head){.kind = READY, .number = help.room}, board->work->fingerprint,
            strlen(board->work->fingerprint));
    else
        say(ranks, 0, (struct head){.kind = FAILED, .status = board->status}, &board->error,
            sizeof board->error);
    talk(&help, ranks);
    if (computes)
        pthread_join(computing, NULL);
    pthread_cond_destroy(&help.changed);
    free(help.runs);
}
