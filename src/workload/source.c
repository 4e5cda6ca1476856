#include "workload/source.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "workload/resample.h"
#include "workload/trace/trace.h"

#include <stdlib.h>

struct km_source {
    struct km_trace_reader *reader;       /* of the file; NULL with a recording */
    const struct km_recording *recording; /* the settings', or `own` */
    struct km_recording *own;
    struct km_resample *resample; /* NULL = the recording as it is (or its window is empty) */
    size_t next;                  /* of the recording's requests */
    uint64_t start_ps, end_ps;
};

/* Blocks are laid one by one, and most of so many would be empty. */
#define MOST_BLOCKS 1e7

static enum km_status check_blocks(const struct km_source *source,
                                   const struct km_workload_settings *settings, struct km_error *error)
{
    size_t count;
    const struct km_request *requests = km_recording_requests(source->recording, &count);
    double length = settings->bootstrap_length > 0 ? settings->bootstrap_length : 1;
    double span_s = count ? km_s_from_ps(requests[count - 1].arrival_ps - requests[0].arrival_ps) : 0;
    double blocks = span_s * length / settings->bootstrap_block_s;
    if (blocks <= MOST_BLOCKS)
        return KM_OK;
    return km_fail(
        error, KM_BAD_INPUT, NULL, 0, 0,
        "workload.bootstrap_block_s: %g s would make %.3g blocks of the trace; at most %g are laid",
        settings->bootstrap_block_s, blocks, MOST_BLOCKS);
}

enum km_status km_source_open(const struct km_workload_settings *settings, uint64_t seed,
                              struct km_source **out, struct km_error *error)
{
    const bool bootstrap = settings->bootstrap_block_s > 0;
    enum km_status status = KM_OK;
    struct km_source *source = km_alloc(sizeof *source);
    *out = NULL;
    source->start_ps = km_ps_from_s(settings->start_s);
    source->end_ps = settings->end_s > 0 ? km_ps_from_s(settings->end_s) : KM_PS_NEVER;
    source->recording = settings->recording;
    if (!source->recording && bootstrap) {
        status = km_recording_load(settings->trace, settings->trace_format, &source->own, error);
        source->recording = source->own;
    } else if (!source->recording) {
        status = km_trace_open(settings->trace, settings->trace_format, &source->reader, error);
    }
    if (status != KM_OK) {
        km_source_close(source);
        return status;
    }
    if (source->recording)
        source->next = km_recording_find(source->recording, source->start_ps);
    if (bootstrap) {
        const uint64_t block_ps = km_ps_from_s(settings->bootstrap_block_s);
        status = check_blocks(source, settings, error);
        if (status != KM_OK) {
            km_source_close(source);
            return status;
        }
        source->resample =
            km_resample_create(source->recording, source->start_ps, source->end_ps, block_ps ? block_ps : 1,
                               settings->bootstrap_length > 0 ? settings->bootstrap_length : 1, seed);
    }
    *out = source;
    return KM_OK;
}

void km_source_close(struct km_source *source)
{
    if (!source)
        return;
    km_resample_destroy(source->resample);
    km_recording_destroy(source->own);
    km_trace_close(source->reader);
    free(source);
}

static enum km_status read_file(struct km_source *source, struct km_request *out, bool *found,
                                struct km_error *error)
{
    for (;;) {
        enum km_status status = km_trace_next(source->reader, out, found, error);
        if (status != KM_OK || !*found)
            return status;
        *found = out->arrival_ps < source->end_ps;
        if (out->arrival_ps >= source->start_ps && *found)
            return KM_OK;
        km_request_release(out);
        if (!*found)
            return KM_OK;
    }
}

enum km_status km_source_next(struct km_source *source, struct km_request *out, bool *found,
                              struct km_error *error)
{
    *found = false;
    if (source->reader)
        return read_file(source, out, found, error);
    if (source->resample) {
        *found = km_resample_next(source->resample, out);
        return KM_OK;
    }
    size_t count;
    const struct km_request *requests = km_recording_requests(source->recording, &count);
    if (source->next < count && requests[source->next].arrival_ps < source->end_ps) {
        km_request_copy(&requests[source->next++], out);
        *found = true;
    }
    return KM_OK;
}

const char *km_source_class_name(const struct km_source *source, uint32_t class_index)
{
    return source->reader ? km_trace_class_name(source->reader, class_index)
                          : km_recording_class_name(source->recording, class_index);
}

double km_source_progress(const struct km_source *source)
{
    size_t count;
    if (source->reader)
        return km_trace_progress(source->reader);
    if (source->resample)
        return km_resample_progress(source->resample);
    km_recording_requests(source->recording, &count);
    return (double)source->next / (double)count;
}
