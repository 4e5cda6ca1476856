/* `kingman calibrate --compare`: two profiles of one device at the operators of a model. */
#include "calibration/compare.h"
#include "cli/calibrate_commands.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cost/profile/profile.h"
#include "scenario/lookup.h"

#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define ARGUMENTS "--compare PROFILE --with PROFILE --model NAME"

struct flags {
    const char *compare, *with, *model;
    uint64_t tensor_parallel;
    bool summary;
};

static enum km_status find(enum km_lookup_kind kind, const char *option, const char *name,
                           struct km_arena *arena, const char **out, struct km_error *error)
{
    *out = km_lookup_find(kind, name, "", arena);
    return *out ? KM_OK : km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: there is no \"%s\"", option, name);
}

/* The device that a profile was measured on. */
static enum km_status read_device(const char *profile_path, struct km_arena *arena, struct km_device *out,
                                  struct km_error *error)
{
    struct km_profile profile;
    const char *path = NULL;
    enum km_status status = km_profile_read(profile_path, &profile, error);
    if (status != KM_OK)
        return status;
    status = find(KM_LOOKUP_DEVICE, "device of the profile", profile.device, arena, &path, error);
    if (status == KM_OK)
        status = km_device_read(path, arena, out, error);
    km_profile_release(&profile);
    return status;
}

static void print_time(const struct km_compare_row *row, int which)
{
    static const char marks[] = {[KM_ORIGIN_MEASURED] = ' ',
                                 [KM_ORIGIN_INTERPOLATED] = '~',
                                 [KM_ORIGIN_EXTRAPOLATED] = '>',
                                 [KM_ORIGIN_MODEL] = '?'};
    if (row->time_s[which] > 0.0)
        printf(" %11.2f%c", 1e6 * row->time_s[which], marks[row->origin[which]]);
    else
        printf(" %11s ", "-");
}

static void print_rows(const struct km_compare *compare)
{
    printf("%-18s %7s %7s %6s %8s %12s %12s %8s\n", "operator", "n", "k", "rows", "context", "first us",
           "second us", "ratio");
    for (size_t i = 0; i < compare->count; i++) {
        const struct km_compare_row *row = &compare->rows[i];
        if (row->n > 0.0)
            printf("%-18s %7.0f %7.0f %6.0f %8s", row->op, row->n, row->k, row->rows, "");
        else
            printf("%-18s %7s %7s %6.0f %8.0f", row->op, "", "", row->rows, row->context);
        print_time(row, 0);
        print_time(row, 1);
        if (row->time_s[0] > 0.0 && row->time_s[1] > 0.0)
            printf(" %8.3f\n", row->time_s[1] / row->time_s[0]);
        else
            printf(" %8s\n", "-");
    }
}

/* Ratios of an operator whose shapes stand together. */
static void print_summary(const struct km_compare *compare)
{
    printf("%-18s %7s %7s %7s %9s %9s %9s\n", "operator", "n", "k", "shapes", "lowest", "median", "highest");
    for (size_t first = 0, end; first < compare->count; first = end) {
        const struct km_compare_row *row = &compare->rows[first];
        double ratios[KM_COMPARE_ROWS];
        size_t count = 0;
        for (end = first; end < compare->count && strcmp(compare->rows[end].op, row->op) == 0 &&
                          compare->rows[end].n == row->n && compare->rows[end].k == row->k;
             end++)
            if (compare->rows[end].time_s[0] > 0.0 && compare->rows[end].time_s[1] > 0.0)
                ratios[count++] = compare->rows[end].time_s[1] / compare->rows[end].time_s[0];
        gsl_sort(ratios, 1, count);
        printf("%-18s", row->op);
        if (row->n > 0.0)
            printf(" %7.0f %7.0f", row->n, row->k);
        else
            printf(" %7s %7s", "", "");
        if (count)
            printf(" %7zu %9.3f %9.3f %9.3f\n", count, ratios[0],
                   gsl_stats_median_from_sorted_data(ratios, 1, count), ratios[count - 1]);
        else
            printf(" %7zu\n", count);
    }
}

static enum km_status run_compare(const struct flags *flags, struct km_arena *arena, struct km_error *error)
{
    const char *paths[2] = {NULL, NULL}, *model_path = NULL;
    struct km_device device;
    struct km_model model;
    const struct km_engine engine = {.name = "ideal"};
    if (flags->tensor_parallel < 1 || flags->tensor_parallel > 1024)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--tensor-parallel-size: expected 1 to 1024");
    enum km_status status = find(KM_LOOKUP_PROFILE, "--compare", flags->compare, arena, &paths[0], error);
    if (status == KM_OK)
        status = find(KM_LOOKUP_PROFILE, "--with", flags->with, arena, &paths[1], error);
    if (status == KM_OK)
        status = find(KM_LOOKUP_MODEL, "--model", flags->model, arena, &model_path, error);
    if (status == KM_OK)
        status = km_model_read(model_path, arena, &model, error);
    if (status == KM_OK)
        status = read_device(paths[0], arena, &device, error);
    if (status != KM_OK)
        return status;
    const struct km_cost_config config = {
        .model = &model,
        .precision = km_precision_served(&model.precision),
        .layout = {.tensor_parallel = (uint32_t)flags->tensor_parallel, .pipeline_parallel = 1},
        .device = &device,
        .engine = &engine,
        .profile = paths[0]};
    struct km_compare *compare = km_arena_alloc(arena, sizeof *compare);
    status = km_compare_profiles(&config, paths[1], arena, compare, error);
    if (status != KM_OK)
        return status;
    printf("first: %s, second: %s; one rank of %s on %u\n", flags->compare, flags->with, flags->model,
           (unsigned)flags->tensor_parallel);
    if (flags->summary) {
        printf("ratio: second / first\n");
        print_summary(compare);
    } else {
        printf("~ interpolated, > beyond what was measured, - no table; ratio: second / first\n");
        print_rows(compare);
    }
    return KM_OK;
}

int km_calibrate_compare(int argc, char **argv, struct km_error *error)
{
    struct flags flags = {.tensor_parallel = 1};
    const struct km_option options[] = {
        {"--compare", KM_OPTION_TEXT, &flags.compare, "NAME", "a profile (kingman list profiles), or a file"},
        {"--with", KM_OPTION_TEXT, &flags.with, "NAME", "another of the same device"},
        {"--model", KM_OPTION_TEXT, &flags.model, "NAME", "whose operators (kingman list models)"},
        {"--tensor-parallel-size", KM_OPTION_COUNT, &flags.tensor_parallel, "N",
         "ranks that share its layers (1)"},
        {"--summary", KM_OPTION_FLAG, &flags.summary, NULL, "one line an operator"},
        {0},
    };
    bool helped;
    enum km_status status = km_options_read(argc, argv, ARGUMENTS, options, NULL, 0, &helped, error);
    if (status != KM_OK || helped)
        return km_exit_code(status);
    if (!flags.compare || !flags.with || !flags.model)
        return km_exit_code(km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "usage: kingman calibrate " ARGUMENTS));
    struct km_arena arena = {0};
    status = run_compare(&flags, &arena, error);
    km_arena_release(&arena);
    return km_exit_code(status);
}
