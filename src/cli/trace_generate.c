/* kingman trace convert, kingman trace generate */
#include "cli/trace_commands.h"

#include "base/memory.h"
#include "base/settings.h"
#include "base/simtime.h"
#include "base/suggest.h"
#include "scenario/sections.h"
#include "workload/sessions.h"
#include "workload/trace.h"

#include <string.h>

static enum km_status find_format(const char *name, const struct km_trace_format **out,
                                  struct km_error *error)
{
    const char *near = km_suggest_registry(name, km_trace_registry);
    *out = (const struct km_trace_format *)km_registry_find(km_trace_registry, name);
    if (*out)
        return KM_OK;
    return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--to: unknown trace format \"%s\"%s%s%s", name,
                   near ? "; did you mean " : " (there are kingman, azure, mooncake)", near ? near : "",
                   near ? "?" : "");
}

/* --- convert ------------------------------------------------------------------------------------------- */

static enum km_status copy_requests(struct km_trace_reader *reader, const struct km_trace_format *format,
                                    FILE *stream, struct km_error *error)
{
    unsigned fields = km_trace_fields_of(reader) & format->fields;
    uint64_t requests = 0;
    if (format->write_header)
        format->write_header(stream, fields);
    for (;; requests++) {
        struct km_request request;
        bool found;
        enum km_status status = km_trace_next(reader, &request, &found, error);
        if (status != KM_OK)
            return status;
        if (!found)
            break;
        status =
            format->write(stream, fields, &request, km_trace_class_name(reader, request.class_index), error);
        km_request_release(&request);
        if (status != KM_OK)
            return status;
    }
    return requests ? KM_OK : km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "the trace has no requests");
}

static void note_lost(unsigned lost, const char *format)
{
    static const struct {
        unsigned field;
        const char *name;
    } names[] = {{KM_TRACE_ID, "id"},
                 {KM_TRACE_SESSION, "session"},
                 {KM_TRACE_CLASS, "class"},
                 {KM_TRACE_HASHES, "prefix_hashes"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (lost & names[i].field)
            fprintf(stderr, "note: format %s has no place for %s\n", format, names[i].name);
}

int km_trace_convert(int argc, char **argv, struct km_error *error)
{
    static const char *const names[] = {"IN", "OUT"};
    struct km_trace_option options[] = {{.name = "--to", .help = "kingman, azure or mooncake"}, {0}};
    const char *paths[2];
    const struct km_trace_format *format = NULL;
    struct km_trace_reader *reader = NULL;
    struct km_outfile file;
    FILE *stream;
    enum km_status status = km_trace_options(argc, argv, options, paths, names, 2, error);
    if (status == KM_OK && !options[0].value)
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--to is missing: kingman, azure or mooncake");
    if (status == KM_OK)
        status = find_format(options[0].value, &format, error);
    if (status == KM_OK)
        status = km_trace_open(paths[0], NULL, &reader, error);
    if (status == KM_OK)
        status = km_trace_output_open(&file, paths[1], &stream, error);
    if (status == KM_OK) {
        status = copy_requests(reader, format, stream, error);
        status = km_trace_output_close(&file, status, error);
        if (status == KM_OK)
            note_lost(km_trace_fields_of(reader) & ~format->fields, format->entry.name);
    }
    km_trace_close(reader);
    return status == KM_OK ? 0 : -1;
}

/* --- generate ------------------------------------------------------------------------------------------ */

enum {
    REQUESTS,
    ARRIVALS,
    PROMPT,
    OUTPUT,
    RATE_SCALE,
    END,
    WORKLOAD_OPTIONS, /* those above are keys of a scenario's workload section */
    SEED = WORKLOAD_OPTIONS,
    TO,
    TURNS,
    GAP,
    SYSTEM,
    LONGEST,
};

static const char *const workload_keys[] = {"requests",      "arrivals",   "prompt_tokens",
                                            "output_tokens", "rate_scale", "end_s"};

/* Put a flag's value below `root` at `key`: a scalar, or a mapping when it reads "a=b,c=d" (commas within
 * brackets belong to a list). */
static enum km_status put_flag(struct km_yaml *root, const char *key, const struct km_trace_option *option,
                               struct km_arena *arena, struct km_error *error)
{
    if (!strchr(option->value, '='))
        return km_yaml_override(root, key, option->value, option->name, arena, error);
    char *at = km_arena_strdup(arena, option->value);
    while (*at) {
        char *end = at, *equals = strchr(at, '=');
        for (int depth = 0; *end && (*end != ',' || depth > 0); end++)
            depth += *end == '[' ? 1 : *end == ']' ? -1 : 0;
        bool last = *end == '\0';
        *end = '\0';
        if (!equals || equals >= end || equals == at)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: expected key=value,..., got \"%s\"",
                           option->name, at);
        *equals = '\0';
        const char *path = km_arena_printf(arena, "%s.%s", key, at);
        enum km_status status = km_yaml_override(root, path, equals + 1, option->name, arena, error);
        if (status != KM_OK)
            return status;
        at = last ? end : end + 1;
    }
    return KM_OK;
}

static enum km_status parse_number(const struct km_trace_option *option, uint64_t limit, uint64_t *out,
                                   struct km_error *error)
{
    struct km_span span = {option->value, strlen(option->value)};
    if (km_scan_u64(span, out) && *out <= limit)
        return KM_OK;
    return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: expected an integer from 0 to %llu, got \"%s\"",
                   option->name, (unsigned long long)limit, option->value);
}

struct job {
    struct km_workload_settings workload;
    bool has_sessions;
    struct km_sessions_settings sessions;
    uint64_t seed;
    const struct km_trace_format *format;
};

static enum km_status read_workload(struct km_yaml *root, const struct km_trace_option *options,
                                    const struct km_settings_context *context, struct job *job,
                                    struct km_error *error)
{
    for (int i = 0; i < WORKLOAD_OPTIONS; i++) {
        enum km_status status =
            options[i].value ? put_flag(root, workload_keys[i], &options[i], context->arena, error) : KM_OK;
        if (status != KM_OK)
            return status;
        if (!options[i].value && i <= OUTPUT &&
            !(i == REQUESTS && options[END].value && !options[TURNS].value))
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s is missing", options[i].name);
    }
    job->workload = (struct km_workload_settings){.rate_scale = 1};
    enum km_status status =
        km_settings_read(root, km_workload_section, KM_SETTINGS_WHOLE, &job->workload, NULL, context, error);
    if (status == KM_OK)
        status = km_workload_section_check(root, &job->workload, error);
    if (status == KM_OK &&
        (job->workload.process == KM_ARRIVAL_CLOSED_LOOP || job->workload.process == KM_ARRIVAL_TRACE))
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                         "--arrivals: a trace needs times of its own: poisson, gamma, weibull or constant");
    return status;
}

static enum km_status read_distribution(struct km_yaml *root, const char *key,
                                        const struct km_trace_option *option, bool tokens,
                                        const struct km_settings_context *context,
                                        struct km_distribution *out, struct km_error *error)
{
    enum km_status status = put_flag(root, key, option, context->arena, error);
    return status == KM_OK ? km_distribution_read(km_yaml_get(root, key), tokens, out, context, error)
                           : status;
}

static enum km_status read_sessions(struct km_yaml *root, const struct km_trace_option *options,
                                    const struct km_settings_context *context, struct job *job,
                                    struct km_error *error)
{
    const struct km_workload_settings *w = &job->workload;
    uint64_t system_prompt = 0, longest = 32768;
    if (!options[TURNS].value) {
        for (int i = GAP; i <= LONGEST; i++)
            if (options[i].value)
                return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: only with --turns", options[i].name);
        return KM_OK;
    }
    if (!options[GAP].value)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--turn-gap-s is missing");
    for (int i = RATE_SCALE; i <= END; i++)
        if (options[i].value)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: not with --turns", options[i].name);
    job->has_sessions = true;
    job->sessions = (struct km_sessions_settings){.process = w->process,
                                                  .rate_per_s = w->rate_per_s,
                                                  .cv = w->cv,
                                                  .prompt_tokens = w->prompt_tokens,
                                                  .output_tokens = w->output_tokens,
                                                  .requests = w->requests};
    enum km_status status =
        read_distribution(root, "turns", &options[TURNS], true, context, &job->sessions.turns, error);
    if (status == KM_OK)
        status =
            read_distribution(root, "turn_gap_s", &options[GAP], false, context, &job->sessions.gap_s, error);
    if (status == KM_OK && options[SYSTEM].value)
        status = parse_number(&options[SYSTEM], KM_TOKENS_LIMIT, &system_prompt, error);
    if (status == KM_OK && options[LONGEST].value)
        status = parse_number(&options[LONGEST], KM_TOKENS_LIMIT, &longest, error);
    job->sessions.system_prompt_tokens = (uint32_t)system_prompt;
    job->sessions.max_prompt_tokens = (uint32_t)longest;
    return status;
}

static enum km_status generate_requests(const struct job *job, FILE *stream, struct km_error *error)
{
    struct km_workload *workload = NULL;
    enum km_status status = km_workload_create(&job->workload, job->seed, &workload, error);
    if (status == KM_OK && job->format->write_header)
        job->format->write_header(stream, 0);
    while (status == KM_OK) {
        uint64_t arrival_ps;
        struct km_request request;
        status = km_workload_peek(workload, &arrival_ps, error);
        if (status != KM_OK || arrival_ps == KM_PS_NEVER)
            break;
        km_workload_take(workload, &request);
        status = job->format->write(stream, 0, &request, "", error);
        km_request_release(&request);
    }
    km_workload_destroy(workload);
    return status;
}

static enum km_status generate_sessions(const struct job *job, FILE *stream, struct km_error *error)
{
    unsigned fields = (KM_TRACE_SESSION | KM_TRACE_HASHES) & job->format->fields;
    struct km_sessions *sessions = NULL;
    bool found = true;
    enum km_status status = km_sessions_create(&job->sessions, job->seed, &sessions, error);
    if (status == KM_OK && job->format->write_header)
        job->format->write_header(stream, fields);
    while (status == KM_OK) {
        struct km_request request;
        status = km_sessions_next(sessions, &request, &found, error);
        if (status != KM_OK || !found)
            break;
        status = job->format->write(stream, fields, &request, "", error);
        km_request_release(&request);
    }
    km_sessions_destroy(sessions);
    return status;
}

int km_trace_generate(int argc, char **argv, struct km_error *error)
{
    static const char *const names[] = {"OUT"};
    static const char distribution[] = "a number or distribution=NAME,key=value,...";
    struct km_trace_option options[] = {
        [REQUESTS] = {"--requests", "a number", NULL},
        [ARRIVALS] = {"--arrivals", "process=NAME,rate_per_s=R", NULL},
        [PROMPT] = {"--prompt-tokens", distribution, NULL},
        [OUTPUT] = {"--output-tokens", distribution, NULL},
        [RATE_SCALE] = {"--rate-scale", "a number", NULL},
        [END] = {"--end-s", "seconds", NULL},
        [SEED] = {"--seed", "a number", NULL},
        [TO] = {"--to", "kingman, azure or mooncake", NULL},
        [TURNS] = {"--turns", distribution, NULL},
        [GAP] = {"--turn-gap-s", distribution, NULL},
        [SYSTEM] = {"--system-prompt-tokens", "a multiple of 512", NULL},
        [LONGEST] = {"--max-prompt-tokens", "a number", NULL},
        {0},
    };
    struct km_arena arena = {0};
    struct km_settings_context context = {.arena = &arena, .folder = ""};
    struct job job = {.seed = 1};
    struct km_yaml *root, *extra;
    struct km_outfile file;
    const char *path;
    FILE *stream;
    enum km_status status = km_trace_options(argc, argv, options, &path, names, 1, error);
    if (status == KM_OK)
        status = find_format(options[TO].value ? options[TO].value : "kingman", &job.format, error);
    if (status == KM_OK && options[SEED].value)
        status = parse_number(&options[SEED], UINT64_MAX, &job.seed, error);
    if (status == KM_OK)
        status = km_yaml_parse("{}", 2, "", false, &arena, &root, error);
    if (status == KM_OK)
        status = km_yaml_parse("{}", 2, "", false, &arena, &extra, error);
    if (status == KM_OK)
        status = read_workload(root, options, &context, &job, error);
    if (status == KM_OK)
        status = read_sessions(extra, options, &context, &job, error);
    if (status == KM_OK)
        status = km_trace_output_open(&file, path, &stream, error);
    if (status == KM_OK) {
        status = job.has_sessions ? generate_sessions(&job, stream, error)
                                  : generate_requests(&job, stream, error);
        status = km_trace_output_close(&file, status, error);
    }
    km_arena_release(&arena);
    return status == KM_OK ? 0 : -1;
}
