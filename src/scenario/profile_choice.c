#include "scenario/profile_choice.h"

#include "cost/profile/head.h"
#include "engine/engine.h"
#include "scenario/lookup.h"

#include <string.h>

/* The smaller the better. */
static int rank_of(const struct km_profile_head *head, const char *engine)
{
    if (!head->engine)
        return 2;
    return strcmp(engine, head->engine) == 0 ? 0 : km_engine_is(engine, head->engine) ? 1 : 3;
}

enum km_status km_profile_choose(const char *device, const char *engine, struct km_arena *arena,
                                 const char **path, struct km_error *error)
{
    const char *const *names;
    const size_t count = km_lookup_names(KM_LOOKUP_PROFILE, arena, &names);
    int best = 4;
    *path = NULL;
    for (size_t i = 0; i < count; i++) {
        struct km_profile_head head;
        const char *file = km_lookup_find(KM_LOOKUP_PROFILE, names[i], "", arena);
        if (!file)
            continue; /* a folder of that name */
        enum km_status status = km_profile_read_head(file, arena, &head, error);
        if (status != KM_OK)
            return status;
        if (strcmp(head.device, device) != 0 || rank_of(&head, engine) >= best)
            continue;
        best = rank_of(&head, engine);
        *path = file;
    }
    return KM_OK;
}
