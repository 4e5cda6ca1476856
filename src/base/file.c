#include "base/file.h"

#include "base/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum km_status km_file_read(const char *path, size_t limit_bytes, char **out, size_t *out_bytes,
                            struct km_error *error)
{
    *out = NULL;
    *out_bytes = 0;
    FILE *stream = fopen(path, "rb");
    if (!stream)
        return km_fail(error, KM_BAD_INPUT, path, 0, 0, "cannot open: %s", strerror(errno));
    char *bytes = NULL;
    size_t length = 0, capacity = 0;
    for (;;) {
        bytes = km_grow(bytes, &capacity, length + 4096, 1);
        size_t got = fread(bytes + length, 1, capacity - length - 1, stream);
        length += got;
        if (got == 0 || length > limit_bytes)
            break;
    }
    int failed = ferror(stream), reason = errno;
    fclose(stream);
    if (failed || length > limit_bytes) {
        free(bytes);
        if (failed)
            return km_fail(error, KM_BAD_INPUT, path, 0, 0, "cannot read: %s", strerror(reason));
        return km_fail(error, KM_BAD_INPUT, path, 0, 0, "larger than %zu bytes", limit_bytes);
    }
    bytes[length] = '\0';
    *out = bytes;
    *out_bytes = length;
    return KM_OK;
}

bool km_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode) && access(path, R_OK) == 0;
}

enum km_status km_outfile_open(struct km_outfile *file, const char *path, struct km_error *error)
{
    *file = (struct km_outfile){0};
    if (strlen(path) >= sizeof file->path)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "output path longer than %zu bytes",
                       sizeof file->path - 1);
    strcpy(file->path, path);
    struct stat info;
    bool special = stat(path, &info) == 0 && !S_ISREG(info.st_mode);
    if (!special) /* a device or a pipe is written to, never replaced */
        snprintf(file->temporary, sizeof file->temporary, "%s.tmp.%ld", path, (long)getpid());
    file->stream = fopen(special ? path : file->temporary, "wb");
    if (!file->stream)
        return km_fail(error, KM_IO, path, 0, 0, "cannot write: %s", strerror(errno));
    return KM_OK;
}

enum km_status km_outfile_commit(struct km_outfile *file, struct km_error *error)
{
    int bad = ferror(file->stream);
    bad |= fflush(file->stream) != 0;
    bad |= fclose(file->stream) != 0;
    file->stream = NULL;
    if (bad || (file->temporary[0] && rename(file->temporary, file->path) != 0)) {
        int reason = errno;
        if (file->temporary[0])
            remove(file->temporary);
        return km_fail(error, KM_IO, file->path, 0, 0, "cannot write: %s", strerror(reason));
    }
    return KM_OK;
}

void km_outfile_abort(struct km_outfile *file)
{
    if (!file->stream)
        return;
    fclose(file->stream);
    file->stream = NULL;
    if (file->temporary[0])
        remove(file->temporary);
}

enum km_status km_file_write(const char *path, const struct km_text *text, struct km_error *error)
{
    struct km_outfile file;
    enum km_status status = km_outfile_open(&file, path, error);
    if (status != KM_OK)
        return status;
    fwrite(km_text_c(text), 1, text->length, file.stream);
    return km_outfile_commit(&file, error);
}

enum km_status km_make_directory(const char *path, struct km_error *error)
{
    char *copy = km_strdup(path);
    enum km_status status = KM_OK;
    for (char *c = copy + 1; copy[0] && status == KM_OK; c++) {
        if (*c != '/' && *c != '\0')
            continue;
        char end = *c;
        *c = '\0';
        struct stat info;
        if (mkdir(copy, 0777) != 0 && (errno != EEXIST || stat(copy, &info) != 0 || !S_ISDIR(info.st_mode)))
            status = km_fail(error, KM_IO, copy, 0, 0, "cannot create directory: %s", strerror(errno));
        *c = end;
        if (end == '\0')
            break;
    }
    free(copy);
    return status;
}
