/* Mooncake traces (FAST'25): one JSON object a line with timestamp (ms), input_length, output_length and
 * hash_ids, one hash for every block of 512 input tokens, whole or begun; and, as benchmarks of conversations
 * write them (AIPerf's loader mooncake_trace), session_id (text or an integer) and delay (ms since the answer to
 * the turn before), with which a turn needs no timestamp. Other members are ignored. */
#include "workload/trace/formats.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/simtime.h"
#include "workload/distribution.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Largest integer every JSON reader holds exactly: 2^53. */
#define JSON_INTEGER_LIMIT ((int64_t)1 << 53)

static bool detect(struct km_span first_line)
{
    size_t i = 0;
    while (i < first_line.length && (first_line.text[i] == ' ' || first_line.text[i] == '\t'))
        i++;
    return i < first_line.length && first_line.text[i] == '{';
}

/* Conversations say whose they are from the first line on. */
static unsigned fields_in(struct km_span first_line)
{
    static const char key[] = "\"session_id\"";
    for (size_t i = 0; i + sizeof key - 1 <= first_line.length; i++)
        if (memcmp(first_line.text + i, key, sizeof key - 1) == 0)
            return KM_TRACE_HASHES | KM_TRACE_SESSION | KM_TRACE_DELAY;
    return KM_TRACE_HASHES;
}

static enum km_status parse_hashes(const struct km_json *json, struct km_request *out, struct km_error *error)
{
    const cJSON *hashes = NULL, *hash;
    enum km_status status = km_json_array(json, json->root, "hash_ids", KM_JSON_OPTIONAL, &hashes, error);
    int count = status == KM_OK && hashes ? cJSON_GetArraySize(hashes) : 0;
    uint32_t blocks = (out->prompt_tokens + KM_PREFIX_BLOCK_TOKENS - 1) / KM_PREFIX_BLOCK_TOKENS;
    if (status != KM_OK || count == 0)
        return status;
    if ((uint32_t)count > blocks)
        return km_json_fail(json, hashes, error,
                            "%d hashes, but %" PRIu32 " tokens have only %" PRIu32 " blocks of %u", count,
                            out->prompt_tokens, blocks, KM_PREFIX_BLOCK_TOKENS);
    out->prefix_hashes = km_alloc((size_t)count * sizeof *out->prefix_hashes);
    cJSON_ArrayForEach(hash, hashes)
    {
        int64_t value;
        status = km_json_value_integer(json, hash, 0, JSON_INTEGER_LIMIT, &value, error);
        if (status != KM_OK)
            return status;
        out->prefix_hashes[out->prefix_hash_count++] = (uint64_t)value;
    }
    return KM_OK;
}

/* The text of a number in the (single) line. Columns count characters, not bytes. */
static struct km_span number_text(const struct km_json *json, const cJSON *number)
{
    int line, column;
    const char *at = json->text;
    km_json_position(json, number, &line, &column);
    for (; column > 1; column--)
        for (at++; ((unsigned char)*at & 0xc0) == 0x80; at++)
            ;
    return (struct km_span){at, strspn(at, "0123456789.eE+-")};
}

/* Milliseconds to a time. A whole number is exact as a double; a fraction is read again from its text. */
static struct km_trace_time time_of(const struct km_json *json, const char *key, double ms)
{
    struct km_trace_time exact; /* in milliseconds and 1e-12 of one */
    double whole = floor(ms);
    uint64_t ps = (uint64_t)fmod(whole, 1000) * 1000000000;
    int64_t s = (int64_t)floor(whole / 1000);
    if (whole != ms && km_scan_seconds(number_text(json, km_json_get(json->root, key)), &exact)) {
        s = exact.s / 1000;
        ps = (uint64_t)(exact.s % 1000) * 1000000000 + (exact.ps + 500) / 1000;
    } else {
        ps += (uint64_t)((ms - whole) * 1e9 + 0.5);
    }
    return (struct km_trace_time){.s = s + (int64_t)(ps / KM_PS_PER_S), .ps = ps % KM_PS_PER_S};
}

/* A session's number: the integer itself, or a hash of its name (FNV-1a; the 53 bits that JSON holds,
 * so that a million names are all told apart with probability 0.9999). */
static enum km_status parse_session(const struct km_json *json, struct km_request *out,
                                    struct km_error *error)
{
    const cJSON *id = km_json_get(json->root, "session_id");
    if (!id)
        return KM_OK;
    if (!cJSON_IsString(id))
        return km_json_value_integer(json, id, 0, JSON_INTEGER_LIMIT, &out->session, error);
    uint64_t hash = 0xcbf29ce484222325u;
    for (const char *at = id->valuestring; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 0x100000001b3u;
    out->session = (int64_t)(hash >> 11);
    return KM_OK;
}

static enum km_status parse_times(const struct km_json *json, struct km_request *out,
                                  struct km_trace_time *at, struct km_error *error)
{
    const double most_ms = (double)JSON_INTEGER_LIMIT, most_delay_ms = (double)(KM_PS_LIMIT / 1000000000);
    double ms = 0, delay_ms = 0;
    enum km_status status =
        km_json_number(json, json->root, "delay", KM_JSON_OPTIONAL, 0, most_delay_ms, &delay_ms, error);
    out->has_delay = status == KM_OK && km_json_get(json->root, "delay");
    if (out->has_delay && out->session < 0)
        return km_json_fail(json, km_json_get(json->root, "delay"), error,
                            "there is no session_id whose answer it follows");
    enum km_json_need need = out->has_delay ? KM_JSON_OPTIONAL : KM_JSON_REQUIRED;
    if (status == KM_OK)
        status = km_json_number(json, json->root, "timestamp", need, 0, most_ms, &ms, error);
    if (status != KM_OK)
        return status;
    if (out->has_delay) {
        struct km_trace_time delay = time_of(json, "delay", delay_ms);
        out->delay_ps = (uint64_t)delay.s * KM_PS_PER_S + delay.ps;
    }
    out->untimed = !km_json_get(json->root, "timestamp");
    if (!out->untimed)
        *at = time_of(json, "timestamp", ms);
    return KM_OK;
}

static enum km_status parse_object(const struct km_json *json, struct km_request *out,
                                   struct km_trace_time *at, struct km_error *error)
{
    if (!cJSON_IsObject(json->root))
        return km_json_fail(json, json->root, error, "expected an object");
    enum km_status status = parse_session(json, out, error);
    if (status == KM_OK)
        status = parse_times(json, out, at, error);
    if (status == KM_OK)
        status = km_json_u32(json, json->root, "input_length", KM_JSON_REQUIRED, 1, KM_TOKENS_LIMIT,
                             &out->prompt_tokens, error);
    if (status == KM_OK)
        status = km_json_u32(json, json->root, "output_length", KM_JSON_REQUIRED, 1, KM_TOKENS_LIMIT,
                             &out->output_tokens, error);
    return status == KM_OK ? parse_hashes(json, out, error) : status;
}

static enum km_status parse(struct km_trace_parser *parser, const struct km_trace_line *line,
                            struct km_request *out, struct km_trace_time *at, struct km_error *error)
{
    (void)parser;
    struct km_json json;
    enum km_status status = km_json_parse(line->text, line->length, line->file, &json, error);
    if (status == KM_OK) {
        status = parse_object(&json, out, at, error);
        km_json_release(&json);
    }
    if (status != KM_OK && error)
        error->line = line->number < INT32_MAX ? (int)line->number : INT32_MAX;
    return status;
}

/* Milliseconds, with as many of nine decimals as needed. */
static void print_ms(FILE *stream, uint64_t ps)
{
    uint64_t rest = ps % 1000000000;
    fprintf(stream, "%" PRIu64, ps / 1000000000);
    if (rest == 0)
        return;
    int decimals = 9;
    for (; rest % 10 == 0; rest /= 10)
        decimals--;
    fprintf(stream, ".%0*" PRIu64, decimals, rest);
}

static enum km_status write_request(FILE *stream, unsigned fields, const struct km_request *request,
                                    const char *class_name, struct km_error *error)
{
    (void)class_name;
    fputc('{', stream);
    if ((fields & KM_TRACE_SESSION) && request->session >= 0)
        fprintf(stream, "\"session_id\": %" PRId64 ", ", request->session);
    if (!request->untimed) {
        fputs("\"timestamp\": ", stream);
        print_ms(stream, request->arrival_ps);
    }
    if ((fields & KM_TRACE_DELAY) && request->has_delay) {
        fputs(request->untimed ? "\"delay\": " : ", \"delay\": ", stream);
        print_ms(stream, request->delay_ps);
    }
    fprintf(stream, ", \"input_length\": %" PRIu32 ", \"output_length\": %" PRIu32 ", \"hash_ids\": [",
            request->prompt_tokens, request->output_tokens);
    for (uint32_t i = 0; (fields & KM_TRACE_HASHES) && i < request->prefix_hash_count; i++) {
        if (request->prefix_hashes[i] > (uint64_t)JSON_INTEGER_LIMIT)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                           "request %" PRIu64 ": prefix hash %" PRIu64
                           " is above 2^53, more than JSON holds exactly",
                           request->id, request->prefix_hashes[i]);
        fprintf(stream, i ? ", %" PRIu64 : "%" PRIu64, request->prefix_hashes[i]);
    }
    fputs("]}\n", stream);
    return KM_OK;
}

const struct km_trace_format km_trace_mooncake = {
    .entry = {"mooncake",
              "Mooncake JSON lines: timestamp (ms), input_length, output_length, hash_ids, session_id, "
              "delay (ms)"},
    .fields = KM_TRACE_HASHES | KM_TRACE_SESSION | KM_TRACE_DELAY,
    .detect = detect,
    .fields_in = fields_in,
    .parse = parse,
    .write = write_request,
};
