/* `kingman calibrate --import`: a profile of a device from tables that others measured. */
#include "base/yaml.h"
#include "calibration/import/import.h"
#include "cli/calibrate_commands.h"
#include "cli/command.h"
#include "cli/options.h"
#include "model/model.h"
#include "scenario/lookup.h"

#include "base/file.h"
#include "base/outfile.h"
#include "base/suggest.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define ARGUMENTS   "--import KIND SOURCE --out FILE"
#define LIMIT_BYTES (1u << 20)

struct flags {
    const char *import, *device, *model, *out;
    uint64_t tensor_parallel, limit_bytes;
    const char *source;
};

/* The device named, or the one whose name the output's begins with: rtx-4090-llama.json. */
static enum km_status find_device(const struct flags *flags, struct km_arena *arena, struct km_device *out,
                                  struct km_error *error)
{
    const char *name = flags->device, *slash = strrchr(flags->out, '/');
    if (!name) {
        const char *const *names, *stem = slash ? slash + 1 : flags->out;
        size_t count = km_lookup_names(KM_LOOKUP_DEVICE, arena, &names);
        for (size_t i = 0; i < count; i++)
            if (strncmp(names[i], stem, strlen(names[i])) == 0 && (!name || strlen(names[i]) > strlen(name)))
                name = names[i];
        if (!name)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                           "--device: say on which device (kingman list devices) these were measured");
    }
    const char *path = km_lookup_find(KM_LOOKUP_DEVICE, name, "", arena);
    if (!path)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "--device: unknown device \"%s\" (kingman list devices)", name);
    return km_device_read(path, arena, out, error);
}

/* The model named, or the one that the source's notes name: meta-llama/Llama-3.1-8B is llama-3.1-8b. */
static enum km_status find_model(const struct flags *flags, struct km_arena *arena, struct km_model *out,
                                 struct km_error *error)
{
    const char *name = flags->model;
    const char *notes = km_arena_printf(arena, "%s/profile-meta.yaml", flags->source);
    struct km_yaml *root = NULL;
    if (!name && km_file_exists(notes) && km_yaml_read(notes, arena, &root, NULL) == KM_OK) {
        const struct km_yaml *noted = km_yaml_get(root, "model");
        if (noted && noted->kind == KM_YAML_SCALAR) {
            const char *slash = strrchr(noted->text, '/');
            char *lower = km_arena_strdup(arena, slash ? slash + 1 : noted->text);
            for (char *c = lower; *c; c++)
                *c = (char)tolower((unsigned char)*c);
            name = lower;
        }
    }
    if (!name)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "--model: say whose layers (kingman list models) these are");
    const char *path = km_lookup_find(KM_LOOKUP_MODEL, name, "", arena);
    if (!path)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--model: unknown model \"%s\" (kingman list models)",
                       name);
    return km_model_read(path, arena, out, error);
}

static enum km_status import(const struct flags *flags, const struct km_importer *importer,
                             struct km_arena *arena, struct km_error *error)
{
    struct km_device device;
    struct km_model model;
    struct km_text json = {0};
    if (flags->tensor_parallel < 1 || flags->tensor_parallel > 1024)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--tensor-parallel-size: expected 1 to 1024");
    enum km_status status = find_device(flags, arena, &device, error);
    if (status == KM_OK && importer->needs_model)
        status = find_model(flags, arena, &model, error);
    const struct km_import_config config = {.source = flags->source,
                                            .device = &device,
                                            .model = importer->needs_model ? &model : NULL,
                                            .tensor_parallel = (uint32_t)flags->tensor_parallel};
    if (status == KM_OK)
        status = km_import(importer, &config, flags->limit_bytes, &json, error);
    if (status == KM_OK)
        status = km_file_write(flags->out, &json, error);
    if (status == KM_OK)
        fprintf(stderr, "%s: %zu bytes\n", flags->out, json.length);
    km_text_release(&json);
    return status;
}

int km_calibrate_import(int argc, char **argv, struct km_error *error)
{
    struct flags flags = {.tensor_parallel = 1, .limit_bytes = LIMIT_BYTES};
    const struct km_option options[] = {
        {"--import", KM_OPTION_TEXT, &flags.import, "KIND",
         "from tables that others measured: llmservingsim, vidur, aiconfigurator, csv"},
        {"--out", KM_OPTION_TEXT, &flags.out, "FILE", "write the profile there"},
        {"--device", KM_OPTION_TEXT, &flags.device, "NAME",
         "measured on this device; default: the one FILE is named after"},
        {"--model", KM_OPTION_TEXT, &flags.model, "NAME",
         "of tables of one model's layers: which (llmservingsim notes it itself)"},
        {"--tensor-parallel-size", KM_OPTION_COUNT, &flags.tensor_parallel, "N",
         "of those layers: ranks they were divided among (1)"},
        {"--limit-bytes", KM_OPTION_COUNT, &flags.limit_bytes, "N",
         "thin the tables until they fit (1048576; 0 = keep all)"},
        {0},
    };
    bool helped;
    enum km_status status = km_options_read(argc, argv, ARGUMENTS, options, &flags.source, 1, &helped, error);
    if (status != KM_OK || helped)
        return km_exit_code(status);
    if (!flags.import || !flags.out)
        return km_exit_code(km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "usage: kingman calibrate " ARGUMENTS));
    const struct km_importer *importer =
        (const struct km_importer *)(const void *)km_registry_find(km_import_registry, flags.import);
    if (!importer) {
        const char *near = km_suggest_registry(flags.import, km_import_registry);
        return km_exit_code(km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--import: unknown kind \"%s\"%s%s%s",
                                    flags.import, near ? "; did you mean \"" : "", near ? near : "",
                                    near ? "\"?" : " (llmservingsim, vidur, aiconfigurator, csv)"));
    }
    struct km_arena arena = {0};
    status = import(&flags, importer, &arena, error);
    km_arena_release(&arena);
    return km_exit_code(status);
}
