#include "scenario/model_id.h"

#include "base/file.h"
#include "base/suggest.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LIMIT_BYTES (1u << 20)

bool km_is_model_id(const char *name)
{
    const char *slash = strchr(name, '/');
    const size_t length = strlen(name);
    return slash && slash != name && slash[1] && !strchr(slash + 1, '/') && name[0] != '.' &&
           !(length > 5 && strcmp(name + length - 5, ".json") == 0);
}

const char *km_model_of_id(const char *file, const char *id, const char **nearest, struct km_arena *arena)
{
    char *text, *rest = NULL;
    size_t bytes;
    const char *found = NULL;
    struct km_suggestion suggestion = {.word = id};
    *nearest = NULL;
    if (km_file_read(file, LIMIT_BYTES, &text, &bytes, NULL) != KM_OK)
        return NULL;
    char *copy = km_arena_strdup(arena, text);
    free(text);
    for (char *line = strtok_r(copy, "\r\n", &rest); line && !found; line = strtok_r(NULL, "\r\n", &rest)) {
        char *comma = strchr(line, ',');
        if (!comma || line[0] == '#')
            continue;
        *comma = '\0';
        if (strcasecmp(line, id) == 0)
            found = comma + 1;
        else
            km_suggest_offer(&suggestion, line);
    }
    *nearest = suggestion.best;
    return found;
}
