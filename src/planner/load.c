#include "planner/load.h"

#include "base/memory.h"
#include "base/simtime.h"

#include <math.h>
#include <stdlib.h>

struct reading {
    struct km_load *load;
    size_t capacity;
};

static void add(struct reading *reading, const struct km_request *request)
{
    struct km_load *load = reading->load;
    load->requests = km_grow(load->requests, &reading->capacity, load->count + 1, sizeof *load->requests);
    load->requests[load->count++] = (struct km_load_request){.arrival_s = km_s_from_ps(request->arrival_ps),
                                                             .prompt_tokens = request->prompt_tokens,
                                                             .output_tokens = request->output_tokens};
    load->prompt_tokens += request->prompt_tokens;
    load->output_tokens += request->output_tokens;
    load->hashed |= request->prefix_hash_count > 0;
}

static void finish(struct km_load *load)
{
    load->span_s = load->requests[load->count - 1].arrival_s;
    load->rate_per_s = load->span_s > 0.0 ? (double)(load->count - 1) / load->span_s : (double)NAN;
}

static enum km_status read_requests(struct km_load *load, struct km_error *error)
{
    struct reading reading = {.load = load};
    struct km_workload *workload;
    uint64_t arrival_ps;
    enum km_status status = km_workload_create(&load->asked, load->seed, &workload, error);
    if (status != KM_OK)
        return status;
    free(load->requests);
    *load = (struct km_load){
        .asked = load->asked, .recording = load->recording, .seed = load->seed, .open = true};
    while ((status = km_workload_peek(workload, &arrival_ps, error)) == KM_OK && arrival_ps != KM_PS_NEVER) {
        struct km_request request;
        km_workload_take(workload, &request);
        add(&reading, &request);
        km_request_release(&request);
    }
    if (status == KM_OK)
        finish(load);
    km_workload_destroy(workload);
    return status;
}

enum km_status km_load_create(const struct km_scenario *scenario, const struct km_search *search,
                              struct km_load *out, struct km_error *error)
{
    const struct km_yaml *section = scenario->search;
    const struct km_yaml *stated =
        km_yaml_get(section, search->rate_per_s > 0.0 ? "rate_per_s" : "rate_scale");
    enum km_status status = KM_OK;
    *out = (struct km_load){.asked = scenario->workload, .seed = scenario->seed};
    if (out->asked.trace)
        status = km_recording_load(out->asked.trace, out->asked.trace_format, &out->recording, error);
    out->asked.recording = out->recording;
    if (status == KM_OK && out->asked.process == KM_ARRIVAL_CLOSED_LOOP) {
        if (stated)
            status = km_yaml_fail_key(stated, error, "a closed loop has no rate; change its clients");
        goto out;
    }
    out->asked.rate_scale *= search->rate_scale;
    if (status == KM_OK)
        status = read_requests(out, error);
    if (status != KM_OK || search->rate_per_s <= 0.0)
        goto out;
    if (!(out->rate_per_s > 0.0)) {
        status = km_yaml_fail_key(stated, error, "the workload's requests come all at once: it has no rate");
        goto out;
    }
    /* Gaps shrink by a common factor, so the rate comes out as asked. */
    out->asked.rate_scale *= search->rate_per_s / out->rate_per_s;
    status = read_requests(out, error);
out:
    if (status != KM_OK)
        km_load_release(out);
    return status;
}

void km_load_release(struct km_load *load)
{
    free(load->requests);
    km_recording_destroy(load->recording);
    *load = (struct km_load){0};
}
