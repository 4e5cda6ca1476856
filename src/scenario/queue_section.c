#include "scenario/queue_section.h"

#include "base/settings.h"
#include "scenario/lookup.h"
#include "scenario/sections.h"
#include "workload/token_counts.h"
#include "workload/trace/trace.h"

#include <string.h>

#define TAIL_LIMIT 64
#define CV_LIMIT   100 /* as of a workload's arrivals */

enum key { DISCIPLINE, RATE, SERVICE, TOKENS, TRACE, CAP, SIZE, PATIENCE, SERVERS, ARRIVAL_CV, TAIL };
#define BIT(i) ((uint64_t)1 << (i))

/* In the order of enum key. */
const char *const km_queue_keys[KM_QUEUE_KEYS] = {
    "discipline", "arrival_rate_per_s", "service", "output_tokens", "trace",      "batch_cap",
    "batch_size", "patience_s",         "servers", "arrival_cv",    "wait_tail_s"};

/* --- the section --------------------------------------------------------------------------------------- */

static enum km_status read_tokens(const struct km_yaml *value, void *field,
                                  const struct km_settings_context *context, struct km_error *error)
{
    return km_distribution_read(value, true, field, context, error);
}

static void write_tokens(const void *field, struct km_text *out)
{
    km_distribution_write(field, out);
}

static enum km_status read_trace(const struct km_yaml *value, void *field,
                                 const struct km_settings_context *context, struct km_error *error)
{
    const char *text;
    enum km_status status = km_settings_text(value, "a path", &text, error);
    if (status != KM_OK)
        return status;
    *(const char **)field = km_lookup_path(text, context->folder, context->arena);
    return KM_OK;
}

static void write_trace(const void *field, struct km_text *out)
{
    km_settings_write_string(*(const char *const *)field, out);
}

static enum km_status read_tail(const struct km_yaml *value, void *field,
                                const struct km_settings_context *context, struct km_error *error)
{
    static const struct km_range range = {.min = 0, .has_min = true};
    struct km_queue_section *section = field;
    if (value->kind != KM_YAML_SEQUENCE || value->count > TAIL_LIMIT)
        return km_yaml_fail(value, error, "expected a list of at most %d times in seconds", TAIL_LIMIT);
    section->wait_tail_s = km_arena_alloc(context->arena, value->count * sizeof *section->wait_tail_s + 1);
    section->wait_tail_count = value->count;
    for (size_t i = 0; i < value->count; i++) {
        enum km_status status = km_settings_number(value->items[i], &range, &section->wait_tail_s[i], error);
        if (status != KM_OK)
            return status;
    }
    return KM_OK;
}

#define AT(member) offsetof(struct km_queue_section, member)
static const struct km_setting mg1_service[] = {
    {"a", KM_SETTING_NUMBER, AT(model.a_s), KM_AT_LEAST(0), .doc = "seconds a token"},
    {"c", KM_SETTING_NUMBER, AT(model.c_s), KM_AT_LEAST(0), .optional = true, .doc = "seconds a request"},
    {0},
};

static const struct km_setting batch_service[] = {
    {"k1", KM_SETTING_NUMBER, AT(model.k1_s), KM_AT_LEAST(0), .optional = true,
     .doc = "seconds a request of the prefill"},
    {"k2", KM_SETTING_NUMBER, AT(model.k2_s), KM_AT_LEAST(0), .optional = true, .doc = "seconds a prefill"},
    {"k3", KM_SETTING_NUMBER, AT(model.k3_s), KM_AT_LEAST(0), .optional = true,
     .doc = "seconds a request of a decode step"},
    {"k4", KM_SETTING_NUMBER, AT(model.k4_s), KM_AT_LEAST(0), .optional = true,
     .doc = "seconds a decode step"},
    {0},
};

static const struct km_setting ggc_service[] = {
    {"mean_s", KM_SETTING_NUMBER, AT(model.service_s), KM_ABOVE(0), .doc = "mean time in service"},
    {"cv", KM_SETTING_NUMBER, AT(model.service_cv), KM_BETWEEN(0, CV_LIMIT), .optional = true,
     .doc = "its coefficient of variation"},
    {0},
};

static const struct km_setting *service_of(enum km_discipline discipline)
{
    return discipline == KM_DISCIPLINE_MG1   ? mg1_service
           : discipline == KM_DISCIPLINE_GGC ? ggc_service
                                             : batch_service;
}

static enum km_status read_service(const struct km_yaml *value, void *field,
                                   const struct km_settings_context *context, struct km_error *error)
{
    struct km_queue_section *section = field; /* the discipline was read before */
    return km_settings_read(value, service_of(section->model.discipline), KM_SETTINGS_WHOLE, section, NULL,
                            context, error);
}

/* In the order of enum key. */
static const struct km_setting queue_settings[] = {
    {"discipline", KM_SETTING_ENUM, AT(model.discipline), .names = km_discipline_names,
     .doc = "how requests are served"},
    {"arrival_rate_per_s", KM_SETTING_NUMBER, AT(model.rate_per_s), KM_ABOVE(0),
     .doc = "arrivals, Poisson unless arrival_cv"},
    {"service", KM_SETTING_CUSTOM, 0, .read = read_service,
     .doc = "{a, c}, {k1, k2, k3, k4} or {mean_s, cv}"},
    {"output_tokens", KM_SETTING_CUSTOM, AT(output_tokens), .optional = true, .read = read_tokens,
     .write = write_tokens, .table = km_distribution_settings, .doc = "number or distribution"},
    {"trace", KM_SETTING_CUSTOM, AT(trace), .optional = true, .read = read_trace, .write = write_trace,
     .doc = "file whose requests give the output tokens"},
    {"batch_cap", KM_SETTING_U64, AT(model.batch_cap), KM_BETWEEN(1, KM_BATCH_LIMIT), .optional = true,
     .doc = "dynamic, elastic_dynamic: largest batch"},
    {"batch_size", KM_SETTING_U64, AT(model.batch_size), KM_BETWEEN(1, KM_BATCH_LIMIT), .optional = true,
     .doc = "fixed, elastic_fixed: size of every batch"},
    {"patience_s", KM_SETTING_NUMBER, AT(model.patience_s), KM_AT_LEAST(0), .optional = true,
     .doc = "mg1: a request not served by then leaves"},
    {"servers", KM_SETTING_U32, AT(model.servers), KM_BETWEEN(1, KM_SERVERS_LIMIT), .optional = true,
     .doc = "ggc: behind the one queue"},
    {"arrival_cv", KM_SETTING_NUMBER, AT(model.arrival_cv), KM_BETWEEN(0, CV_LIMIT), .optional = true,
     .doc = "ggc: coefficient of variation of the gaps"},
    {"wait_tail_s", KM_SETTING_CUSTOM, 0, .optional = true, .read = read_tail,
     .doc = "list of t for P(W > t)"},
    {0},
};

/* What is a parameter of some disciplines only. */
#define TOKEN_KEYS (BIT(TOKENS) | BIT(TRACE))
static const uint64_t discipline_keys[] = {
    [KM_DISCIPLINE_MG1] = TOKEN_KEYS | BIT(PATIENCE),
    [KM_DISCIPLINE_DYNAMIC] = TOKEN_KEYS | BIT(CAP),
    [KM_DISCIPLINE_FIXED] = TOKEN_KEYS | BIT(SIZE),
    [KM_DISCIPLINE_ELASTIC_DYNAMIC] = TOKEN_KEYS | BIT(CAP),
    [KM_DISCIPLINE_ELASTIC_FIXED] = TOKEN_KEYS | BIT(SIZE),
    [KM_DISCIPLINE_GGC] = BIT(SERVERS) | BIT(ARRIVAL_CV),
};

static enum km_status check(const struct km_yaml *mapping, const struct km_queue_section *section,
                            uint64_t given, struct km_error *error)
{
    const char *name = km_discipline_names[section->model.discipline];
    uint64_t own = discipline_keys[section->model.discipline];
    for (int key = TOKENS; key <= ARRIVAL_CV; key++)
        if ((given & BIT(key)) && !(own & BIT(key)))
            return km_yaml_fail_key(km_yaml_get(mapping, km_queue_keys[key]), error, "not a parameter of %s",
                                    name);
    if ((own & BIT(SIZE)) && !(given & BIT(SIZE)))
        return km_yaml_fail_missing(mapping, "batch_size", error);
    if ((own & TOKEN_KEYS) && !(given & TOKEN_KEYS))
        return km_yaml_fail_missing(mapping, "output_tokens", error);
    if ((given & BIT(TOKENS)) && (given & BIT(TRACE)))
        return km_yaml_fail_key(km_yaml_get(mapping, "trace"), error, "not with output_tokens");
    return KM_OK;
}

/* --- tokens of a trace --------------------------------------------------------------------------------- */

static void weigh(const struct km_token_counts *counts, struct km_arena *arena, struct km_distribution *out)
{
    double *values = km_arena_alloc(arena, counts->capacity * sizeof *values);
    double *weights = km_arena_alloc(arena, counts->capacity * sizeof *weights);
    *out = (struct km_distribution){.kind = KM_DIST_EMPIRICAL, .values = values, .weights = weights};
    for (size_t n = 1; n < counts->capacity; n++) {
        if (counts->count[n] == 0)
            continue;
        values[out->count] = (double)n;
        weights[out->count++] = (double)counts->count[n];
    }
}

static enum km_status read_trace_tokens(const char *path, struct km_arena *arena, struct km_distribution *out,
                                        struct km_error *error)
{
    struct km_trace_reader *reader;
    struct km_token_counts counts = {0};
    enum km_status status = km_trace_open(path, NULL, &reader, error);
    if (status != KM_OK)
        return status;
    for (bool found = true; status == KM_OK;) {
        struct km_request request;
        status = km_trace_next(reader, &request, &found, error);
        if (status != KM_OK || !found)
            break;
        km_token_counts_add(&counts, request.output_tokens);
        km_request_release(&request);
    }
    km_trace_close(reader);
    if (status == KM_OK && counts.total == 0)
        status = km_fail(error, KM_BAD_INPUT, path, 0, 0, "the trace has no requests");
    if (status == KM_OK)
        weigh(&counts, arena, out);
    km_token_counts_release(&counts);
    return status;
}

/* --- file and flags ------------------------------------------------------------------------------------ */

/* "a=1,c=2" as "{a: 1, c: 2}", "1,2" as "[1,2]". */
static const char *as_yaml(const char *value, bool list, struct km_arena *arena)
{
    if (*value == '{' || *value == '[' || (!list && !strchr(value, '=')))
        return value;
    struct km_text text = {0};
    km_text_puts(&text, list ? "[" : "{");
    for (const char *c = value; *c; c++) {
        if (*c == '=')
            km_text_puts(&text, ": ");
        else
            km_text_append(&text, c, 1);
    }
    km_text_puts(&text, list ? "]" : "}");
    const char *out = km_arena_strdup(arena, km_text_c(&text));
    km_text_release(&text);
    return out;
}

static enum km_status read_root(const char *path, const struct km_queue_flag flags[KM_QUEUE_KEYS],
                                struct km_arena *arena, struct km_yaml **root, struct km_error *error)
{
    static const char empty[] = "queue: {}";
    enum km_status status = path ? km_yaml_read(path, arena, root, error)
                                 : km_yaml_parse(empty, sizeof empty - 1, "", false, arena, root, error);
    if (status == KM_OK && !km_yaml_get(*root, "queue"))
        return km_yaml_fail_missing(*root, "queue", error);
    for (int i = 0; status == KM_OK && i < KM_QUEUE_KEYS; i++)
        if (flags[i].value)
            status = km_yaml_override(*root, km_arena_printf(arena, "queue.%s", km_queue_keys[i]),
                                      as_yaml(flags[i].value, i == TAIL, arena), flags[i].name, arena, error);
    return status;
}

/* P(W > 0) is Erlang C, what one asks of several servers first. */
static void wait_at_all(struct km_queue_section *section, struct km_arena *arena)
{
    section->wait_tail_count = 1;
    section->wait_tail_s = km_arena_alloc(arena, sizeof *section->wait_tail_s);
    section->wait_tail_s[0] = 0;
}

enum km_status km_queue_section_read(const char *path, const struct km_queue_flag flags[KM_QUEUE_KEYS],
                                     struct km_arena *arena, struct km_queue_section *out,
                                     struct km_error *error)
{
    struct km_settings_context context = {.arena = arena,
                                          .folder = path ? km_lookup_folder(path, arena) : ""};
    struct km_yaml *root;
    uint64_t given = 0;
    *out = (struct km_queue_section){.model = KM_QUEUE_MODEL_NONE};
    enum km_status status = read_root(path, flags, arena, &root, error);
    for (size_t i = 0; status == KM_OK && i < root->count; i++)
        if (strcmp(root->items[i]->key, "queue") != 0)
            status = km_yaml_fail_key(root->items[i], error, "only queue: may stand beside a queue section");
    if (status != KM_OK)
        return status;
    const struct km_yaml *mapping = km_yaml_get(root, "queue");
    status = km_settings_read(mapping, queue_settings, KM_SETTINGS_WHOLE, out, &given, &context, error);
    if (status == KM_OK)
        status = check(mapping, out, given, error);
    if (status == KM_OK && out->model.discipline == KM_DISCIPLINE_GGC && !(given & BIT(TAIL)))
        wait_at_all(out, arena);
    if (status == KM_OK && out->trace)
        status = read_trace_tokens(out->trace, arena, &out->output_tokens, error);
    return status;
}

static void write_number(const char *key, double value, struct km_text *out)
{
    km_text_printf(out, ", \"%s\": ", key);
    km_settings_write_number(value, out);
}

void km_queue_section_write(const struct km_queue_section *section, struct km_text *out)
{
    const struct km_queue_model *model = &section->model;
    uint64_t own = discipline_keys[model->discipline];
    km_text_printf(out, "{\"discipline\": \"%s\"", km_discipline_names[model->discipline]);
    write_number("arrival_rate_per_s", model->rate_per_s, out);
    km_text_puts(out, ", \"service\": ");
    km_settings_write_json(service_of(model->discipline), section, out);
    if (section->trace) {
        km_text_puts(out, ", \"trace\": ");
        km_settings_write_string(section->trace, out);
    } else if (own & BIT(TOKENS)) {
        km_text_puts(out, ", \"output_tokens\": ");
        km_distribution_write(&section->output_tokens, out);
    }
    if (own & BIT(CAP)) {
        if (model->batch_cap == KM_NO_CAP)
            km_text_puts(out, ", \"batch_cap\": null");
        else
            km_text_printf(out, ", \"batch_cap\": %llu", (unsigned long long)model->batch_cap);
    }
    if (own & BIT(SIZE))
        km_text_printf(out, ", \"batch_size\": %llu", (unsigned long long)model->batch_size);
    if ((own & BIT(PATIENCE)) && model->patience_s < HUGE_VAL)
        write_number("patience_s", model->patience_s, out);
    if (own & BIT(SERVERS)) {
        km_text_printf(out, ", \"servers\": %u", model->servers);
        write_number("arrival_cv", model->arrival_cv, out);
    }
    km_text_puts(out, "}");
}
