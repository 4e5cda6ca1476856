/* Any bytes as a step log and as requests: one error or what the headers promise, and then a run or one error
 * again. A line "===" parts log and requests. */
#include "calibration/steplog/run.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *stream = fopen(path, "wb");
    if (!stream || fwrite(bytes, 1, size, stream) != size || fclose(stream) != 0)
        abort();
}

static void refused(enum km_status status, const struct km_error *error)
{
    if (status != KM_BAD_INPUT || !error->message[0])
        abort();
}

static void check_log(const struct km_step_log *log)
{
    if (log->count == 0)
        abort();
    for (size_t i = 0; i < log->count; i++) {
        const struct km_step_row *row = &log->rows[i];
        if (!isfinite(row->time_s) || (i > 0 && row->time_s < log->rows[i - 1].time_s) ||
            row->prefill_tokens < row->prefill_requests || row->prefill_requests + row->decode_requests == 0)
            abort();
    }
}

static void check_run(const struct km_recorded_run *run, const struct km_step_log *log)
{
    for (size_t i = 0; i < run->count; i++) {
        const struct km_step_shape *shape = &run->steps[i].shape;
        uint64_t tokens = 0;
        for (uint32_t k = 0; k < shape->chunk_count; k++)
            tokens += shape->chunks[k].tokens;
        if (tokens != shape->prefill_tokens || shape->chunk_count != log->rows[i].prefill_requests ||
            shape->decode.count != log->rows[i].decode_requests ||
            shape->decode.max_context > shape->decode.sum_context)
            abort();
    }
}

static uint64_t prompts(const struct km_step_log *log)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < log->count; i++)
        sum += log->rows[i].prefill_requests;
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char log_path[64], request_path[64];
    struct km_step_log log;
    struct km_step_requests requests = {0};
    struct km_recorded_run run;
    struct km_error error = {0};
    const struct km_recorded_limits limits = {.kv_tokens = 1e6, .block_size = 16};
    size_t cut = 0;
    while (cut < size && !(size - cut >= 5 && memcmp(data + cut, "\n===\n", 5) == 0))
        cut++;
    snprintf(log_path, sizeof log_path, "/tmp/km-fuzz-%d-log.csv", (int)getpid());
    snprintf(request_path, sizeof request_path, "/tmp/km-fuzz-%d-requests.csv", (int)getpid());
    put(log_path, data, cut);
    put(request_path, data + (cut < size ? cut + 5 : size), cut < size ? size - cut - 5 : 0);
    enum km_status status = km_step_log_read(log_path, &log, &error);
    if (status != KM_OK) {
        refused(status, &error);
        return 0;
    }
    check_log(&log);
    status = cut < size ? km_step_requests_read(request_path, &requests, &error) : KM_OK;
    if (status != KM_OK) {
        refused(status, &error);
    } else if (prompts(&log) < 1000000) { /* more are memory, not logic */
        status = km_recorded_run_make(&log, cut < size ? &requests : NULL, &limits, &run, &error);
        if (status != KM_OK) {
            refused(status, &error);
        } else {
            check_run(&run, &log);
            km_recorded_run_release(&run);
        }
    }
    km_step_requests_release(&requests);
    km_step_log_release(&log);
    return 0;
}
