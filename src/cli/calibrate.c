/* `kingman calibrate`: what was measured, put to use. One of its flags says what is wanted. */
#include "cli/calibrate_commands.h"
#include "cli/command.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct mode {
    const char *flag, *arguments, *doc;
    int (*run)(int argc, char **argv, struct km_error *error);
} modes[] = {
    {"--import", "KIND SOURCE --out FILE", "a profile of a device from tables that others measured",
     km_calibrate_import},
    {"--from-steps", "STEPS.csv --scenario FILE", "an engine's parameters from the log of its steps",
     km_calibrate_steps},
    {"--check", "RESULTS.csv --profile NAME", "how far a profile is from shapes that are not in it",
     km_calibrate_check},
    {"--compare", "PROFILE --with PROFILE", "two profiles of one device, at the operators of a model",
     km_calibrate_compare},
};
#define MODE_COUNT (sizeof modes / sizeof modes[0])

static bool asks_for(const char *argument, const char *flag)
{
    size_t length = strlen(flag);
    return strncmp(argument, flag, length) == 0 && (argument[length] == '\0' || argument[length] == '=');
}

static const struct mode *find_mode(int argc, char **argv)
{
    for (size_t i = 0; i < MODE_COUNT; i++)
        for (int k = 1; k < argc; k++)
            if (asks_for(argv[k], modes[i].flag))
                return &modes[i];
    return NULL;
}

static void print_usage(void)
{
    puts("usage:");
    for (size_t i = 0; i < MODE_COUNT; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", modes[i].flag, modes[i].arguments);
        printf("  kingman calibrate %-40s %s\n", left, modes[i].doc);
    }
    puts("\nAny of these with --help tells more. Measuring a GPU is kingman-calibrate's work "
         "(calibrate/README.md).");
}

static int run(int argc, char **argv, struct km_error *error)
{
    const struct mode *mode = find_mode(argc, argv);
    if (mode)
        return mode->run(argc, argv, error);
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_usage();
        return 0;
    }
    if (argc > 1)
        return km_exit_code(
            km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                    "calibrate: expected --import, --from-steps, --check or --compare, got \"%s\" "
                    "(kingman calibrate --help)",
                    argv[1]));
    return km_exit_code(km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                                "this build cannot measure: configure with \"cmake --preset cuda\" (CUDA "
                                "toolkit and an NVIDIA GPU needed), or take tables that others measured "
                                "(kingman calibrate --help)"));
}

const struct km_command km_command_calibrate = {
    "calibrate", "--import|--from-steps|--check|--compare ...",
    "a profile of a device, or an engine's parameters, from measurements", run};
