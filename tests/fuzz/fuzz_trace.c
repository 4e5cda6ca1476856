/* Any bytes as a trace: an ordered stream of valid requests, or exactly one error. Start from traces/ and
 * tests/data/traces/ as the corpus. */
#include "workload/trace/trace.h"

#include "base/simtime.h"
#include "workload/distribution.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct km_request *request, uint64_t last_ps)
{
    uint32_t blocks = (request->prompt_tokens + KM_PREFIX_BLOCK_TOKENS - 1) / KM_PREFIX_BLOCK_TOKENS;
    if (request->prompt_tokens < 1 || request->prompt_tokens > KM_TOKENS_LIMIT ||
        request->output_tokens < 1 || request->output_tokens > KM_TOKENS_LIMIT ||
        request->prefix_hash_count > blocks || request->session < -1 || request->arrival_ps < last_ps ||
        request->arrival_ps > KM_PS_LIMIT)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct km_trace_reader *reader;
    struct km_error error = {0};
    uint64_t last_ps = 0, count = 0;
    bool found = true;
    FILE *stream = size ? fmemopen((void *)(uintptr_t)data, size, "rb") : NULL;
    if (!stream)
        return 0;
    enum km_status status = km_trace_open_stream(stream, "fuzz", NULL, &reader, &error);
    while (status == KM_OK && found) {
        struct km_request request;
        status = km_trace_next(reader, &request, &found, &error);
        if (status != KM_OK || !found)
            break;
        check(&request, last_ps);
        if (request.id != count++ || (count == 1 && request.arrival_ps != 0) ||
            !km_trace_class_name(reader, request.class_index))
            abort();
        last_ps = request.arrival_ps;
        km_request_release(&request);
    }
    if (status != KM_OK && (status != KM_BAD_INPUT || !error.message[0]))
        abort();
    km_trace_close(reader);
    return 0;
}
