#include "calibration/steplog/steps.h"

#include "base/memory.h"
#include "base/table.h"

#include <math.h>
#include <stdlib.h>

#define LONGEST_S     1e9
#define MOST_TOKENS   1e8
#define MOST_REQUESTS 65536.0 /* of a step */
#define NO_COLUMN     UINT32_MAX

static enum km_status count(const struct km_table *table, uint32_t column, double most, uint32_t *out,
                            struct km_error *error)
{
    double value;
    enum km_status status = km_table_number(table, column, 0.0, most, &value, error);
    if (status == KM_OK && value != floor(value))
        status =
            km_table_fail(table, column, error, "expected a whole number, got %.60s", table->cells[column]);
    if (status == KM_OK)
        *out = (uint32_t)value;
    return status;
}

struct log_columns {
    uint32_t time, elapsed, prefill_requests, prefill_tokens, decode_requests, kv_usage, preempted, replica;
};

static uint32_t optional(const struct km_table *table, const char *name)
{
    uint32_t column;
    return km_table_find(table, name, &column) ? column : NO_COLUMN;
}

static enum km_status log_columns(const struct km_table *table, struct log_columns *out,
                                  struct km_error *error)
{
    enum km_status status = km_table_column(table, "prefill_requests", &out->prefill_requests, error);
    if (status == KM_OK)
        status = km_table_column(table, "prefill_tokens", &out->prefill_tokens, error);
    if (status == KM_OK)
        status = km_table_column(table, "decode_requests", &out->decode_requests, error);
    out->time = optional(table, "time_s");
    out->elapsed = optional(table, "elapsed_ms");
    out->kv_usage = optional(table, "kv_usage");
    out->preempted = optional(table, "preempted");
    out->replica = optional(table, "replica");
    if (status == KM_OK && out->time == NO_COLUMN && out->elapsed == NO_COLUMN)
        status = km_fail(error, KM_BAD_INPUT, table->path, 1, 0, "no column \"time_s\" (nor \"elapsed_ms\")");
    return status;
}

/* One line of the log; *idle: it is of no step. */
static enum km_status read_step(const struct km_table *table, const struct log_columns *columns,
                                double last_s, struct km_step_row *row, uint32_t *preempted, bool *idle,
                                struct km_error *error)
{
    double requests, elapsed_ms = 0.0;
    *row = (struct km_step_row){.line = table->line, .kv_usage = (double)NAN};
    *preempted = 0;
    enum km_status status =
        km_table_number(table, columns->prefill_requests, -1.0, MOST_REQUESTS, &requests, error);
    *idle = status == KM_OK && requests == -1.0;
    if (status != KM_OK || *idle)
        return status;
    status = count(table, columns->prefill_requests, MOST_REQUESTS, &row->prefill_requests, error);
    if (status == KM_OK)
        status = count(table, columns->prefill_tokens, MOST_TOKENS, &row->prefill_tokens, error);
    if (status == KM_OK)
        status = count(table, columns->decode_requests, MOST_REQUESTS, &row->decode_requests, error);
    if (status == KM_OK && row->prefill_tokens < row->prefill_requests)
        status = km_table_fail(table, columns->prefill_tokens, error, "%u tokens of %u prompts",
                               row->prefill_tokens, row->prefill_requests);
    if (status == KM_OK && row->prefill_requests == 0 && row->prefill_tokens > 0)
        status = km_table_fail(table, columns->prefill_requests, error, "%u prompt tokens of no prompt",
                               row->prefill_tokens);
    if (status == KM_OK && columns->time != NO_COLUMN)
        status = km_table_number(table, columns->time, -LONGEST_S, LONGEST_S, &row->time_s, error);
    else if (status == KM_OK)
        status = km_table_number(table, columns->elapsed, 0.0, LONGEST_S, &elapsed_ms, error);
    if (columns->time == NO_COLUMN)
        row->time_s = (isnan(last_s) ? 0.0 : last_s) + elapsed_ms * 1e-3;
    if (status == KM_OK && row->time_s < last_s)
        status = km_table_fail(table, columns->time, error, "%.6f comes after %.6f: steps stand in order",
                               row->time_s, last_s);
    if (status == KM_OK && columns->kv_usage != NO_COLUMN)
        status = km_table_number(table, columns->kv_usage, 0.0, 1.0, &row->kv_usage, error);
    if (status == KM_OK && columns->preempted != NO_COLUMN)
        status = count(table, columns->preempted, MOST_REQUESTS, preempted, error);
    return status;
}

/* Steps of several replicas run at the same time: together they are no log of an engine. */
static enum km_status one_replica(const struct km_table *table, uint32_t column, double *replica,
                                  struct km_error *error)
{
    double value;
    if (column == NO_COLUMN)
        return KM_OK;
    enum km_status status = km_table_number(table, column, 0.0, UINT32_MAX, &value, error);
    if (status == KM_OK && value != *replica && !isnan(*replica))
        status = km_table_fail(table, column, error,
                               "steps of replica %g beside those of %g: take one's rows", value, *replica);
    *replica = value;
    return status;
}

enum km_status km_step_log_read(const char *path, struct km_step_log *out, struct km_error *error)
{
    struct km_table table;
    struct log_columns columns;
    double replica = (double)NAN;
    size_t capacity = 0;
    bool more = true;
    *out = (struct km_step_log){.path = path};
    enum km_status status = km_table_open(path, true, &table, error);
    if (status != KM_OK)
        return status;
    status = log_columns(&table, &columns, error);
    out->summed = status == KM_OK && columns.time == NO_COLUMN;
    while (status == KM_OK) {
        struct km_step_row row;
        uint32_t preempted;
        bool idle;
        status = km_table_next(&table, &more, error);
        if (status != KM_OK || !more)
            break;
        status = one_replica(&table, columns.replica, &replica, error);
        if (status != KM_OK)
            break;
        status = read_step(&table, &columns, out->count ? out->rows[out->count - 1].time_s : (double)NAN,
                           &row, &preempted, &idle, error);
        if (status != KM_OK || idle || row.prefill_requests + row.decode_requests == 0)
            continue;
        if (out->count == KM_STEPS_MOST) {
            status = km_table_fail(&table, 0, error, "more than %u steps", KM_STEPS_MOST);
            break;
        }
        out->preempts |= preempted > 0;
        out->rows = km_grow(out->rows, &capacity, out->count + 1, sizeof *out->rows);
        out->rows[out->count++] = row;
    }
    if (status == KM_OK && out->count == 0)
        status = km_fail(error, KM_BAD_INPUT, path, 0, 0, "there is no step in it");
    km_table_close(&table);
    if (status != KM_OK)
        km_step_log_release(out);
    return status;
}

void km_step_log_release(struct km_step_log *log)
{
    free(log->rows);
    *log = (struct km_step_log){0};
}

struct request_columns {
    uint32_t input, output, scheduled, first, last, sent, queued;
};

static enum km_status request_columns(const struct km_table *table, struct request_columns *out,
                                      struct km_error *error)
{
    const struct {
        const char *name;
        uint32_t *column;
    } required[] = {
        {km_table_find(table, "prompt_tokens", &out->input) ? "prompt_tokens" : "input_tokens", &out->input},
        {"output_tokens", &out->output},
        {"scheduled_s", &out->scheduled},
        {"first_token_s", &out->first},
        {"last_token_s", &out->last}};
    enum km_status status = KM_OK;
    for (size_t i = 0; i < sizeof required / sizeof *required && status == KM_OK; i++)
        status = km_table_column(table, required[i].name, required[i].column, error);
    out->sent = optional(table, "sent_s");
    out->queued = optional(table, "queued_s");
    return status;
}

static enum km_status time_at(const struct km_table *table, uint32_t column, double *out,
                              struct km_error *error)
{
    *out = (double)NAN;
    return column == NO_COLUMN ? KM_OK : km_table_number(table, column, -LONGEST_S, LONGEST_S, out, error);
}

static enum km_status tokens(const struct km_table *table, uint32_t column, uint32_t *out,
                             struct km_error *error)
{
    enum km_status status = count(table, column, MOST_TOKENS, out, error);
    if (status == KM_OK && *out == 0)
        status = km_table_fail(table, column, error, "a request has at least one token");
    return status;
}

static enum km_status read_request(const struct km_table *table, const struct request_columns *columns,
                                   struct km_step_request *out, struct km_error *error)
{
    out->line = table->line;
    enum km_status status = tokens(table, columns->input, &out->input_tokens, error);
    if (status == KM_OK)
        status = tokens(table, columns->output, &out->output_tokens, error);
    if (status == KM_OK)
        status = time_at(table, columns->scheduled, &out->scheduled_s, error);
    if (status == KM_OK)
        status = time_at(table, columns->first, &out->first_token_s, error);
    if (status == KM_OK)
        status = time_at(table, columns->last, &out->last_token_s, error);
    if (status == KM_OK)
        status = time_at(table, columns->sent, &out->sent_s, error);
    if (status == KM_OK)
        status = time_at(table, columns->queued, &out->queued_s, error);
    if (status == KM_OK && out->first_token_s < out->scheduled_s)
        status = km_table_fail(table, columns->first, error, "%.6f is before scheduled_s, %.6f",
                               out->first_token_s, out->scheduled_s);
    if (status == KM_OK && out->last_token_s < out->first_token_s)
        status = km_table_fail(table, columns->last, error, "%.6f is before first_token_s, %.6f",
                               out->last_token_s, out->first_token_s);
    return status;
}

/* Requests scheduled together stand in the order in which the engine took them in. */
static int by_schedule(const void *a, const void *b)
{
    const struct km_step_request *x = a, *y = b;
    if (x->scheduled_s != y->scheduled_s)
        return x->scheduled_s < y->scheduled_s ? -1 : 1;
    if (x->queued_s < y->queued_s || x->queued_s > y->queued_s)
        return x->queued_s < y->queued_s ? -1 : 1;
    if (x->sent_s < y->sent_s || x->sent_s > y->sent_s)
        return x->sent_s < y->sent_s ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

enum km_status km_step_requests_read(const char *path, struct km_step_requests *out, struct km_error *error)
{
    struct km_table table;
    struct request_columns columns;
    size_t capacity = 0;
    bool more = true;
    *out = (struct km_step_requests){.path = path};
    enum km_status status = km_table_open(path, true, &table, error);
    if (status != KM_OK)
        return status;
    status = request_columns(&table, &columns, error);
    while (status == KM_OK) {
        struct km_step_request request;
        status = km_table_next(&table, &more, error);
        if (status != KM_OK || !more)
            break;
        status = read_request(&table, &columns, &request, error);
        if (status != KM_OK)
            break;
        if (out->count == KM_STEPS_MOST) {
            status = km_table_fail(&table, 0, error, "more than %u requests", KM_STEPS_MOST);
            break;
        }
        out->items = km_grow(out->items, &capacity, out->count + 1, sizeof *out->items);
        out->items[out->count++] = request;
    }
    if (status == KM_OK && out->count == 0)
        status = km_fail(error, KM_BAD_INPUT, path, 0, 0, "there is no request in it");
    km_table_close(&table);
    if (status != KM_OK)
        km_step_requests_release(out);
    else
        qsort(out->items, out->count, sizeof *out->items, by_schedule);
    return status;
}

void km_step_requests_release(struct km_step_requests *requests)
{
    free(requests->items);
    *requests = (struct km_step_requests){0};
}
