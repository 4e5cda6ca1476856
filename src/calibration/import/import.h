/* Importers: measured tables that others have written, as profiles (cost/profile/profile.h).
 *
 * An importer reads a folder or a file and adds rows; it knows the source's units and conventions and nothing
 * of what becomes of the profile. Adding one is one file and one registry line. */
#ifndef KM_CALIBRATION_IMPORT_IMPORT_H
#define KM_CALIBRATION_IMPORT_IMPORT_H

#include "base/registry.h"
#include "cost/profile/profile.h"
#include "hardware/device.h"
#include "model/model.h"

struct km_import_config {
    const char *source;             /* folder or file */
    const struct km_device *device; /* what it was measured on */
    const struct km_model *model;   /* whose layers were measured; NULL = not stated */
    uint32_t tensor_parallel;       /* of the measured layers; for importers that need a model */
};

struct km_importer {
    struct km_entry entry;
    bool needs_model;
    /* Add rows to `profile`, which has path, device and an arena. The provenance it is given to append to is
     * the inside of a JSON object: `"key": value` pairs separated by commas, "source" first. */
    enum km_status (*import)(const struct km_import_config *config, struct km_profile *profile,
                             struct km_text *provenance, struct km_error *error);
};

extern const struct km_entry *const km_import_registry[];

/* Rows of one plain CSV file: what importer `csv` reads, for others whose helpers write it. */
enum km_status km_import_plain(const char *path, struct km_profile *profile, struct km_text *provenance,
                               struct km_error *error);

/* Import, sort, make it fit into `limit_bytes` of JSON (compact.h; 0 = any size) and write its JSON.
 * KM_BAD_INPUT with file, line and column for what cannot be read, is no time, or is there twice. */
enum km_status km_import(const struct km_importer *importer, const struct km_import_config *config,
                         size_t limit_bytes, struct km_text *json, struct km_error *error);

#endif
