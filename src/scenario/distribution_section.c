#include "base/file.h"
#include "scenario/lookup.h"
#include "scenario/sections.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT_BYTES ((size_t)64 << 20)

/* What may stand in the mapping; the kind decides what of it must and must not. */
struct draft {
    int kind;
    double value, mean, sd, cv, mu, sigma, exponent, min, max;
    const char *file;
    const struct km_yaml *values, *weights;
};

enum bit { KIND, VALUE, MEAN, SD, CV, MU, SIGMA, EXPONENT, MIN, MAX, VALUES, WEIGHTS, FROM_FILE };
#define BIT(i) ((uint64_t)1 << (i))
#define CLIP   (BIT(MIN) | BIT(MAX))

static enum km_status keep_node(const struct km_yaml *value, void *field,
                                const struct km_settings_context *context, struct km_error *error)
{
    (void)context;
    if (value->kind != KM_YAML_SEQUENCE || value->count == 0)
        return km_yaml_fail(value, error, "expected a list of numbers");
    *(const struct km_yaml **)field = value;
    return KM_OK;
}

static const char *const kind_names[] = {"constant", "uniform", "geometric", "lognormal",
                                         "gamma",    "zipf",    "empirical", NULL};

#define AT(member) offsetof(struct draft, member)
/* In the order of enum bit. */
const struct km_setting km_distribution_settings[] = {
    {"distribution", KM_SETTING_ENUM, AT(kind), .names = kind_names, .doc = "kind"},
    {"value", KM_SETTING_NUMBER, AT(value), KM_AT_LEAST(0), .optional = true, .doc = "constant"},
    {"mean", KM_SETTING_NUMBER, AT(mean), KM_ABOVE(0), .optional = true,
     .doc = "geometric, lognormal, gamma"},
    {"sd", KM_SETTING_NUMBER, AT(sd), KM_AT_LEAST(0), .optional = true,
     .doc = "lognormal: standard deviation"},
    {"cv", KM_SETTING_NUMBER, AT(cv), KM_BETWEEN(0, 1000), .optional = true,
     .doc = "gamma: coefficient of variation"},
    {"mu", KM_SETTING_NUMBER, AT(mu), KM_BETWEEN(-700, 700), .optional = true,
     .doc = "lognormal: mean of the logarithm"},
    {"sigma", KM_SETTING_NUMBER, AT(sigma), KM_BETWEEN(0, 1000), .optional = true,
     .doc = "lognormal: standard deviation of the logarithm"},
    {"exponent", KM_SETTING_NUMBER, AT(exponent), KM_BETWEEN(0, 1000), .optional = true, .doc = "zipf"},
    {"min", KM_SETTING_NUMBER, AT(min), KM_AT_LEAST(0), .optional = true, .doc = "values below become this"},
    {"max", KM_SETTING_NUMBER, AT(max), KM_ABOVE(0), .optional = true,
     .doc = "values above become this; zipf: the largest value"},
    {"values", KM_SETTING_CUSTOM, AT(values), .optional = true, .read = keep_node, .doc = "empirical"},
    {"weights", KM_SETTING_CUSTOM, AT(weights), .optional = true, .read = keep_node, .doc = "empirical"},
    {"file", KM_SETTING_STRING, AT(file), .optional = true, .doc = "empirical: lines of value[,weight]"},
    {0},
};

static const struct {
    uint64_t required, allowed; /* beside the kind */
} shapes[] = {
    [KM_DIST_CONSTANT] = {BIT(VALUE), BIT(VALUE)},
    [KM_DIST_UNIFORM] = {CLIP, CLIP},
    [KM_DIST_GEOMETRIC] = {BIT(MEAN), BIT(MEAN) | CLIP},
    [KM_DIST_LOGNORMAL] = {0, BIT(MEAN) | BIT(SD) | BIT(MU) | BIT(SIGMA) | CLIP},
    [KM_DIST_GAMMA] = {BIT(MEAN) | BIT(CV), BIT(MEAN) | BIT(CV) | CLIP},
    [KM_DIST_ZIPF] = {BIT(EXPONENT) | BIT(MAX), BIT(EXPONENT) | CLIP},
    [KM_DIST_EMPIRICAL] = {0, BIT(VALUES) | BIT(WEIGHTS) | BIT(FROM_FILE) | CLIP},
};

static enum km_status check_shape(const struct km_yaml *value, const struct draft *draft, uint64_t given,
                                  struct km_error *error)
{
    const char *kind = kind_names[draft->kind];
    for (int bit = VALUE; bit <= FROM_FILE; bit++) {
        const char *key = km_distribution_settings[bit].key;
        if ((given & BIT(bit)) && !(shapes[draft->kind].allowed & BIT(bit)))
            return km_yaml_fail_key(km_yaml_get(value, key), error, "not a parameter of %s", kind);
        if (!(given & BIT(bit)) && (shapes[draft->kind].required & BIT(bit)))
            return km_yaml_fail_missing(value, key, error);
    }
    if (draft->kind == KM_DIST_LOGNORMAL && given != (BIT(KIND) | BIT(MEAN) | BIT(SD) | (given & CLIP)) &&
        given != (BIT(KIND) | BIT(MU) | BIT(SIGMA) | (given & CLIP)))
        return km_yaml_fail(value, error, "lognormal takes either mean and sd or mu and sigma");
    if (draft->kind == KM_DIST_EMPIRICAL && !(given & BIT(VALUES)) == !(given & BIT(FROM_FILE)))
        return km_yaml_fail(value, error, "empirical takes either values or file");
    if ((given & BIT(FROM_FILE)) && (given & BIT(WEIGHTS)))
        return km_yaml_fail_key(km_yaml_get(value, "weights"), error, "the file brings its own weights");
    if ((given & CLIP) == CLIP && draft->max < draft->min)
        return km_yaml_fail(km_yaml_get(value, "max"), error, "must not be below min");
    return KM_OK;
}

static enum km_status whole(const struct km_yaml *value, double number, struct km_error *error)
{
    if (number == floor(number) && number >= 1 && number <= KM_TOKENS_LIMIT)
        return KM_OK;
    char got[96];
    km_yaml_describe(value, got, sizeof got);
    return km_yaml_fail(value, error, "expected an integer from 1 to %u, got %s", KM_TOKENS_LIMIT, got);
}

/* Numbers that are themselves token counts. */
static enum km_status check_whole(const struct km_yaml *value, const struct draft *draft, uint64_t given,
                                  struct km_error *error)
{
    const struct {
        enum bit bit;
        double number;
    } counts[] = {{VALUE, draft->value}, {MIN, draft->min}, {MAX, draft->max}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        if (!(given & BIT(counts[i].bit)))
            continue;
        enum km_status status =
            whole(km_yaml_get(value, km_distribution_settings[counts[i].bit].key), counts[i].number, error);
        if (status != KM_OK)
            return status;
    }
    return KM_OK;
}

static enum km_status read_list(const struct km_yaml *list, bool tokens, struct km_arena *arena,
                                const double **out, struct km_error *error)
{
    static const struct km_range range = {.min = 0, .has_min = true};
    double *numbers = km_arena_alloc(arena, list->count * sizeof *numbers);
    for (size_t i = 0; i < list->count; i++) {
        enum km_status status = km_settings_number(list->items[i], &range, &numbers[i], error);
        if (status == KM_OK && tokens)
            status = whole(list->items[i], numbers[i], error);
        if (status != KM_OK)
            return status;
    }
    *out = numbers;
    return KM_OK;
}

/* A number at *at of one line; it ends at "," or the line's end. */
static bool parse_cell(const char *at, const char *end, double *out)
{
    char text[64];
    size_t length = (size_t)(end - at);
    if (length == 0 || length >= sizeof text)
        return false;
    memcpy(text, at, length);
    text[length] = '\0';
    if (strspn(text, "0123456789.eE+-") != length)
        return false;
    char *stop;
    *out = strtod(text, &stop);
    return *stop == '\0' && isfinite(*out);
}

static enum km_status parse_line(const char *path, int number, const char *line, const char *end, bool tokens,
                                 double *value, double *weight, struct km_error *error)
{
    const char *comma = memchr(line, ',', (size_t)(end - line));
    *weight = 1;
    if (!parse_cell(line, comma ? comma : end, value) || *value < 0)
        return km_fail(error, KM_BAD_INPUT, path, number, 1,
                       "expected value[,weight], the value a number ≥ 0");
    if (tokens && (*value != floor(*value) || *value < 1 || *value > KM_TOKENS_LIMIT))
        return km_fail(error, KM_BAD_INPUT, path, number, 1, "expected an integer from 1 to %u",
                       KM_TOKENS_LIMIT);
    if (comma && (!parse_cell(comma + 1, end, weight) || *weight < 0))
        return km_fail(error, KM_BAD_INPUT, path, number, (int)(comma - line) + 2,
                       "expected a weight, a number ≥ 0");
    return KM_OK;
}

static enum km_status read_file(const char *path, bool tokens, struct km_distribution *out,
                                struct km_arena *arena, struct km_error *error)
{
    char *text;
    size_t bytes, lines = 1;
    enum km_status status = km_file_read(path, FILE_LIMIT_BYTES, &text, &bytes, error);
    if (status != KM_OK)
        return status;
    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    double *values = km_arena_alloc(arena, lines * sizeof *values);
    double *weights = km_arena_alloc(arena, lines * sizeof *weights);
    size_t count = 0;
    int number = 0;
    const char *next;
    for (const char *line = text; status == KM_OK && line < text + bytes; line = next) {
        const char *newline = memchr(line, '\n', (size_t)(text + bytes - line));
        const char *end = newline ? newline : text + bytes;
        next = end + 1;
        number++;
        if (end > line && end[-1] == '\r')
            end--;
        if (end == line || *line == '#')
            continue;
        status = parse_line(path, number, line, end, tokens, &values[count], &weights[count], error);
        count++;
    }
    free(text);
    out->count = count;
    out->values = values;
    out->weights = weights;
    if (status == KM_OK && count == 0)
        return km_fail(error, KM_BAD_INPUT, path, 0, 0, "no values in it");
    return status;
}

static enum km_status read_empirical(const struct km_yaml *value, const struct draft *draft, bool tokens,
                                     struct km_distribution *out, const struct km_settings_context *context,
                                     struct km_error *error)
{
    if (draft->file) {
        if (!context->folder)
            return km_yaml_fail(km_yaml_get(value, "file"), error, "files cannot be read here");
        const char *path = km_lookup_path(draft->file, context->folder, context->arena);
        if (!km_file_exists(path))
            return km_yaml_fail(km_yaml_get(value, "file"), error, "no such file \"%s\"", draft->file);
        return read_file(path, tokens, out, context->arena, error);
    }
    out->count = draft->values->count;
    enum km_status status = read_list(draft->values, tokens, context->arena, &out->values, error);
    if (status != KM_OK || !draft->weights)
        return status;
    if (draft->weights->count != draft->values->count)
        return km_yaml_fail(draft->weights, error, "%zu weights for %zu values", draft->weights->count,
                            draft->values->count);
    return read_list(draft->weights, false, context->arena, &out->weights, error);
}

enum km_status km_distribution_read(const struct km_yaml *value, bool tokens, struct km_distribution *out,
                                    const struct km_settings_context *context, struct km_error *error)
{
    struct draft draft = {0};
    uint64_t given;
    enum km_status status;
    *out = (struct km_distribution){.kind = KM_DIST_CONSTANT};
    if (value->kind == KM_YAML_SCALAR) {
        static const struct km_range range = {.min = 0, .has_min = true};
        status = km_settings_number(value, &range, &out->value, error);
        if (status == KM_OK && tokens)
            status = whole(value, out->value, error);
        return status;
    }
    status =
        km_settings_read(value, km_distribution_settings, KM_SETTINGS_WHOLE, &draft, &given, context, error);
    if (status == KM_OK)
        status = check_shape(value, &draft, given, error);
    if (status == KM_OK && tokens)
        status = check_whole(value, &draft, given, error);
    if (status != KM_OK)
        return status;
    *out = (struct km_distribution){.kind = (enum km_distribution_kind)draft.kind,
                                    .value = draft.value,
                                    .mean = draft.mean,
                                    .cv = draft.cv,
                                    .mu = draft.mu,
                                    .sigma = draft.sigma,
                                    .exponent = draft.exponent,
                                    .min = draft.min,
                                    .max = draft.max};
    if (draft.kind == KM_DIST_LOGNORMAL && (given & BIT(MEAN))) {
        km_lognormal_from_moments(draft.mean, draft.sd, &out->mu, &out->sigma);
        out->mean = 0;
    }
    if (draft.kind == KM_DIST_ZIPF) {
        out->limit = draft.max;
        out->max = 0;
    }
    if (draft.kind == KM_DIST_EMPIRICAL)
        status = read_empirical(value, &draft, tokens, out, context, error);
    const char *problem = status == KM_OK ? km_distribution_problem(out, tokens) : NULL;
    return problem ? km_yaml_fail(value, error, "%s", problem) : status;
}

static void write_parameter(const char *key, double value, struct km_text *out)
{
    km_text_printf(out, ", \"%s\": ", key);
    km_settings_write_number(value, out);
}

static void write_list(const char *key, const double *numbers, size_t count, struct km_text *out)
{
    km_text_printf(out, ", \"%s\": [", key);
    for (size_t i = 0; i < count; i++) {
        km_text_puts(out, i ? ", " : "");
        km_settings_write_number(numbers[i], out);
    }
    km_text_puts(out, "]");
}

void km_distribution_write(const struct km_distribution *d, struct km_text *out)
{
    km_text_printf(out, "{\"distribution\": \"%s\"", kind_names[d->kind]);
    switch (d->kind) {
    case KM_DIST_CONSTANT:
        write_parameter("value", d->value, out);
        break;
    case KM_DIST_UNIFORM:
        write_parameter("min", d->min, out);
        write_parameter("max", d->max, out);
        km_text_puts(out, "}");
        return;
    case KM_DIST_GEOMETRIC:
        write_parameter("mean", d->mean, out);
        break;
    case KM_DIST_LOGNORMAL:
        write_parameter("mu", d->mu, out);
        write_parameter("sigma", d->sigma, out);
        break;
    case KM_DIST_GAMMA:
        write_parameter("mean", d->mean, out);
        write_parameter("cv", d->cv, out);
        break;
    case KM_DIST_ZIPF:
        write_parameter("exponent", d->exponent, out);
        write_parameter("max", d->limit, out);
        break;
    case KM_DIST_EMPIRICAL:
        write_list("values", d->values, d->count, out);
        if (d->weights)
            write_list("weights", d->weights, d->count, out);
        break;
    }
    if (d->min > 0)
        write_parameter("min", d->min, out);
    if (d->max > 0)
        write_parameter("max", d->max, out);
    km_text_puts(out, "}");
}
