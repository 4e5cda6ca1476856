/* Profiles read once for many cost models, on any threads: what a file says is shared, what is worked out for
 * a device is each cost model's own. Files are taken not to change meanwhile. */
#ifndef KM_COST_PROFILE_STORE_H
#define KM_COST_PROFILE_STORE_H

#include "cost/profile/profile.h"

struct km_profile_store; /* opaque */

struct km_profile_store *km_profile_store_create(void);
/* When no view is left. */
void km_profile_store_destroy(struct km_profile_store *store);

/* As km_profile_read(): a profile of one's own to bind and to look up, but not to add to, whose rows are the
 * store's. */
enum km_status km_profile_store_view(struct km_profile_store *store, const char *path, struct km_profile *out,
                                     struct km_error *error);
void km_profile_view_release(struct km_profile *view); /* instead of km_profile_release() */

#endif
