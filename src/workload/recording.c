#include "workload/recording.h"

#include "base/memory.h"
#include "workload/trace/trace.h"

#include <stdlib.h>

struct km_recording {
    struct km_request *requests;
    size_t count, capacity;
    char **class_names;
    uint32_t class_count;
};

struct km_recording *km_recording_create(void)
{
    return km_alloc(sizeof(struct km_recording));
}

void km_recording_append(struct km_recording *recording, const struct km_request *request)
{
    recording->requests =
        km_grow(recording->requests, &recording->capacity, recording->count + 1, sizeof *recording->requests);
    recording->requests[recording->count++] = *request;
}

void km_recording_name_classes(struct km_recording *recording, uint32_t count,
                               const char *(*name)(const void *context, uint32_t class_index),
                               const void *context)
{
    recording->class_count = count;
    recording->class_names = km_alloc(count * sizeof *recording->class_names);
    for (uint32_t i = 0; i < count; i++)
        recording->class_names[i] = km_strdup(name(context, i));
}

static const char *trace_class(const void *reader, uint32_t class_index)
{
    return km_trace_class_name(reader, class_index);
}

enum km_status km_recording_load(const char *path, const char *format, struct km_recording **out,
                                 struct km_error *error)
{
    struct km_trace_reader *reader;
    *out = NULL;
    enum km_status status = km_trace_open(path, format, &reader, error);
    if (status != KM_OK)
        return status;
    struct km_recording *recording = km_recording_create();
    for (;;) {
        struct km_request request;
        bool found;
        status = km_trace_next(reader, &request, &found, error);
        if (status != KM_OK || !found)
            break;
        km_recording_append(recording, &request);
    }
    if (status == KM_OK && recording->count == 0)
        status = km_fail(error, KM_BAD_INPUT, path, 0, 0, "the trace has no requests");
    if (status == KM_OK)
        km_recording_name_classes(recording, km_trace_class_count(reader), trace_class, reader);
    km_trace_close(reader);
    if (status != KM_OK) {
        km_recording_destroy(recording);
        return status;
    }
    *out = recording;
    return KM_OK;
}

void km_recording_destroy(struct km_recording *recording)
{
    if (!recording)
        return;
    for (size_t i = 0; i < recording->count; i++)
        km_request_release(&recording->requests[i]);
    for (uint32_t i = 0; i < recording->class_count; i++)
        free(recording->class_names[i]);
    free(recording->class_names);
    free(recording->requests);
    free(recording);
}

const struct km_request *km_recording_requests(const struct km_recording *recording, size_t *count)
{
    *count = recording->count;
    return recording->requests;
}

size_t km_recording_find(const struct km_recording *recording, uint64_t at_ps)
{
    size_t low = 0, high = recording->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (recording->requests[middle].arrival_ps < at_ps)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t km_recording_class_count(const struct km_recording *recording)
{
    return recording->class_count;
}

const char *km_recording_class_name(const struct km_recording *recording, uint32_t class_index)
{
    return recording->class_names[class_index];
}
