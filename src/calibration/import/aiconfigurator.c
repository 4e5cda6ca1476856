/* Importer `aiconfigurator`: NVIDIA AIConfigurator's kernel tables of one system, in a folder of plain CSV
 * files that scripts/aiconfigurator-to-csv makes from its Parquet files. Its provenance lines come from
 * there.
 */
#include "calibration/import/import.h"

#include "base/file.h"

static enum km_status import_aiconfigurator(const struct km_import_config *config, struct km_profile *profile,
                                            struct km_text *provenance, struct km_error *error)
{
    static const char *const files[] = {"gemm.csv", "attention_prefill.csv", "attention_decode.csv",
                                        "moe.csv",  "collective.csv",        "scalar.csv"};
    enum km_status status = KM_OK;
    bool first = true;
    for (size_t i = 0; i < sizeof files / sizeof *files && status == KM_OK; i++) {
        const char *path = km_arena_printf(&profile->arena, "%s/%s", config->source, files[i]);
        struct km_text repeated = {0};
        if (!km_file_exists(path))
            continue;
        status = km_import_plain(path, profile, first ? provenance : &repeated, error);
        km_text_release(&repeated);
        first = false;
    }
    if (status == KM_OK && first)
        return km_fail(
            error, KM_BAD_INPUT, config->source, 0, 0,
            "no gemm.csv, attention_prefill.csv, ... in it; scripts/aiconfigurator-to-csv makes them");
    return status;
}

const struct km_importer km_import_aiconfigurator = {
    .entry = {"aiconfigurator", "folder made by scripts/aiconfigurator-to-csv"},
    .import = import_aiconfigurator,
};
