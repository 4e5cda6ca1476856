#include "support/importing.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum km_status import_tables(const struct shipped *shipped, const char *kind, const char *source,
                             size_t limit_bytes, struct km_profile *out, struct km_error *error)
{
    const struct km_importer *importer =
        (const struct km_importer *)(const void *)km_registry_find(km_import_registry, kind);
    const struct km_import_config config = {
        .source = source, .device = &shipped->device, .model = &shipped->model, .tensor_parallel = 1};
    struct km_text json = {0};
    assert_non_null(importer);
    enum km_status status = km_import(importer, &config, limit_bytes, &json, error);
    if (status == KM_OK)
        must(km_profile_parse(km_text_c(&json), json.length, NULL, out, error), error);
    km_text_release(&json);
    return status;
}

void assert_row(const struct km_profile *profile, enum km_profile_class class, const double *dims, double us)
{
    const struct km_profile_table *table = &profile->tables[class];
    const struct km_profile_row *row = NULL;
    for (size_t i = 0; i < table->count && !row; i++)
        if (memcmp(table->rows[i].dims, dims, sizeof table->rows[i].dims) == 0)
            row = &table->rows[i];
    if (!row)
        fail_msg("%s: no row of these dims, with %g us", km_profile_schemas[class].name, us);
    else if (fabs(row->us - us) > 5e-4 * us) /* profiles keep four digits */
        fail_msg("%s: %g us, expected %g", km_profile_schemas[class].name, row->us, us);
}

struct folder make_folder(const struct folder_file *files)
{
    struct folder folder = {"/tmp/kingman-tables-XXXXXX"};
    assert_non_null(mkdtemp(folder.path));
    for (; files->name; files++) {
        char path[200];
        snprintf(path, sizeof path, "%s/%s", folder.path, files->name);
        FILE *stream = fopen(path, "wb");
        assert_non_null(stream);
        fputs(files->text, stream);
        assert_int_equal(fclose(stream), 0);
    }
    return folder;
}

void remove_folder(const struct folder *folder)
{
    DIR *stream = opendir(folder->path);
    assert_non_null(stream);
    for (const struct dirent *entry = readdir(stream); entry; entry = readdir(stream)) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", folder->path, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    closedir(stream);
    assert_int_equal(rmdir(folder->path), 0);
}

/* The folder's name is another one each time: "FOLDER" stands for it. */
static void name_folder(const char *line, const struct folder *folder, char *out, size_t size)
{
    size_t length = strlen(folder->path), used = 0;
    for (const char *at = line; *at && used + 8 < size;) {
        if (strncmp(at, folder->path, length) == 0) {
            used += (size_t)snprintf(out + used, size - used, "FOLDER");
            at += length;
        } else {
            out[used++] = *at++;
        }
    }
    out[used] = '\0';
}

void assert_import_fails(const struct shipped *shipped, const char *kind, const struct folder_file *files,
                         const char *message)
{
    char line[1200], named[1200], expected[1200];
    struct km_profile profile;
    struct km_error error = {0};
    const struct folder folder = make_folder(files);
    enum km_status status = import_tables(shipped, kind, folder.path, 0, &profile, &error);
    remove_folder(&folder);
    if (status == KM_OK)
        fail_msg("no error, expected: %s", message);
    assert_int_equal(status, KM_BAD_INPUT);
    km_error_format(&error, line, sizeof line);
    name_folder(line, &folder, named, sizeof named);
    snprintf(expected, sizeof expected, "FOLDER%s%s", message[0] == ':' ? "" : "/", message);
    assert_string_equal(named, expected);
}
