#include "base/fingerprint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PRIME UINT64_C(0x100000001b3)

uint64_t km_fingerprint_add(uint64_t print, const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < count; i++)
        print = (print ^ at[i]) * PRIME;
    return print;
}

uint64_t km_fingerprint_add_text(uint64_t print, const char *text)
{
    return km_fingerprint_add(print, text, strlen(text) + 1);
}

enum km_status km_fingerprint_add_file(uint64_t *print, const char *path, struct km_error *error)
{
    char buffer[16384];
    FILE *stream = fopen(path, "rb");
    if (!stream)
        return km_fail(error, KM_IO, path, 0, 0, "cannot open: %s", strerror(errno));
    for (size_t got; (got = fread(buffer, 1, sizeof buffer, stream)) > 0;)
        *print = km_fingerprint_add(*print, buffer, got);
    int failed = ferror(stream), reason = errno;
    fclose(stream);
    return failed ? km_fail(error, KM_IO, path, 0, 0, "cannot read: %s", strerror(reason)) : KM_OK;
}
