#include "workload/request.h"

#include <stdlib.h>

void km_request_release(struct km_request *request)
{
    free(request->prefix_hashes);
    free(request->label);
    *request = (struct km_request){.session = -1};
}
