/* `kingman calibrate --check`: the errors of a profile at shapes that were measured apart from it. */
#include "calibration/check.h"
#include "cli/calibrate_commands.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cost/profile/profile.h"
#include "scenario/lookup.h"

#include <stdio.h>

#define ARGUMENTS "--check RESULTS.csv --profile NAME"

struct flags {
    const char *check, *profile;
    double median_percent, p95_percent;
};

static bool misses(const struct flags *flags, const struct km_check_line *line)
{
    return !line->again &&
           (100.0 * line->median > flags->median_percent || 100.0 * line->p95 > flags->p95_percent);
}

static bool print(const struct flags *flags, const struct km_check *check)
{
    bool missed = false;
    printf("%-26s %7s %8s %8s %8s %8s %8s\n", "class", "shapes", "bias", "median", "p90", "p95", "worst");
    for (size_t i = 0; i < check->count; i++) {
        const struct km_check_line *line = &check->lines[i];
        char name[64];
        snprintf(name, sizeof name, "%s %s%s", km_profile_schemas[line->class].name,
                 line->format == KM_DTYPE_COUNT ? "" : km_dtype_name(line->format),
                 line->again ? " again" : "");
        printf("%-26s %7zu %+7.1f%% %7.1f%% %7.1f%% %7.1f%% %7.1f%%%s\n", name, line->shapes,
               100.0 * line->bias, 100.0 * line->median, 100.0 * line->p90, 100.0 * line->p95,
               100.0 * line->worst, misses(flags, line) ? "  BEYOND" : "");
        if (line->beyond)
            printf("  %zu of these lie outside the measured range\n", line->beyond);
        missed |= misses(flags, line);
    }
    if (check->unanswered)
        printf("%zu rows are of operators that the profile has no table of\n", check->unanswered);
    printf(
        "targets: median %g %%, 95th percentile %g %%; \"again\" are shapes of the profile, measured anew\n",
        flags->median_percent, flags->p95_percent);
    return missed;
}

static enum km_status run_check(const struct flags *flags, struct km_arena *arena, bool *missed,
                                struct km_error *error)
{
    struct km_profile profile;
    struct km_device device;
    struct km_check check;
    const char *path = km_lookup_find(KM_LOOKUP_PROFILE, flags->profile, "", arena);
    if (!path)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "--profile: unknown profile \"%s\" (kingman list profiles)", flags->profile);
    enum km_status status = km_profile_read(path, &profile, error);
    if (status != KM_OK)
        return status;
    const char *device_path = km_lookup_find(KM_LOOKUP_DEVICE, profile.device, "", arena);
    if (!device_path)
        status = km_fail(error, KM_BAD_INPUT, path, 0, 0, "device: unknown device \"%s\"", profile.device);
    else
        status = km_device_read(device_path, arena, &device, error);
    if (status == KM_OK) {
        km_profile_bind(&profile, &device);
        status = km_check_profile(&profile, &device, flags->check, &check, error);
    }
    if (status == KM_OK)
        *missed = print(flags, &check);
    km_profile_release(&profile);
    return status;
}

int km_calibrate_check(int argc, char **argv, struct km_error *error)
{
    struct flags flags = {.median_percent = 4.0, .p95_percent = 15.0};
    const struct km_option options[] = {
        {"--check", KM_OPTION_TEXT, &flags.check, "FILE",
         "measured shapes, as kingman-calibrate --check writes them"},
        {"--profile", KM_OPTION_TEXT, &flags.profile, "NAME",
         "the profile to check (kingman list profiles), or a file"},
        {"--median", KM_OPTION_NUMBER, &flags.median_percent, "PERCENT",
         "largest median error of a class (4)"},
        {"--p95", KM_OPTION_NUMBER, &flags.p95_percent, "PERCENT", "largest 95th percentile of a class (15)"},
        {0},
    };
    bool helped, missed = false;
    enum km_status status = km_options_read(argc, argv, ARGUMENTS, options, NULL, 0, &helped, error);
    if (status != KM_OK || helped)
        return km_exit_code(status);
    if (!flags.check || !flags.profile)
        return km_exit_code(km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "usage: kingman calibrate " ARGUMENTS));
    struct km_arena arena = {0};
    status = run_check(&flags, &arena, &missed, error);
    km_arena_release(&arena);
    return status != KM_OK ? km_exit_code(status) : missed;
}
