#include "base/file.h"
#include "scenario/lookup.h"
#include "scenario/sections.h"
#include "workload/trace/trace.h"

/* --- arrivals ------------------------------------------------------------------------------------------ */

enum arrival_key { PROCESS, RATE, CV, CLIENTS, THINK, SWING, SWING_PERIOD };
#define BIT(i)       ((uint64_t)1 << (i))
#define OPEN_OPTIONS (BIT(SWING) | BIT(SWING_PERIOD))
#define OPTIONAL     (BIT(THINK) | OPEN_OPTIONS)

/* In the order of enum km_arrival_process. */
static const char *const process_names[] = {"trace",    "poisson",     "gamma",   "weibull",
                                            "constant", "closed_loop", "at_once", NULL};
static const uint64_t process_keys[] = {
    [KM_ARRIVAL_TRACE] = 0,
    [KM_ARRIVAL_POISSON] = BIT(RATE) | OPEN_OPTIONS,
    [KM_ARRIVAL_GAMMA] = BIT(RATE) | BIT(CV) | OPEN_OPTIONS,
    [KM_ARRIVAL_WEIBULL] = BIT(RATE) | BIT(CV) | OPEN_OPTIONS,
    [KM_ARRIVAL_CONSTANT] = BIT(RATE) | OPEN_OPTIONS,
    [KM_ARRIVAL_CLOSED_LOOP] = BIT(CLIENTS) | BIT(THINK),
    [KM_ARRIVAL_AT_ONCE] = 0,
};

static enum km_status read_think(const struct km_yaml *value, void *field,
                                 const struct km_settings_context *context, struct km_error *error)
{
    return km_distribution_read(value, false, field, context, error);
}

#define AT(member) offsetof(struct km_workload_settings, member)
/* In the order of enum arrival_key. */
static const struct km_setting arrival_settings[] = {
    {"process", KM_SETTING_ENUM, AT(process), .names = process_names, .doc = "how requests arrive"},
    {"rate_per_s", KM_SETTING_NUMBER, AT(rate_per_s), KM_BETWEEN(1e-6, 1e9), .optional = true,
     .doc = "poisson, gamma, weibull, constant"},
    {"cv", KM_SETTING_NUMBER, AT(cv), KM_BETWEEN(0.01, 100), .optional = true,
     .doc = "gamma, weibull: coefficient of variation of the gaps"},
    {"clients", KM_SETTING_U64, AT(clients), KM_BETWEEN(1, 1 << 24), .optional = true, .doc = "closed_loop"},
    {"think_s", KM_SETTING_CUSTOM, AT(think_s), .optional = true, .read = read_think,
     .table = km_distribution_settings,
     .doc = "closed_loop: pause of a client between requests, a number or a distribution"},
    {"swing", KM_SETTING_NUMBER, AT(swing), KM_BETWEEN(0, 1), .optional = true,
     .doc = "poisson, gamma, weibull, constant: the rate swings about its mean by this share, lowest at 0"},
    {"swing_period_s", KM_SETTING_NUMBER, AT(swing_period_s), KM_BETWEEN(1, KM_TIME_LIMIT_S),
     .optional = true, .doc = "of the swing; a day unless given"},
    {0},
};

static enum km_status read_arrivals(const struct km_yaml *value, void *field,
                                    const struct km_settings_context *context, struct km_error *error)
{
    struct km_workload_settings *workload = field;
    uint64_t given;
    workload->swing = 0;
    workload->swing_period_s = 86400;
    enum km_status status =
        km_settings_read(value, arrival_settings, KM_SETTINGS_WHOLE, workload, &given, context, error);
    if (status != KM_OK)
        return status;
    for (int key = RATE; key <= SWING_PERIOD; key++) {
        const char *name = arrival_settings[key].key;
        bool wanted = process_keys[workload->process] & BIT(key);
        if ((given & BIT(key)) && !wanted)
            return km_yaml_fail_key(km_yaml_get(value, name), error, "not a parameter of %s",
                                    process_names[workload->process]);
        if (!(given & BIT(key)) && wanted && !(OPTIONAL & BIT(key)))
            return km_yaml_fail_missing(value, name, error);
    }
    return KM_OK;
}

static void write_arrivals(const void *field, struct km_text *out)
{
    const struct km_workload_settings *w = field;
    uint64_t keys = process_keys[w->process];
    km_text_printf(out, "{\"process\": \"%s\"", process_names[w->process]);
    if (keys & BIT(RATE)) {
        km_text_puts(out, ", \"rate_per_s\": ");
        km_settings_write_number(w->rate_per_s, out);
    }
    if (keys & BIT(CV)) {
        km_text_puts(out, ", \"cv\": ");
        km_settings_write_number(w->cv, out);
    }
    if ((keys & BIT(SWING)) && w->swing > 0) {
        km_text_puts(out, ", \"swing\": ");
        km_settings_write_number(w->swing, out);
        km_text_puts(out, ", \"swing_period_s\": ");
        km_settings_write_number(w->swing_period_s, out);
    }
    if (keys & BIT(CLIENTS)) {
        km_text_printf(out, ", \"clients\": %llu, \"think_s\": ", (unsigned long long)w->clients);
        km_distribution_write(&w->think_s, out);
    }
    km_text_puts(out, "}");
}

/* --- sessions ------------------------------------------------------------------------------------------ */

static enum km_status read_turn_think(const struct km_yaml *value, void *field,
                                      const struct km_settings_context *context, struct km_error *error)
{
    struct km_workload_settings *w = field;
    w->has_turn_think = !km_yaml_is_null(value);
    return w->has_turn_think ? km_distribution_read(value, false, &w->turn_think_s, context, error) : KM_OK;
}

static void write_turn_think(const void *field, struct km_text *out)
{
    const struct km_workload_settings *w = field;
    km_distribution_write(&w->turn_think_s, out);
}

static bool has_no_turn_think(const void *field)
{
    return !((const struct km_workload_settings *)field)->has_turn_think;
}

static bool says_nothing_of_sessions(const void *field)
{
    return ((const struct km_workload_settings *)field)->turns == KM_TURNS_UNSTATED;
}

/* In the order of enum km_turns_arrive and enum km_turn_prompts. */
static const char *const turns_names[] = {"unstated", "recorded", "after_answer", NULL};
static const char *const prompts_names[] = {"unstated", "whole", "added", NULL};

static const struct km_setting session_settings[] = {
    {"turns", KM_SETTING_ENUM, AT(turns), .names = turns_names,
     .doc = "when later turns arrive: recorded, or after_answer, their delay after the turn before was "
            "answered"},
    {"think_s", KM_SETTING_CUSTOM, 0, .optional = true, .read = read_turn_think, .write = write_turn_think,
     .absent = has_no_turn_think, .table = km_distribution_settings,
     .doc = "after_answer: that delay, a number or a distribution, instead of the trace's"},
    {"prompts", KM_SETTING_ENUM, AT(turn_prompts), .names = prompts_names, .optional = true,
     .doc =
         "after_answer: a later turn's prompt is whole, all that is sent, or added to what was said before"},
    {0},
};

/* --- ends ----------------------------------------------------------------------------------------------- */

static enum km_status read_cancel_after(const struct km_yaml *value, void *field,
                                        const struct km_settings_context *context, struct km_error *error)
{
    struct km_workload_settings *w = field;
    w->has_cancel_after = !km_yaml_is_null(value);
    return w->has_cancel_after ? km_distribution_read(value, false, &w->cancel_after_s, context, error)
                               : KM_OK;
}

static enum km_status read_cancel_tokens(const struct km_yaml *value, void *field,
                                         const struct km_settings_context *context, struct km_error *error)
{
    struct km_workload_settings *w = field;
    w->has_cancel_tokens = !km_yaml_is_null(value);
    return w->has_cancel_tokens ? km_distribution_read(value, true, &w->cancel_tokens, context, error)
                                : KM_OK;
}

static void write_cancel_after(const void *field, struct km_text *out)
{
    km_distribution_write(&((const struct km_workload_settings *)field)->cancel_after_s, out);
}

static void write_cancel_tokens(const void *field, struct km_text *out)
{
    km_distribution_write(&((const struct km_workload_settings *)field)->cancel_tokens, out);
}

static bool has_no_cancel_after(const void *field)
{
    return !((const struct km_workload_settings *)field)->has_cancel_after;
}

static bool has_no_cancel_tokens(const void *field)
{
    return !((const struct km_workload_settings *)field)->has_cancel_tokens;
}

static bool nobody_cancels(const void *field)
{
    return !(((const struct km_workload_settings *)field)->cancel_share > 0);
}

static bool ends_by_length(const void *field)
{
    return !*(const bool *)field;
}

static const struct km_setting cancel_settings[] = {
    {"share", KM_SETTING_NUMBER, AT(cancel_share), KM_BETWEEN(0, 1), .doc = "of the requests"},
    {"after_s", KM_SETTING_CUSTOM, 0, .optional = true, .read = read_cancel_after,
     .write = write_cancel_after, .absent = has_no_cancel_after, .table = km_distribution_settings,
     .doc = "since the request was sent, a number or a distribution"},
    {"after_tokens", KM_SETTING_CUSTOM, 0, .optional = true, .read = read_cancel_tokens,
     .write = write_cancel_tokens, .absent = has_no_cancel_tokens, .table = km_distribution_settings,
     .doc = "with so many output tokens, a number or a distribution"},
    {0},
};

/* --- trace and lengths --------------------------------------------------------------------------------- */

static enum km_status read_trace(const struct km_yaml *value, void *field,
                                 const struct km_settings_context *context, struct km_error *error)
{
    const char **path = field;
    const char *text;
    if (km_yaml_is_null(value)) {
        *path = NULL;
        return KM_OK;
    }
    enum km_status status = km_settings_text(value, "a path", &text, error);
    if (status != KM_OK)
        return status;
    *path = context->folder ? km_lookup_path(text, context->folder, context->arena)
                            : km_arena_strdup(context->arena, text);
    if (context->folder && !km_file_exists(*path))
        return km_yaml_fail(value, error, "no such file \"%s\"", text);
    return KM_OK;
}

static void write_trace(const void *field, struct km_text *out)
{
    km_settings_write_string(*(const char *const *)field, out);
}

static enum km_status read_lengths(const struct km_yaml *value, bool *has, struct km_distribution *out,
                                   const struct km_settings_context *context, struct km_error *error)
{
    *has = !km_yaml_is_null(value);
    return *has ? km_distribution_read(value, true, out, context, error) : KM_OK;
}

static enum km_status read_prompt(const struct km_yaml *value, void *field,
                                  const struct km_settings_context *context, struct km_error *error)
{
    struct km_workload_settings *w = field;
    return read_lengths(value, &w->has_prompt_tokens, &w->prompt_tokens, context, error);
}

static enum km_status read_output(const struct km_yaml *value, void *field,
                                  const struct km_settings_context *context, struct km_error *error)
{
    struct km_workload_settings *w = field;
    return read_lengths(value, &w->has_output_tokens, &w->output_tokens, context, error);
}

static void write_lengths(bool has, const struct km_distribution *distribution, struct km_text *out)
{
    if (has)
        km_distribution_write(distribution, out);
    else
        km_text_puts(out, "null");
}

static void write_prompt(const void *field, struct km_text *out)
{
    const struct km_workload_settings *w = field;
    write_lengths(w->has_prompt_tokens, &w->prompt_tokens, out);
}

static void write_output(const void *field, struct km_text *out)
{
    const struct km_workload_settings *w = field;
    write_lengths(w->has_output_tokens, &w->output_tokens, out);
}

const struct km_setting km_workload_section[] = {
    {"trace", KM_SETTING_CUSTOM, AT(trace), .optional = true, .read = read_trace, .write = write_trace,
     .doc = "file of recorded requests"},
    {"trace_format", KM_SETTING_CHOICE, AT(trace_format), .registry = km_trace_registry, .optional = true,
     .nullable = true, .doc = "null = by the first line"},
    {"arrivals", KM_SETTING_CUSTOM, 0, .optional = true, .read = read_arrivals, .write = write_arrivals,
     .table = arrival_settings, .doc = "{process, ...}; with a trace: replaces its times"},
    {"prompt_tokens", KM_SETTING_CUSTOM, 0, .optional = true, .read = read_prompt, .write = write_prompt,
     .table = km_distribution_settings, .doc = "number or distribution; with a trace: replaces its lengths"},
    {"output_tokens", KM_SETTING_CUSTOM, 0, .optional = true, .read = read_output, .write = write_output,
     .table = km_distribution_settings, .doc = "number or distribution; with a trace: replaces its lengths"},
    {"sessions", KM_SETTING_SECTION, 0, .table = session_settings, .optional = true,
     .absent = says_nothing_of_sessions, .doc = "do the turns of a trace's sessions wait for their answers?"},
    {"ends_by_eos", KM_SETTING_BOOL, AT(ends_by_eos), .optional = true, .absent = ends_by_length,
     .doc = "outputs whose trace states no max_tokens end before theirs, which the engine sees a step late"},
    {"cancel", KM_SETTING_SECTION, 0, .table = cancel_settings, .optional = true, .absent = nobody_cancels,
     .doc = "clients that give up, at the sooner of both"},
    {"requests", KM_SETTING_U64, AT(requests), KM_BETWEEN(1, 1e12), .optional = true, .nullable = true,
     .doc = "how many; null = all of the trace"},
    {"rate_scale", KM_SETTING_NUMBER, AT(rate_scale), KM_BETWEEN(1e-6, 1e6), .optional = true,
     .doc = "divides every gap between arrivals"},
    {"start_s", KM_SETTING_NUMBER, AT(start_s), KM_BETWEEN(0, KM_TIME_LIMIT_S), .optional = true,
     .doc = "where to begin, in the stream's own time before scaling"},
    {"end_s", KM_SETTING_NUMBER, AT(end_s), KM_ABOVE_UP_TO(0, KM_TIME_LIMIT_S), .optional = true,
     .nullable = true, .doc = "where to end; null = nowhere"},
    {"bootstrap_block_s", KM_SETTING_NUMBER, AT(bootstrap_block_s),
     KM_ZERO_OR(1e-3, KM_TIME_LIMIT_S, NULL), /* a block holds bursts; within a millisecond there are none */
     .optional = true,
     .doc = "run on blocks of the trace drawn by the seed, each this long; 0 = on the trace as it is"},
    {"bootstrap_length", KM_SETTING_NUMBER, AT(bootstrap_length), KM_BETWEEN(1e-3, 1e6), .optional = true,
     .doc = "how long the bootstrap is, over the trace's window"},
    {"prompt_tokens_scale", KM_SETTING_NUMBER, AT(prompt_tokens_scale), KM_BETWEEN(1e-3, 1e3),
     .optional = true, .doc = "multiplies every prompt's length; other than 1: without its prefix hashes"},
    {"output_tokens_scale", KM_SETTING_NUMBER, AT(output_tokens_scale), KM_BETWEEN(1e-3, 1e3),
     .optional = true, .doc = "multiplies every output's length"},
    {"patience_s", KM_SETTING_NUMBER, AT(patience_s), KM_ABOVE_UP_TO(0, KM_TIME_LIMIT_S), .optional = true,
     .nullable = true, .doc = "a request not scheduled by then leaves; null = it waits for ever"},
    {0},
};

enum km_status km_workload_section_check(const struct km_yaml *mapping, struct km_workload_settings *workload,
                                         struct km_error *error)
{
    bool closed = workload->process == KM_ARRIVAL_CLOSED_LOOP;
    if (!workload->trace && !km_yaml_get(mapping, "arrivals"))
        return km_yaml_fail(mapping, error, "needs a trace or arrivals");
    if (!workload->trace && workload->process == KM_ARRIVAL_TRACE)
        return km_yaml_fail_missing(mapping, "trace", error);
    if (!workload->trace && workload->trace_format)
        return km_yaml_fail_key(km_yaml_get(mapping, "trace_format"), error, "there is no trace");
    if (!workload->trace && !workload->has_prompt_tokens)
        return km_yaml_fail_missing(mapping, "prompt_tokens", error);
    if (!workload->trace && !workload->has_output_tokens)
        return km_yaml_fail_missing(mapping, "output_tokens", error);
    if (!workload->trace && workload->requests == 0 && !(workload->end_s > 0))
        return km_yaml_fail(mapping, error, "arrivals never end: give requests or end_s");
    if (!workload->trace && workload->bootstrap_block_s > 0)
        return km_yaml_fail_key(km_yaml_get(mapping, "bootstrap_block_s"), error, "there is no trace");
    if (!workload->trace && workload->process == KM_ARRIVAL_AT_ONCE && workload->requests == 0)
        return km_yaml_fail(mapping, error, "all arrive at once: requests must say how many");
    if (!workload->trace && workload->process == KM_ARRIVAL_AT_ONCE && workload->start_s > 0)
        return km_yaml_fail_key(km_yaml_get(mapping, "start_s"), error,
                                "has no meaning when all arrive at once, without a trace");
    const struct km_yaml *cancel = km_yaml_get(mapping, "cancel");
    if (cancel && !workload->has_cancel_after && !workload->has_cancel_tokens)
        return km_yaml_fail(cancel, error, "when? give after_s, after_tokens or both");
    const struct km_yaml *sessions = km_yaml_get(mapping, "sessions");
    if (workload->turns != KM_TURNS_AFTER_ANSWER)
        for (int i = 1; sessions && session_settings[i].key; i++)
            if (km_yaml_get(sessions, session_settings[i].key))
                return km_yaml_fail_key(km_yaml_get(sessions, session_settings[i].key), error,
                                        "needs turns: after_answer");
    if (workload->end_s > 0 && workload->end_s <= workload->start_s)
        return km_yaml_fail(km_yaml_get(mapping, "end_s"), error, "must be after start_s");
    if (closed && (workload->rate_scale < 1 || workload->rate_scale > 1))
        return km_yaml_fail_key(km_yaml_get(mapping, "rate_scale"), error,
                                "has no meaning in a closed loop; change clients or think_s");
    if (closed && !workload->trace && workload->start_s > 0)
        return km_yaml_fail_key(km_yaml_get(mapping, "start_s"), error,
                                "has no meaning in a closed loop without a trace");
    return KM_OK;
}
