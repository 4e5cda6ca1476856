/* Importing tables: what test_import.c and its like share. */
#ifndef KM_TESTS_IMPORTING_H
#define KM_TESTS_IMPORTING_H

#include "calibration/import/import.h"
#include "support/shipped.h"

/* Import as `kingman calibrate --import KIND SOURCE` and read the JSON that comes out. */
enum km_status import_tables(const struct shipped *shipped, const char *kind, const char *source,
                             size_t limit_bytes, struct km_profile *out, struct km_error *error);

/* A row's dims in its class's order. */
#define AT(...) ((const double[KM_PROFILE_DIMS]){__VA_ARGS__})
/* There is a row of these dims with this time. */
void assert_row(const struct km_profile *profile, enum km_profile_class class, const double *dims, double us);

/* A folder under /tmp with files of the texts given, NULL-terminated; removed by remove_folder. */
struct folder_file {
    const char *name, *text;
};
struct folder {
    char path[64];
};
struct folder make_folder(const struct folder_file *files);
void remove_folder(const struct folder *folder);

/* Importing a folder of these files fails with this line, "FOLDER/" before it. */
void assert_import_fails(const struct shipped *shipped, const char *kind, const struct folder_file *files,
                         const char *message);

#endif
