/* kingman trace inspect, kingman trace fit */
#include "cli/trace_commands.h"

#include "base/text.h"
#include "cli/options.h"
#include "workload/trace/fit.h"
#include "workload/trace/trace.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <string.h>

#define BAR_COLUMNS 50

static const char *const process_names[] = {
    [KM_ARRIVAL_POISSON] = "poisson",
    [KM_ARRIVAL_GAMMA] = "gamma",
    [KM_ARRIVAL_WEIBULL] = "weibull",
    [KM_ARRIVAL_CONSTANT] = "constant",
};

/* Read the whole trace into new statistics. The reader stays open for the names of classes. */
static enum km_status gather(const char *path, struct km_trace_reader **reader, struct km_trace_stats **stats,
                             struct km_error *error)
{
    struct km_request request;
    bool found = true;
    uint64_t requests = 0;
    *stats = NULL;
    enum km_status status = km_trace_open(path, NULL, reader, error);
    if (status != KM_OK)
        return status;
    *stats = km_trace_stats_create();
    for (;; requests++) {
        status = km_trace_next(*reader, &request, &found, error);
        if (status != KM_OK || !found)
            break;
        km_trace_stats_add(*stats, &request);
        km_request_release(&request);
    }
    if (status == KM_OK && requests == 0)
        status = km_fail(error, KM_BAD_INPUT, path, 0, 0, "the trace has no requests");
    return status;
}

/* --- text ---------------------------------------------------------------------------------------------- */

static void print_lengths(const char *name, const struct km_token_counts *c, struct km_text *out)
{
    km_text_printf(out, "%-14s %9.2f %9.2f %7" PRIu32, name, km_token_counts_mean(c), km_token_counts_sd(c),
                   c->min);
    static const double quantiles[] = {0.5, 0.9, 0.95, 0.99};
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
        km_text_printf(out, " %7" PRIu32, km_token_counts_quantile(c, quantiles[i]));
    km_text_printf(out, " %8" PRIu32 " %12" PRIu64 "\n", c->max, c->tokens);
}

static void print_burstiness(const struct km_trace_summary *s, struct km_text *out)
{
    km_text_printf(out, "burstiness     gap cv %.3f, dispersion of counts", s->gap_cv);
    bool any = false;
    for (size_t i = 0; i < KM_DISPERSION_WINDOWS; i++) {
        if (s->dispersion[i].windows < 2)
            continue;
        km_text_printf(out, "%s %.3f (%g s)", any ? "," : "", s->dispersion[i].index,
                       s->dispersion[i].window_s);
        any = true;
    }
    km_text_puts(out, any ? "; a Poisson process has 1 everywhere\n" : " unknown: too short\n");
}

static void print_rates(const struct km_trace_summary *s, struct km_text *out)
{
    double most = 0;
    for (size_t i = 0; i < s->rate_count; i++)
        most = s->rates_per_s[i] > most ? s->rates_per_s[i] : most;
    km_text_printf(out, "\n  from s    per s\n");
    for (size_t i = 0; i < s->rate_count; i++) {
        km_text_printf(out, "%8.6g %8.3f ", (double)i * s->rate_window_s, s->rates_per_s[i]);
        int bar = most > 0 ? (int)(s->rates_per_s[i] / most * BAR_COLUMNS + 0.5) : 0;
        while (bar-- > 0)
            km_text_puts(out, "#");
        km_text_puts(out, "\n");
    }
}

static void print_summary(const char *path, const struct km_trace_reader *reader,
                          const struct km_trace_stats *stats, const struct km_trace_summary *s,
                          struct km_text *out)
{
    km_text_printf(out, "trace          %s (%s)\n", path, km_trace_format_of(reader)->entry.name);
    km_text_printf(out, "requests       %" PRIu64 " in %.3f s", s->requests, s->span_s);
    if (s->span_s > 0)
        km_text_printf(out, ", %.4f per s, %.1f output tokens per s\n", s->rate_per_s,
                       (double)s->output->tokens / s->span_s);
    else
        km_text_puts(out, ", all at once\n");
    if (s->span_s > 0)
        print_burstiness(s, out);
    if (s->blocks > 0)
        km_text_printf(out,
                       "prefix blocks  %" PRIu64 " of %u tokens in %" PRIu64 " requests, %" PRIu64
                       " distinct; %.2f %% seen before\n",
                       s->blocks, KM_PREFIX_BLOCK_TOKENS, s->hashed_requests, s->distinct_blocks,
                       100 * (double)s->hit_blocks / (double)s->blocks);
    if (s->sessions > 0)
        km_text_printf(out, "sessions       %" PRIu64 ", %.2f requests each\n", s->sessions,
                       (double)s->session_requests / (double)s->sessions);
    for (uint32_t i = 0; km_trace_class_count(reader) > 1 && i < km_trace_class_count(reader); i++)
        km_text_printf(out, "class          %s: %" PRIu64 " requests\n",
                       i ? km_trace_class_name(reader, i) : "(none)", km_trace_stats_class(stats, i));
    km_text_printf(out, "\n%-14s %9s %9s %7s %7s %7s %7s %7s %8s %12s\n", "tokens", "mean", "sd", "min",
                   "p50", "p90", "p95", "p99", "max", "total");
    print_lengths("prompt", s->prompt, out);
    print_lengths("output", s->output, out);
    if (s->span_s > 0)
        print_rates(s, out);
}

/* --- JSON ---------------------------------------------------------------------------------------------- */

static void add_lengths(cJSON *root, const char *key, const struct km_token_counts *c)
{
    cJSON *object = cJSON_AddObjectToObject(root, key);
    cJSON_AddNumberToObject(object, "mean", km_token_counts_mean(c));
    cJSON_AddNumberToObject(object, "sd", km_token_counts_sd(c));
    cJSON_AddNumberToObject(object, "min", c->min);
    cJSON_AddNumberToObject(object, "p50", km_token_counts_quantile(c, 0.5));
    cJSON_AddNumberToObject(object, "p90", km_token_counts_quantile(c, 0.9));
    cJSON_AddNumberToObject(object, "p95", km_token_counts_quantile(c, 0.95));
    cJSON_AddNumberToObject(object, "p99", km_token_counts_quantile(c, 0.99));
    cJSON_AddNumberToObject(object, "max", c->max);
    cJSON_AddNumberToObject(object, "total", (double)c->tokens);
}

/* A number, or null where it has no value. */
static void add_known(cJSON *object, const char *key, bool known, double value)
{
    if (known)
        cJSON_AddNumberToObject(object, key, value);
    else
        cJSON_AddNullToObject(object, key);
}

static cJSON *summary_json(const char *path, const struct km_trace_reader *reader,
                           const struct km_trace_stats *stats, const struct km_trace_summary *s)
{
    cJSON *root = cJSON_CreateObject();
    bool spans = s->span_s > 0;
    cJSON_AddNumberToObject(root, "schema", 1);
    cJSON_AddStringToObject(root, "trace", path);
    cJSON_AddStringToObject(root, "format", km_trace_format_of(reader)->entry.name);
    cJSON_AddNumberToObject(root, "requests", (double)s->requests);
    cJSON_AddNumberToObject(root, "span_s", s->span_s);
    add_known(root, "rate_per_s", spans, s->rate_per_s);
    add_known(root, "gap_cv", spans, s->gap_cv);
    cJSON *list = cJSON_AddArrayToObject(root, "dispersion");
    for (size_t i = 0; i < KM_DISPERSION_WINDOWS; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "window_s", s->dispersion[i].window_s);
        cJSON_AddNumberToObject(item, "windows", (double)s->dispersion[i].windows);
        add_known(item, "index", s->dispersion[i].windows >= 2, s->dispersion[i].index);
        cJSON_AddItemToArray(list, item);
    }
    add_known(root, "rate_window_s", spans, s->rate_window_s);
    list = cJSON_AddArrayToObject(root, "rates_per_s");
    for (size_t i = 0; i < s->rate_count; i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber(s->rates_per_s[i]));
    add_lengths(root, "prompt_tokens", s->prompt);
    add_lengths(root, "output_tokens", s->output);
    cJSON *prefix = cJSON_AddObjectToObject(root, "prefix");
    cJSON_AddNumberToObject(prefix, "requests", (double)s->hashed_requests);
    cJSON_AddNumberToObject(prefix, "blocks", (double)s->blocks);
    cJSON_AddNumberToObject(prefix, "distinct_blocks", (double)s->distinct_blocks);
    cJSON_AddNumberToObject(prefix, "hit_blocks", (double)s->hit_blocks);
    add_known(prefix, "hit_rate", s->blocks > 0, s->blocks ? (double)s->hit_blocks / (double)s->blocks : 0);
    cJSON_AddNumberToObject(root, "sessions", (double)s->sessions);
    list = cJSON_AddArrayToObject(root, "classes");
    for (uint32_t i = 0; i < km_trace_class_count(reader); i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", km_trace_class_name(reader, i));
        cJSON_AddNumberToObject(item, "requests", (double)km_trace_stats_class(stats, i));
        cJSON_AddItemToArray(list, item);
    }
    return root;
}

static enum km_status write_text(const char *path, const char *text, struct km_error *error)
{
    struct km_outfile file;
    FILE *stream;
    enum km_status status = km_trace_output_open(&file, path, &stream, error);
    if (status != KM_OK)
        return status;
    fputs(text, stream);
    return km_trace_output_close(&file, KM_OK, error);
}

#define INSPECT_ARGUMENTS "FILE [--json FILE|-]"

static int inspect(int argc, char **argv, struct km_error *error)
{
    const char *path, *json_path = NULL;
    const struct km_option options[] = {
        {"--json", KM_OPTION_TEXT, &json_path, "FILE|-",
         "write the statistics as JSON; - prints the JSON alone"},
        {0},
    };
    bool helped;
    struct km_trace_reader *reader = NULL;
    struct km_trace_stats *stats = NULL;
    enum km_status status = km_options_read(argc, argv, INSPECT_ARGUMENTS, options, &path, 1, &helped, error);
    if (status == KM_OK && helped)
        return 0;
    if (status == KM_OK)
        status = gather(path, &reader, &stats, error);
    if (status == KM_OK) {
        struct km_trace_summary summary;
        struct km_text text = {0};
        km_trace_stats_summarize(stats, &summary);
        print_summary(path, reader, stats, &summary, &text);
        if (json_path) {
            cJSON *root = summary_json(path, reader, stats, &summary);
            char *json = cJSON_Print(root);
            struct km_text lines = {0};
            km_text_printf(&lines, "%s\n", json);
            status = write_text(json_path, km_text_c(&lines), error);
            km_text_release(&lines);
            cJSON_free(json);
            cJSON_Delete(root);
        }
        /* --json - prints the JSON alone. */
        if (status == KM_OK && (!json_path || strcmp(json_path, "-") != 0))
            status = write_text("-", km_text_c(&text), error);
        km_text_release(&text);
    }
    km_trace_stats_destroy(stats);
    km_trace_close(reader);
    return km_exit_code(status);
}

/* --- fit ------------------------------------------------------------------------------------------------ */

static void print_length_fits(const char *key, const struct km_token_counts *counts, struct km_text *out)
{
    struct km_length_fit fits[2];
    size_t count = km_length_fit_find(counts, fits);
    for (size_t i = 0; i < count; i++) {
        const struct km_distribution *d = &fits[i].distribution;
        km_text_printf(out, "  %s%s: ", i ? "# " : "", key);
        if (d->kind == KM_DIST_CONSTANT)
            km_text_printf(out, "{distribution: constant, value: %g}", d->value);
        else if (d->kind == KM_DIST_LOGNORMAL)
            km_text_printf(out, "{distribution: lognormal, mu: %.5g, sigma: %.5g, max: %" PRIu32 "}", d->mu,
                           d->sigma, counts->max);
        else
            km_text_printf(out, "{distribution: gamma, mean: %.6g, cv: %.5g, max: %" PRIu32 "}", d->mean,
                           d->cv, counts->max);
        km_text_printf(out, "  # KS distance %.4f\n", fits[i].distance);
    }
}

static void print_arrival_fits(const struct km_trace_stats *stats, struct km_text *out)
{
    struct km_arrival_fit fits[3];
    size_t count = km_fit_arrivals(stats, fits);
    for (size_t i = 0; i < count; i++) {
        km_text_printf(out, "  %sarrivals: {process: %s, rate_per_s: %.6g", i ? "# " : "",
                       process_names[fits[i].process], fits[i].rate_per_s);
        if (fits[i].process == KM_ARRIVAL_GAMMA || fits[i].process == KM_ARRIVAL_WEIBULL)
            km_text_printf(out, ", cv: %.5g", fits[i].cv);
        km_text_printf(out, "}  # KS distance %.4f\n", fits[i].distance);
    }
    if (count == 0)
        km_text_puts(out, "  # arrivals: all requests arrive at once, no rate can be fitted\n");
}

static int fit(int argc, char **argv, struct km_error *error)
{
    static const struct km_option options[] = {{0}};
    const char *path;
    bool helped;
    struct km_trace_reader *reader = NULL;
    struct km_trace_stats *stats = NULL;
    enum km_status status = km_options_read(argc, argv, "FILE", options, &path, 1, &helped, error);
    if (status == KM_OK && helped)
        return 0;
    if (status == KM_OK)
        status = gather(path, &reader, &stats, error);
    if (status == KM_OK) {
        struct km_trace_summary summary;
        struct km_text text = {0};
        km_trace_stats_summarize(stats, &summary);
        km_text_puts(&text, "# The nearest fit of each is in force; the others are comments.\nworkload:\n");
        print_arrival_fits(stats, &text);
        print_length_fits("prompt_tokens", summary.prompt, &text);
        print_length_fits("output_tokens", summary.output, &text);
        km_text_printf(&text, "  requests: %" PRIu64 "\n", summary.requests);
        status = write_text("-", km_text_c(&text), error);
        km_text_release(&text);
    }
    km_trace_stats_destroy(stats);
    km_trace_close(reader);
    return km_exit_code(status);
}

const struct km_command km_trace_inspect = {
    "trace inspect", INSPECT_ARGUMENTS, "statistics of a trace: rates, burstiness, lengths, prefix sharing",
    inspect};
const struct km_command km_trace_fit = {
    "trace fit", "FILE", "distributions nearest to a trace, as a scenario's workload section", fit};
