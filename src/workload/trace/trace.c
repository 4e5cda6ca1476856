#include "workload/trace/trace.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "base/suggest.h"
#include "workload/trace/classes.h"
#include "workload/trace/formats.h"
#include "workload/trace/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The reorder window also ends at this many prefix hashes (32 MiB), so that long prompts do not multiply it.
 */
#define WINDOW_HASHES ((uint64_t)4 << 20)

/* A request may lie this far from the first line, so that the whole span stays below KM_PS_LIMIT (53.4 days).
 */
#define DAY_S    86400
#define LAST_DAY 52

const struct km_entry *const km_trace_registry[] = {
    &km_trace_kingman.entry,
    &km_trace_azure.entry,
    &km_trace_mooncake.entry,
    NULL,
};

struct slot {
    struct km_request request;
    int64_t at_ps; /* since the first line's time; may be negative */
};

struct km_trace_reader {
    struct km_trace_lines lines;
    char *name;
    const struct km_trace_format *format;
    struct km_trace_parser parser;
    bool ended;
    struct km_trace_time base; /* of the first request line */
    bool has_base;
    int64_t line_ps; /* time of the last line, which untimed turns take over */
    /* ordered by (time, line) from head to tail; twice the window, so that moves are rare */
    struct slot *slots;
    size_t head, tail;
    uint64_t hashes;   /* held by the window */
    int64_t last_ps;   /* of the last request handed out */
    int64_t origin_ps; /* of the first one */
    uint64_t handed_out;
};

/* The next line that is not blank; *found is false at the end of the file. */
static enum km_status next_line(struct km_trace_reader *reader, struct km_trace_line *line, bool *found,
                                struct km_error *error)
{
    line->file = reader->name;
    for (;;) {
        enum km_status status = km_trace_lines_next(&reader->lines, line, found, error);
        if (status != KM_OK || !*found)
            return status;
        const char *nul = memchr(line->text, '\0', line->length);
        if (nul)
            return km_trace_fail(line, nul, error, "a NUL byte: not a text file");
        for (size_t i = 0; i < line->length; i++)
            if (line->text[i] != ' ' && line->text[i] != '\t')
                return KM_OK;
    }
}

static const struct km_trace_format *detect(const struct km_trace_line *line)
{
    for (size_t i = 0; km_trace_registry[i]; i++) {
        const struct km_trace_format *format = (const struct km_trace_format *)km_trace_registry[i];
        if (format->detect((struct km_span){line->text, line->length}))
            return format;
    }
    return NULL;
}

static enum km_status find_format(struct km_trace_reader *reader, const char *name, struct km_error *error)
{
    const struct km_entry *entry = km_registry_find(km_trace_registry, name);
    reader->format = (const struct km_trace_format *)entry;
    if (entry)
        return KM_OK;
    const char *near = km_suggest_registry(name, km_trace_registry);
    return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "unknown trace format \"%s\"%s%s%s", name,
                   near ? "; did you mean " : " (there are kingman, azure, mooncake)", near ? near : "",
                   near ? "?" : "");
}

/* Decide the format by the first line and hand it to the header parser, or keep it for the first request. */
static enum km_status start(struct km_trace_reader *reader, const char *format, struct km_error *error)
{
    struct km_trace_line line;
    bool found;
    enum km_status status = format ? find_format(reader, format, error) : KM_OK;
    if (status == KM_OK)
        status = next_line(reader, &line, &found, error);
    if (status != KM_OK)
        return status;
    if (!found)
        return km_fail(error, KM_BAD_INPUT, reader->name, 0, 0, "the trace is empty");
    if (!reader->format)
        reader->format = detect(&line);
    if (!reader->format)
        return km_trace_fail(
            &line, NULL, error,
            "not a known trace: expected a kingman or Azure CSV header or a Mooncake JSON object");
    reader->parser.fields = reader->format->fields_in
                                ? reader->format->fields_in((struct km_span){line.text, line.length})
                                : reader->format->fields;
    if (reader->format->header)
        return reader->format->header(&reader->parser, &line, error);
    km_trace_lines_unread(&reader->lines);
    return KM_OK;
}

enum km_status km_trace_open_stream(FILE *stream, const char *name, const char *format,
                                    struct km_trace_reader **out, struct km_error *error)
{
    struct km_trace_reader *reader = km_alloc(sizeof *reader);
    *out = NULL;
    km_trace_lines_init(&reader->lines, stream);
    reader->name = km_strdup(name);
    reader->parser.classes = km_trace_classes_create();
    reader->slots = km_alloc((size_t)2 * KM_TRACE_WINDOW * sizeof *reader->slots);
    enum km_status status = start(reader, format, error);
    if (status != KM_OK) {
        km_trace_close(reader);
        return status;
    }
    *out = reader;
    return KM_OK;
}

enum km_status km_trace_open(const char *path, const char *format, struct km_trace_reader **out,
                             struct km_error *error)
{
    *out = NULL;
    FILE *stream = fopen(path, "rb");
    if (!stream)
        return km_fail(error, KM_BAD_INPUT, path, 0, 0, "cannot open: %s", strerror(errno));
    return km_trace_open_stream(stream, path, format, out, error);
}

void km_trace_close(struct km_trace_reader *reader)
{
    if (!reader)
        return;
    for (size_t i = reader->head; i < reader->tail; i++)
        km_request_release(&reader->slots[i].request);
    km_trace_lines_release(&reader->lines);
    km_trace_classes_destroy(reader->parser.classes);
    free(reader->parser.columns);
    free(reader->slots);
    free(reader->name);
    free(reader);
}

/* Time since the first line; refused beyond the range of simulated time. */
static enum km_status relative_time(struct km_trace_reader *reader, const struct km_trace_line *line,
                                    struct km_trace_time at, int64_t *out, struct km_error *error)
{
    if (!reader->has_base) {
        reader->base = at;
        reader->has_base = true;
    }
    int64_t s = at.s - reader->base.s;
    if (s < -DAY_S)
        return km_trace_fail(line, NULL, error, "more than a day before the first line's time");
    if (s >= LAST_DAY * DAY_S)
        return km_trace_fail(line, NULL, error, "more than %d days after the first line's time", LAST_DAY);
    *out = s * (int64_t)KM_PS_PER_S + (int64_t)at.ps - (int64_t)reader->base.ps;
    return KM_OK;
}

/* Put a request in its place. Recorded traces are nearly sorted, so the search starts at the end. */
static void insert(struct km_trace_reader *reader, const struct slot *slot)
{
    if (reader->tail == (size_t)2 * KM_TRACE_WINDOW) {
        memmove(reader->slots, reader->slots + reader->head,
                (reader->tail - reader->head) * sizeof *reader->slots);
        reader->tail -= reader->head;
        reader->head = 0;
    }
    size_t low = reader->head, high = reader->tail;
    if (low < high && reader->slots[high - 1].at_ps <= slot->at_ps)
        low = high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (reader->slots[middle].at_ps <= slot->at_ps)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(reader->slots + low + 1, reader->slots + low, (reader->tail - low) * sizeof *reader->slots);
    reader->slots[low] = *slot;
    reader->tail++;
    reader->hashes += slot->request.prefix_hash_count;
}

/* Read one request into the window. */
static enum km_status fill_one(struct km_trace_reader *reader, struct km_error *error)
{
    struct km_trace_line line;
    bool found;
    enum km_status status = next_line(reader, &line, &found, error);
    if (status != KM_OK)
        return status;
    if (!found) {
        reader->ended = true;
        return KM_OK;
    }
    struct slot slot = {.request = {.session = -1}};
    struct km_trace_time at = {0};
    status = reader->format->parse(&reader->parser, &line, &slot.request, &at, error);
    if (status == KM_OK && !slot.request.untimed)
        status = relative_time(reader, &line, at, &reader->line_ps, error);
    slot.at_ps = reader->line_ps;
    if (status == KM_OK && reader->handed_out && slot.at_ps < reader->last_ps)
        status = km_trace_fail(&line, NULL, error,
                               "arrives %.6f s before a request more than %u requests ahead: "
                               "the trace is not sorted by time",
                               (double)(reader->last_ps - slot.at_ps) * 1e-12, KM_TRACE_WINDOW);
    if (status != KM_OK) {
        km_request_release(&slot.request);
        return status;
    }
    insert(reader, &slot);
    return KM_OK;
}

enum km_status km_trace_next(struct km_trace_reader *reader, struct km_request *out, bool *found,
                             struct km_error *error)
{
    while (!reader->ended && reader->tail - reader->head < KM_TRACE_WINDOW &&
           (reader->hashes < WINDOW_HASHES || reader->tail == reader->head)) {
        enum km_status status = fill_one(reader, error);
        if (status != KM_OK)
            return status;
    }
    *found = reader->head < reader->tail;
    if (!*found)
        return KM_OK;
    struct slot *slot = &reader->slots[reader->head++];
    if (reader->handed_out == 0)
        reader->origin_ps = slot->at_ps;
    reader->last_ps = slot->at_ps;
    reader->hashes -= slot->request.prefix_hash_count;
    *out = slot->request;
    out->id = reader->handed_out++;
    out->arrival_ps = (uint64_t)(slot->at_ps - reader->origin_ps);
    return KM_OK;
}

const struct km_trace_format *km_trace_format_of(const struct km_trace_reader *reader)
{
    return reader->format;
}

unsigned km_trace_fields_of(const struct km_trace_reader *reader)
{
    return reader->parser.fields;
}

const char *km_trace_class_name(const struct km_trace_reader *reader, uint32_t class_index)
{
    return km_trace_classes_name(reader->parser.classes, class_index);
}

uint32_t km_trace_class_count(const struct km_trace_reader *reader)
{
    return km_trace_classes_count(reader->parser.classes);
}

double km_trace_progress(const struct km_trace_reader *reader)
{
    return km_trace_lines_progress(&reader->lines);
}
