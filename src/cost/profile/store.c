#include "cost/profile/store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct stored {
    struct stored *next;
    char *path;
    struct km_profile profile; /* never changed once it is listed */
};

struct km_profile_store {
    pthread_mutex_t mutex; /* of the list; held while a file is read, so that it is read once */
    struct stored *first;
};

struct km_profile_store *km_profile_store_create(void)
{
    struct km_profile_store *store = km_alloc(sizeof *store);
    pthread_mutex_init(&store->mutex, NULL);
    return store;
}

void km_profile_store_destroy(struct km_profile_store *store)
{
    while (store->first) {
        struct stored *stored = store->first;
        store->first = stored->next;
        km_profile_release(&stored->profile);
        free(stored->path);
        free(stored);
    }
    pthread_mutex_destroy(&store->mutex);
    free(store);
}

static enum km_status find(struct km_profile_store *store, const char *path, const struct stored **out,
                           struct km_error *error)
{
    struct stored *stored = store->first;
    while (stored && strcmp(stored->path, path) != 0)
        stored = stored->next;
    *out = stored;
    if (stored)
        return KM_OK;
    stored = km_alloc(sizeof *stored);
    enum km_status status = km_profile_read(path, &stored->profile, error);
    if (status != KM_OK) {
        free(stored);
        return status;
    }
    stored->path = km_strdup(path);
    stored->next = store->first;
    *out = store->first = stored;
    return KM_OK;
}

enum km_status km_profile_store_view(struct km_profile_store *store, const char *path, struct km_profile *out,
                                     struct km_error *error)
{
    const struct stored *stored;
    pthread_mutex_lock(&store->mutex);
    enum km_status status = find(store, path, &stored, error);
    pthread_mutex_unlock(&store->mutex);
    if (status != KM_OK)
        return status;
    *out = stored->profile;
    out->arena = (struct km_arena){0};
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++)
        out->tables[class].answers = NULL;
    return KM_OK;
}

void km_profile_view_release(struct km_profile *view)
{
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++)
        free(view->tables[class].answers);
    km_arena_release(&view->arena);
    *view = (struct km_profile){0};
}
