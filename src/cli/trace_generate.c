/* kingman trace convert, kingman trace generate */
#include "cli/trace_commands.h"

#include "base/memory.h"
#include "base/settings.h"
#include "base/simtime.h"
#include "base/suggest.h"
#include "cli/options.h"
#include "scenario/sections.h"
#include "workload/sessions.h"
#include "workload/trace/trace.h"

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
                 {KM_TRACE_HASHES, "prefix_hashes"},
                 {KM_TRACE_PRIORITY, "priority"},
                 {KM_TRACE_MAX_TOKENS, "max_tokens"},
                 {KM_TRACE_DELAY, "delay_s"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (lost & names[i].field)
            fprintf(stderr, "note: format %s has no place for %s\n", format, names[i].name);
}

#define FORMATS           "kingman|azure|mooncake"
#define CONVERT_ARGUMENTS "IN OUT --to " FORMATS

static int convert(int argc, char **argv, struct km_error *error)
{
    const char *paths[2], *to = NULL;
    const struct km_option options[] = {{"--to", KM_OPTION_TEXT, &to, FORMATS, "format to write"}, {0}};
    bool helped;
    const struct km_trace_format *format = NULL;
    struct km_trace_reader *reader = NULL;
    struct km_outfile file;
    FILE *stream;
    enum km_status status = km_options_read(argc, argv, CONVERT_ARGUMENTS, options, paths, 2, &helped, error);
    if (status == KM_OK && helped)
        return 0;
    if (status == KM_OK && !to)
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--to is missing: kingman, azure or mooncake");
    if (status == KM_OK)
        status = find_format(to, &format, error);
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
    return km_exit_code(status);
}

/* --- generate ------------------------------------------------------------------------------------------ */

/* Flags read as YAML by the scenario's own tables, so that there is one grammar. The first are keys of its
 * workload section, the rest describe conversations. */
enum {
    REQUESTS,
    ARRIVALS,
    PROMPT,
    OUTPUT,
    RATE_SCALE,
    END,
    WORKLOAD_FLAGS,
    TURNS = WORKLOAD_FLAGS,
    GAP,
    THINK,
    FLAGS
};

struct flag {
    const char *name;
    const char *value; /* NULL = not given */
};

static const char *const workload_keys[] = {"requests",      "arrivals",   "prompt_tokens",
                                            "output_tokens", "rate_scale", "end_s"};

/* Put a flag's value below `root` at `key`: a scalar, or a mapping when it reads "a=b,c=d" (commas within
 * brackets belong to a list). */
static enum km_status put_flag(struct km_yaml *root, const char *key, const struct flag *flag,
                               struct km_arena *arena, struct km_error *error)
{
    if (!strchr(flag->value, '='))
        return km_yaml_override(root, key, flag->value, flag->name, arena, error);
    char *at = km_arena_strdup(arena, flag->value);
    while (*at) {
        char *end = at, *equals = strchr(at, '=');
        for (int depth = 0; *end && (*end != ',' || depth > 0); end++)
            depth += *end == '[' ? 1 : *end == ']' ? -1 : 0;
        bool last = *end == '\0';
        *end = '\0';
        if (!equals || equals >= end || equals == at)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: expected key=value,..., got \"%s\"",
                           flag->name, at);
        *equals = '\0';
        const char *path = km_arena_printf(arena, "%s.%s", key, at);
        enum km_status status = km_yaml_override(root, path, equals + 1, flag->name, arena, error);
        if (status != KM_OK)
            return status;
        at = last ? end : end + 1;
    }
    return KM_OK;
}

struct job {
    struct km_workload_settings workload;
    bool has_sessions;
    struct km_sessions_settings sessions;
    uint64_t seed, system_prompt_tokens, max_prompt_tokens; /* NOT_GIVEN when not */
    const struct km_trace_format *format;
};

#define NOT_GIVEN                 UINT64_MAX
#define DEFAULT_MAX_PROMPT_TOKENS 32768 /* a common context length */

static enum km_status read_workload(struct km_yaml *root, const struct flag *flags,
                                    const struct km_settings_context *context, struct job *job,
                                    struct km_error *error)
{
    for (int i = 0; i < WORKLOAD_FLAGS; i++) {
        enum km_status status =
            flags[i].value ? put_flag(root, workload_keys[i], &flags[i], context->arena, error) : KM_OK;
        if (status != KM_OK)
            return status;
        if (!flags[i].value && i <= OUTPUT && !(i == REQUESTS && flags[END].value && !flags[TURNS].value))
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s is missing", flags[i].name);
    }
    job->workload = (struct km_workload_settings){.rate_scale = 1};
    enum km_status status =
        km_settings_read(root, km_workload_section, KM_SETTINGS_WHOLE, &job->workload, NULL, context, error);
    if (status == KM_OK)
        status = km_workload_section_check(root, &job->workload, error);
    if (status == KM_OK &&
        (job->workload.process == KM_ARRIVAL_CLOSED_LOOP || job->workload.process == KM_ARRIVAL_AT_ONCE ||
         job->workload.process == KM_ARRIVAL_TRACE))
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                         "--arrivals: a trace needs times of its own: poisson, gamma, weibull or constant");
    return status;
}

static enum km_status read_distribution(struct km_yaml *root, const char *key, const struct flag *flag,
                                        bool tokens, const struct km_settings_context *context,
                                        struct km_distribution *out, struct km_error *error)
{
    enum km_status status = put_flag(root, key, flag, context->arena, error);
    return status == KM_OK ? km_distribution_read(km_yaml_get(root, key), tokens, out, context, error)
                           : status;
}

static enum km_status read_sessions(struct km_yaml *root, const struct flag *flags,
                                    const struct km_settings_context *context, struct job *job,
                                    struct km_error *error)
{
    const struct km_workload_settings *w = &job->workload;
    if (!flags[TURNS].value) {
        if (flags[GAP].value || flags[THINK].value || job->system_prompt_tokens != NOT_GIVEN ||
            job->max_prompt_tokens != NOT_GIVEN)
            return km_fail(
                error, KM_BAD_INPUT, NULL, 0, 0,
                "--turn-gap-s, --think-s, --system-prompt-tokens and --max-prompt-tokens need --turns");
        return KM_OK;
    }
    const int pause = flags[THINK].value ? THINK : GAP;
    if (!flags[pause].value)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--turn-gap-s is missing");
    if (flags[GAP].value && pause == THINK)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--think-s: not with --turn-gap-s");
    for (int i = RATE_SCALE; i <= END; i++)
        if (flags[i].value)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: not with --turns", flags[i].name);
    job->has_sessions = true;
    job->sessions = (struct km_sessions_settings){.process = w->process,
                                                  .rate_per_s = w->rate_per_s,
                                                  .cv = w->cv,
                                                  .prompt_tokens = w->prompt_tokens,
                                                  .output_tokens = w->output_tokens,
                                                  .requests = w->requests,
                                                  .delays = pause == THINK,
                                                  .max_prompt_tokens = DEFAULT_MAX_PROMPT_TOKENS};
    if (job->system_prompt_tokens != NOT_GIVEN)
        job->sessions.system_prompt_tokens = (uint32_t)job->system_prompt_tokens;
    if (job->max_prompt_tokens != NOT_GIVEN)
        job->sessions.max_prompt_tokens = (uint32_t)job->max_prompt_tokens;
    enum km_status status =
        read_distribution(root, "turns", &flags[TURNS], true, context, &job->sessions.turns, error);
    if (status == KM_OK)
        status =
            read_distribution(root, "turn_gap_s", &flags[pause], false, context, &job->sessions.gap_s, error);
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
    unsigned fields = (KM_TRACE_SESSION | KM_TRACE_HASHES | (job->sessions.delays ? KM_TRACE_DELAY : 0u)) &
                      job->format->fields;
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

/* Everything but the output's name. */
static enum km_status read_job(const struct flag *flags, const char *to, struct km_arena *arena,
                               struct job *job, struct km_error *error)
{
    struct km_settings_context context = {.arena = arena, .folder = ""};
    struct km_yaml *workload, *conversation;
    enum km_status status = find_format(to, &job->format, error);
    if (status == KM_OK && job->system_prompt_tokens != NOT_GIVEN &&
        job->system_prompt_tokens > KM_TOKENS_LIMIT)
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--system-prompt-tokens: must be at most %u",
                         KM_TOKENS_LIMIT);
    if (status == KM_OK && job->max_prompt_tokens != NOT_GIVEN && job->max_prompt_tokens > KM_TOKENS_LIMIT)
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--max-prompt-tokens: must be at most %u",
                         KM_TOKENS_LIMIT);
    if (status == KM_OK)
        status = km_yaml_parse("{}", 2, "", false, arena, &workload, error);
    if (status == KM_OK)
        status = km_yaml_parse("{}", 2, "", false, arena, &conversation, error);
    if (status == KM_OK)
        status = read_workload(workload, flags, &context, job, error);
    if (status == KM_OK)
        status = read_sessions(conversation, flags, &context, job, error);
    return status;
}

#define GENERATE_ARGUMENTS "OUT --requests N --arrivals A --prompt-tokens D --output-tokens D ..."

static int generate(int argc, char **argv, struct km_error *error)
{
    struct flag flags[FLAGS] = {
        [REQUESTS] = {"--requests", NULL},     [ARRIVALS] = {"--arrivals", NULL},
        [PROMPT] = {"--prompt-tokens", NULL},  [OUTPUT] = {"--output-tokens", NULL},
        [RATE_SCALE] = {"--rate-scale", NULL}, [END] = {"--end-s", NULL},
        [TURNS] = {"--turns", NULL},           [GAP] = {"--turn-gap-s", NULL},
        [THINK] = {"--think-s", NULL},
    };
    struct job job = {.seed = 1, .system_prompt_tokens = NOT_GIVEN, .max_prompt_tokens = NOT_GIVEN};
    const char *path, *to = "kingman";
    const struct km_option options[] = {
        {"--requests", KM_OPTION_TEXT, &flags[REQUESTS].value, "N", "how many"},
        {"--arrivals", KM_OPTION_TEXT, &flags[ARRIVALS].value, "A",
         "process=poisson|gamma|weibull|constant,rate_per_s=R[,cv=C][,swing=S]"},
        {"--prompt-tokens", KM_OPTION_TEXT, &flags[PROMPT].value, "D",
         "a number, or distribution=NAME,key=value,... as in a scenario"},
        {"--output-tokens", KM_OPTION_TEXT, &flags[OUTPUT].value, "D", "the same"},
        {"--rate-scale", KM_OPTION_TEXT, &flags[RATE_SCALE].value, "X", "divide every gap by X"},
        {"--end-s", KM_OPTION_TEXT, &flags[END].value, "S", "stop before S seconds"},
        {"--seed", KM_OPTION_COUNT, &job.seed, "N", "of the random streams (1)"},
        {"--to", KM_OPTION_TEXT, &to, FORMATS, "format to write (kingman)"},
        {"--turns", KM_OPTION_TEXT, &flags[TURNS].value, "D",
         "conversations of D turns: A is when they start, --prompt-tokens each new message"},
        {"--turn-gap-s", KM_OPTION_TEXT, &flags[GAP].value, "D", "from one turn's arrival to the next's"},
        {"--think-s", KM_OPTION_TEXT, &flags[THINK].value, "D",
         "instead: from one turn's answer to the next, which is written as the turn's delay"},
        {"--system-prompt-tokens", KM_OPTION_COUNT, &job.system_prompt_tokens, "N",
         "shared by all conversations, a multiple of 512 (0)"},
        {"--max-prompt-tokens", KM_OPTION_COUNT, &job.max_prompt_tokens, "N",
         "a conversation ends before a longer prompt (32768)"},
        {0},
    };
    struct km_arena arena = {0};
    struct km_outfile file;
    FILE *stream;
    bool helped;
    enum km_status status =
        km_options_read(argc, argv, GENERATE_ARGUMENTS, options, &path, 1, &helped, error);
    if (status == KM_OK && helped)
        return 0;
    if (status == KM_OK)
        status = read_job(flags, to, &arena, &job, error);
    if (status == KM_OK)
        status = km_trace_output_open(&file, path, &stream, error);
    if (status == KM_OK) {
        status = job.has_sessions ? generate_sessions(&job, stream, error)
                                  : generate_requests(&job, stream, error);
        status = km_trace_output_close(&file, status, error);
    }
    km_arena_release(&arena);
    return km_exit_code(status);
}

const struct km_command km_trace_convert = {"trace convert", CONVERT_ARGUMENTS,
                                            "rewrite a trace in another format", convert};
const struct km_command km_trace_generate = {
    "trace generate", GENERATE_ARGUMENTS,
    "draw a trace from distributions, or conversations of several turns", generate};
