/* The project's own trace: arrival_s, prompt_tokens, output_tokens and, where known, id, session, class,
 * prefix_hashes (separated by spaces), priority (an integer, smaller is served first), max_tokens (most output
 * tokens the client allows) and delay_s (from the session's last answer). An empty optional field means "none". */
#include "workload/trace/formats.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "workload/trace/csv.h"

#include <inttypes.h>
#include <string.h>

enum { ARRIVAL, PROMPT, OUTPUT, ID, SESSION, CLASS, HASHES, PRIORITY, MAX_TOKENS, DELAY, COLUMNS };

static const struct km_trace_column columns[] = {
    [ARRIVAL] = {"arrival_s", false},
    [PROMPT] = {"prompt_tokens", false},
    [OUTPUT] = {"output_tokens", false},
    [ID] = {"id", true},
    [SESSION] = {"session", true},
    [CLASS] = {"class", true},
    [HASHES] = {"prefix_hashes", true},
    [PRIORITY] = {"priority", true},
    [MAX_TOKENS] = {"max_tokens", true},
    [DELAY] = {"delay_s", true},
    {NULL, false},
};

static unsigned field_of(int meaning)
{
    static const unsigned fields[COLUMNS] = {
        [ID] = KM_TRACE_ID,         [SESSION] = KM_TRACE_SESSION,   [CLASS] = KM_TRACE_CLASS,
        [HASHES] = KM_TRACE_HASHES, [PRIORITY] = KM_TRACE_PRIORITY, [MAX_TOKENS] = KM_TRACE_MAX_TOKENS,
        [DELAY] = KM_TRACE_DELAY,
    };
    return fields[meaning];
}

static bool detect(struct km_span first_line)
{
    return km_trace_csv_detect(columns, first_line);
}

static enum km_status header(struct km_trace_parser *parser, const struct km_trace_line *line,
                             struct km_error *error)
{
    enum km_status status = km_trace_csv_header(parser, columns, line, error);
    parser->fields = 0;
    for (int i = 0; i < COLUMNS; i++)
        if (parser->columns->present[i])
            parser->fields |= field_of(i);
    return status;
}

static enum km_status parse_hashes(const struct km_trace_line *line, struct km_span field,
                                   struct km_request *out, struct km_error *error)
{
    uint32_t blocks = (out->prompt_tokens + KM_PREFIX_BLOCK_TOKENS - 1) / KM_PREFIX_BLOCK_TOKENS, count = 1;
    const char *end = field.text + field.length, *at = field.text;
    for (size_t i = 1; i < field.length; i++)
        count += field.text[i] == ' ' && field.text[i - 1] != ' ';
    if (count > blocks)
        return km_trace_fail(line, field.text, error,
                             "prefix_hashes: %" PRIu32 " hashes, but %" PRIu32
                             " prompt tokens have only %" PRIu32 " blocks of %u",
                             count, out->prompt_tokens, blocks, KM_PREFIX_BLOCK_TOKENS);
    out->prefix_hashes = km_alloc(count * sizeof *out->prefix_hashes);
    while (at < end) {
        const char *stop = memchr(at, ' ', (size_t)(end - at));
        struct km_span hash = {at, (size_t)((stop ? stop : end) - at)};
        if (!km_scan_u64(hash, &out->prefix_hashes[out->prefix_hash_count++]))
            return km_trace_fail(line, at, error,
                                 "prefix_hashes: expected integers from 0 to 2^64-1, got \"%.*s\"",
                                 KM_SPAN_ARGS(hash));
        for (at += hash.length; at < end && *at == ' '; at++)
            ;
    }
    return KM_OK;
}

static enum km_status parse_limits(const struct km_trace_line *line, struct km_span priority,
                                   struct km_span max_tokens, struct km_request *out, struct km_error *error)
{
    int64_t value;
    if (priority.length) {
        if (!km_scan_i64(priority, &value) || value < INT32_MIN || value > INT32_MAX)
            return km_trace_fail(line, priority.text, error,
                                 "priority: expected an integer from -2^31 to 2^31-1, got \"%.*s\"",
                                 KM_SPAN_ARGS(priority));
        out->priority = (int32_t)value;
    }
    if (!max_tokens.length)
        return KM_OK;
    enum km_status status =
        km_trace_csv_tokens(line, columns[MAX_TOKENS].name, max_tokens, &out->max_tokens, error);
    if (status == KM_OK && out->max_tokens < out->output_tokens)
        return km_trace_fail(line, max_tokens.text, error,
                             "max_tokens: %" PRIu32 " is less than output_tokens, %" PRIu32, out->max_tokens,
                             out->output_tokens);
    return status;
}

static enum km_status parse_delay(const struct km_trace_line *line, struct km_span field,
                                  struct km_request *out, struct km_error *error)
{
    struct km_trace_time delay;
    if (!field.length)
        return KM_OK;
    if (!km_scan_seconds(field, &delay) || delay.s >= (int64_t)(KM_PS_LIMIT / KM_PS_PER_S))
        return km_trace_fail(line, field.text, error,
                             "delay_s: expected seconds from 0 to 53 days, got \"%.*s\"",
                             KM_SPAN_ARGS(field));
    if (out->session < 0)
        return km_trace_fail(line, field.text, error, "delay_s: there is no session whose answer it follows");
    out->has_delay = true;
    out->delay_ps = (uint64_t)delay.s * KM_PS_PER_S + delay.ps;
    return KM_OK;
}

static enum km_status parse(struct km_trace_parser *parser, const struct km_trace_line *line,
                            struct km_request *out, struct km_trace_time *at, struct km_error *error)
{
    struct km_span f[COLUMNS] = {{NULL, 0}};
    enum km_status status = km_trace_csv_split(parser->columns, line, f, error);
    if (status != KM_OK)
        return status;
    if (!km_scan_seconds(f[ARRIVAL], at))
        return km_trace_fail(line, f[ARRIVAL].text, error, "arrival_s: expected seconds >= 0, got \"%.*s\"",
                             KM_SPAN_ARGS(f[ARRIVAL]));
    status = km_trace_csv_tokens(line, columns[PROMPT].name, f[PROMPT], &out->prompt_tokens, error);
    if (status == KM_OK)
        status = km_trace_csv_tokens(line, columns[OUTPUT].name, f[OUTPUT], &out->output_tokens, error);
    if (status != KM_OK)
        return status;
    if (f[SESSION].length && (!km_scan_i64(f[SESSION], &out->session) || out->session < 0))
        return km_trace_fail(line, f[SESSION].text, error, "session: expected an integer >= 0, got \"%.*s\"",
                             KM_SPAN_ARGS(f[SESSION]));
    if (f[CLASS].length) {
        status = km_trace_class(parser, line, f[CLASS], &out->class_index, error);
        if (status != KM_OK)
            return status;
    }
    status = parse_limits(line, f[PRIORITY], f[MAX_TOKENS], out, error);
    if (status == KM_OK)
        status = parse_delay(line, f[DELAY], out, error);
    if (status != KM_OK)
        return status;
    if (f[ID].length) {
        out->label = km_alloc(f[ID].length + 1);
        memcpy(out->label, f[ID].text, f[ID].length);
    }
    return f[HASHES].length ? parse_hashes(line, f[HASHES], out, error) : KM_OK;
}

static void write_header(FILE *stream, unsigned fields)
{
    fputs("arrival_s,prompt_tokens,output_tokens", stream);
    for (int i = ID; i < COLUMNS; i++)
        if (fields & field_of(i))
            fprintf(stream, ",%s", columns[i].name);
    fputc('\n', stream);
}

static enum km_status write_request(FILE *stream, unsigned fields, const struct km_request *request,
                                    const char *class_name, struct km_error *error)
{
    (void)error;
    km_print_seconds(stream, request->arrival_ps);
    fprintf(stream, ",%" PRIu32 ",%" PRIu32, request->prompt_tokens, request->output_tokens);
    if (fields & KM_TRACE_ID)
        fprintf(stream, ",%s", request->label ? request->label : "");
    if (fields & KM_TRACE_SESSION) {
        fputc(',', stream);
        if (request->session >= 0)
            fprintf(stream, "%" PRId64, request->session);
    }
    if (fields & KM_TRACE_CLASS)
        fprintf(stream, ",%s", class_name);
    if (fields & KM_TRACE_HASHES) {
        fputc(',', stream);
        for (uint32_t i = 0; i < request->prefix_hash_count; i++)
            fprintf(stream, i ? " %" PRIu64 : "%" PRIu64, request->prefix_hashes[i]);
    }
    if (fields & KM_TRACE_PRIORITY)
        fprintf(stream, ",%" PRId32, request->priority);
    if (fields & KM_TRACE_MAX_TOKENS) {
        fputc(',', stream);
        if (request->max_tokens)
            fprintf(stream, "%" PRIu32, request->max_tokens);
    }
    if (fields & KM_TRACE_DELAY) {
        fputc(',', stream);
        if (request->has_delay)
            km_print_seconds(stream, request->delay_ps);
    }
    fputc('\n', stream);
    return KM_OK;
}

const struct km_trace_format km_trace_kingman = {
    .entry = {"kingman", "CSV: "
                         "arrival_s,prompt_tokens,output_tokens[,id,session,class,prefix_hashes,priority,max_"
                         "tokens,delay_s]"},
    .fields = KM_TRACE_ID | KM_TRACE_SESSION | KM_TRACE_CLASS | KM_TRACE_HASHES | KM_TRACE_PRIORITY |
              KM_TRACE_MAX_TOKENS | KM_TRACE_DELAY,
    .detect = detect,
    .header = header,
    .parse = parse,
    .write_header = write_header,
    .write = write_request,
};
