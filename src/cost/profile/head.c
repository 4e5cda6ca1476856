#include "cost/profile/head.h"

#include "base/json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES 16384u /* provenances are a few kilobytes */

/* Offset of the key "tables" of the outermost object; `bytes` when it is not among them. */
static size_t find_tables(const char *text, size_t bytes)
{
    static const char key[] = "\"tables\"";
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else
                quoted = c != '"';
            continue;
        }
        if (c == '"' && depth == 1 && bytes - i > sizeof key && memcmp(text + i, key, sizeof key - 1) == 0 &&
            text[i + sizeof key - 1 + strspn(text + i + sizeof key - 1, " \t\r\n")] == ':')
            return i;
        quoted = c == '"';
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    }
    return bytes;
}

static enum km_status take(const struct km_json *json, struct km_arena *arena, struct km_profile_head *out,
                           struct km_error *error)
{
    const char *device = NULL, *engine = NULL;
    const cJSON *provenance = km_json_get(json->root, "provenance");
    enum km_status status = km_json_string(json, json->root, "device", KM_JSON_REQUIRED, &device, error);
    if (status == KM_OK && provenance)
        status = km_json_string(json, provenance, "engine", KM_JSON_OPTIONAL, &engine, error);
    if (status != KM_OK)
        return status;
    out->device = km_arena_strdup(arena, device);
    out->engine = engine && engine[0] ? km_arena_strdup(arena, engine) : NULL;
    return KM_OK;
}

/* By the text before the tables; false when that is not all there is to say. */
static bool take_beginning(const char *text, size_t bytes, const char *path, struct km_arena *arena,
                           struct km_profile_head *out)
{
    size_t end = find_tables(text, bytes);
    if (end == bytes)
        return false;
    while (end > 0 && strchr(" \t\r\n,", text[end - 1]))
        end--;
    char *head = km_alloc(end + 2);
    memcpy(head, text, end);
    head[end] = '}';
    struct km_json json;
    bool taken = false;
    if (km_json_parse(head, end + 1, path, &json, NULL) == KM_OK) {
        taken = km_json_get(json.root, "provenance") && take(&json, arena, out, NULL) == KM_OK;
        km_json_release(&json);
    }
    free(head);
    return taken;
}

enum km_status km_profile_read_head(const char *path, struct km_arena *arena, struct km_profile_head *out,
                                    struct km_error *error)
{
    *out = (struct km_profile_head){0};
    char text[HEAD_BYTES + 1];
    FILE *file = fopen(path, "rb");
    if (!file)
        return km_fail(error, KM_IO, path, 0, 0, "%s", strerror(errno));
    const size_t bytes = fread(text, 1, HEAD_BYTES, file);
    fclose(file);
    text[bytes] = '\0';
    if (take_beginning(text, bytes, path, arena, out))
        return KM_OK;
    struct km_json json;
    enum km_status status = km_json_read(path, &json, error);
    if (status != KM_OK)
        return status;
    status = take(&json, arena, out, error);
    km_json_release(&json);
    return status;
}
