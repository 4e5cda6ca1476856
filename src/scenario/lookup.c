#include "scenario/lookup.h"

#include "base/file.h"
#include "base/settings.h"
#include "base/suggest.h"
#include "base/text.h"
#include "scenario/model_id.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static const char *const roots[] = {".", KM_SOURCE_DIR, KM_INSTALL_DATA_DIR};
#define ROOT_COUNT (sizeof roots / sizeof *roots)

static const struct {
    const char *noun, *folder, *extension;
} kinds[] = {
    [KM_LOOKUP_MODEL] = {"model", "models", ".json"},
    [KM_LOOKUP_DEVICE] = {"device", "configs/devices", ".yaml"},
    [KM_LOOKUP_ENGINE] = {"engine", "configs/engines", ".yaml"},
    [KM_LOOKUP_PROFILE] = {"profile", "configs/profiles", ".json"},
    [KM_LOOKUP_ACCURACY] = {"points", "configs/accuracy", ".csv"},
};

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length > tail && strcmp(text + length - tail, end) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

size_t km_lookup_names(enum km_lookup_kind kind, struct km_arena *arena, const char *const **out)
{
    const char **names = NULL;
    size_t count = 0, capacity = 0;
    for (size_t r = 0; r < ROOT_COUNT; r++) {
        const char *folder = km_arena_printf(arena, "%s/%s", roots[r], kinds[kind].folder);
        DIR *stream = opendir(folder);
        if (!stream)
            continue;
        for (const struct dirent *entry = readdir(stream); entry; entry = readdir(stream)) {
            if (entry->d_name[0] == '.' || !ends_with(entry->d_name, kinds[kind].extension))
                continue;
            char *name = km_arena_strdup(arena, entry->d_name);
            name[strlen(name) - strlen(kinds[kind].extension)] = '\0';
            names = km_grow(names, &capacity, count + 1, sizeof *names);
            names[count++] = name;
        }
        closedir(stream);
    }
    if (count > 0)
        qsort(names, count, sizeof *names, by_name);
    const char **unique = km_arena_alloc(arena, (count + 1) * sizeof *unique);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(unique[kept - 1], names[i]) != 0)
            unique[kept++] = names[i];
    free(names);
    *out = unique;
    return kept;
}

const char *km_lookup_path(const char *path, const char *folder, struct km_arena *arena)
{
    if (path[0] != '/' && folder[0]) {
        const char *inside = km_arena_printf(arena, "%s/%s", folder, path);
        if (km_file_exists(inside))
            return inside;
    }
    return km_arena_strdup(arena, path);
}

const char *km_lookup_folder(const char *path, struct km_arena *arena)
{
    char *folder = km_arena_strdup(arena, path);
    char *slash = strrchr(folder, '/');
    if (!slash)
        return "";
    slash[slash == folder] = '\0'; /* "/a.yaml" lies in "/" */
    return folder;
}

bool km_lookup_is_path(enum km_lookup_kind kind, const char *name)
{
    return strchr(name, '/') || ends_with(name, kinds[kind].extension);
}

/* The file of a shipped model by its repository; NULL: `nearest` may be meant. */
static const char *find_by_id(const char *id, const char **nearest, struct km_arena *arena)
{
    *nearest = NULL;
    for (size_t r = 0; r < ROOT_COUNT; r++) {
        const char *folder =
            km_arena_printf(arena, "%s%s%s", r ? roots[r] : "", r ? "/" : "", kinds[KM_LOOKUP_MODEL].folder);
        const char *near;
        const char *name = km_model_of_id(km_arena_printf(arena, "%s/ids.csv", folder), id, &near, arena);
        *nearest = *nearest ? *nearest : near;
        const char *path = name ? km_arena_printf(arena, "%s/%s.json", folder, name) : NULL;
        if (path && km_file_exists(path))
            return path;
    }
    return NULL;
}

const char *km_lookup_find(enum km_lookup_kind kind, const char *name, const char *folder,
                           struct km_arena *arena)
{
    if (km_lookup_is_path(kind, name)) {
        const char *path = km_lookup_path(name, folder, arena), *nearest;
        if (km_file_exists(path))
            return path;
        return kind == KM_LOOKUP_MODEL && km_is_model_id(name) ? find_by_id(name, &nearest, arena) : NULL;
    }
    for (size_t r = 0; r < ROOT_COUNT; r++) {
        const char *path = km_arena_printf(arena, "%s%s%s/%s%s", r ? roots[r] : "", r ? "/" : "",
                                           kinds[kind].folder, name, kinds[kind].extension);
        if (km_file_exists(path))
            return path;
    }
    return NULL;
}

enum km_status km_lookup(enum km_lookup_kind kind, const struct km_yaml *value, const char *folder,
                         struct km_arena *arena, const char **out, struct km_error *error)
{
    const char *name;
    enum km_status status = km_settings_text(value, "a name or path", &name, error);
    if (status != KM_OK)
        return status;
    if (kind == KM_LOOKUP_MODEL && ends_with(name, ".gguf"))
        return km_yaml_fail(value, error,
                            "GGUF files are not read; give the config.json of the model that \"%s\" was made "
                            "from, and its precision, such as precision.weights=int4",
                            name);
    *out = km_lookup_find(kind, name, folder, arena);
    if (*out)
        return KM_OK;
    const char *nearest = NULL;
    if (kind == KM_LOOKUP_MODEL && km_is_model_id(name)) {
        find_by_id(name, &nearest, arena);
        return km_yaml_fail(
            value, error,
            "no shipped model comes from \"%s\"%s%s%s; save its config.json and give that path "
            "(models/README.md)",
            name, nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    }
    if (km_lookup_is_path(kind, name))
        return km_yaml_fail(value, error, "no such file \"%s\"", name);
    const char *const *names;
    size_t count = km_lookup_names(kind, arena, &names);
    struct km_suggestion suggestion = {.word = name};
    struct km_text known = {0};
    for (size_t i = 0; i < count; i++) {
        km_suggest_offer(&suggestion, names[i]);
        km_text_printf(&known, "%s%s", i ? ", " : "", names[i]);
    }
    if (suggestion.best)
        status = km_yaml_fail(value, error, "unknown %s \"%s\"; did you mean \"%s\"?", kinds[kind].noun, name,
                              suggestion.best);
    else
        status = km_yaml_fail(value, error, "unknown %s \"%s\"; known: %s", kinds[kind].noun, name,
                              count ? km_text_c(&known) : "none");
    km_text_release(&known);
    return status;
}
