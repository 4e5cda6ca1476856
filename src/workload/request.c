#include "workload/request.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

void km_request_copy(const struct km_request *request, struct km_request *out)
{
    *out = *request;
    if (request->label)
        out->label = km_strdup(request->label);
    if (!request->prefix_hash_count)
        return;
    out->prefix_hashes = km_alloc(request->prefix_hash_count * sizeof *out->prefix_hashes);
    memcpy(out->prefix_hashes, request->prefix_hashes,
           request->prefix_hash_count * sizeof *out->prefix_hashes);
}

void km_request_release(struct km_request *request)
{
    free(request->prefix_hashes);
    free(request->label);
    *request = (struct km_request){.session = -1};
}
