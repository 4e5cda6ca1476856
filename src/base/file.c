#include "base/file.h"

#include "base/memory.h"

#include <errno.h>
#include <stdio.h>
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
