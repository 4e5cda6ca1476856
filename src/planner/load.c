#include "planner/load.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "capacity/demand.h"
#include "metrics/quantile.h"
#include "planner/length.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    const struct km_scenario *scenario;
    struct km_load *load;
    size_t capacity;
};

/* Samples that a request gives a term of the SLO. */
static uint64_t samples_of(const struct km_slo_term *term, const char *class_name,
                           const struct km_request *request)
{
    if (term->of_class && strcmp(term->class_name, class_name) != 0)
        return 0;
    if (term->metric == KM_ITL)
        return request->output_tokens - 1;
    return term->metric == KM_TPOT ? request->output_tokens > 1 : 1;
}

static void add(struct reading *reading, const char *class_name, const struct km_request *request)
{
    for (uint32_t i = 0; i < reading->scenario->slo_count; i++)
        reading->load->samples[i] += samples_of(&reading->scenario->slo[i], class_name, request);
    struct km_load *load = reading->load;
    load->requests = km_grow(load->requests, &reading->capacity, load->count + 1, sizeof *load->requests);
    load->requests[load->count++] = (struct km_load_request){.arrival_s = km_s_from_ps(request->arrival_ps),
                                                             .prompt_tokens = request->prompt_tokens,
                                                             .output_tokens = request->output_tokens};
    load->prompt_tokens += request->prompt_tokens;
    load->output_tokens += request->output_tokens;
    load->hashed |= request->prefix_hash_count > 0;
}

/* The rate of a process is its own, not that of the draw: what capacity/demand.h says, too. */
static void finish(struct km_load *load, const struct km_scenario *scenario)
{
    const struct km_workload_settings *asked = &load->asked;
    load->span_s = load->requests[load->count - 1].arrival_s;
    if (asked->process == KM_ARRIVAL_TRACE)
        load->rate_per_s = load->span_s > 0.0 ? (double)(load->count - 1) / load->span_s : (double)NAN;
    else
        load->rate_per_s = km_demand_has_rate(asked) ? asked->rate_per_s * asked->rate_scale : (double)NAN;
    load->paid_s = (double)load->count / load->rate_per_s;
    for (uint32_t i = 0; i < scenario->slo_count; i++)
        if (scenario->slo[i].metric == KM_SLO_DEADLINE)
            load->paid_s = (double)NAN;
}

static enum km_status read_requests(struct km_load *load, const struct km_scenario *scenario,
                                    struct km_error *error)
{
    struct reading reading = {.scenario = scenario, .load = load};
    struct km_workload *workload;
    uint64_t arrival_ps;
    enum km_status status = km_workload_create(&load->asked, load->seed, &workload, error);
    if (status != KM_OK)
        return status;
    free(load->requests);
    *load = (struct km_load){.asked = load->asked,
                             .recording = load->recording,
                             .seed = load->seed,
                             .drawn_to_tell = load->drawn_to_tell,
                             .open = true};
    while ((status = km_workload_peek(workload, &arrival_ps, error)) == KM_OK && arrival_ps != KM_PS_NEVER) {
        struct km_request request;
        km_workload_take(workload, &request);
        add(&reading, km_workload_class_name(workload, request.class_index), &request);
        km_request_release(&request);
    }
    if (status == KM_OK)
        finish(load, scenario);
    km_workload_destroy(workload);
    return status;
}

/* As long as it takes to tell. */
static void lengthen_to_tell(const struct km_scenario *scenario, double lengthen, struct km_load *load)
{
    struct km_workload_settings *asked = &load->asked;
    load->drawn_to_tell = km_length_is_free(scenario);
    if (!load->drawn_to_tell)
        return;
    const uint64_t requests = km_length_requests(scenario, asked->rate_per_s * asked->rate_scale);
    asked->requests = (uint64_t)ceil((double)requests * lengthen);
    asked->end_s = 0;
}

/* Gaps are divided by a common factor, so that the rate comes out as asked. */
static enum km_status scale_rate(const struct km_scenario *scenario, const struct km_search *search,
                                 const struct km_yaml *stated, struct km_load *load, struct km_error *error)
{
    enum km_status status = KM_OK;
    double rate_per_s = load->asked.rate_per_s * load->asked.rate_scale;
    if (load->asked.process == KM_ARRIVAL_TRACE) {
        status = read_requests(load, scenario, error);
        rate_per_s = load->rate_per_s;
    } else if (!km_demand_has_rate(&load->asked)) {
        rate_per_s = (double)NAN;
    }
    if (status != KM_OK)
        return status;
    if (!(rate_per_s > 0.0))
        return km_yaml_fail_key(stated, error, "the workload's requests come all at once: it has no rate");
    load->asked.rate_scale *= search->rate_per_s / rate_per_s;
    return KM_OK;
}

enum km_status km_load_create(const struct km_scenario *scenario, const struct km_search *search,
                              double lengthen, struct km_load *out, struct km_error *error)
{
    const struct km_yaml *section = scenario->search;
    const struct km_yaml *stated =
        km_yaml_get(section, search->rate_per_s > 0.0 ? "rate_per_s" : "rate_scale");
    enum km_status status = KM_OK;
    *out = (struct km_load){.asked = scenario->workload, .seed = scenario->seed, .paid_s = (double)NAN};
    if (out->asked.trace)
        status = km_recording_load(out->asked.trace, out->asked.trace_format, &out->recording, error);
    out->asked.recording = out->recording;
    if (status == KM_OK && km_workload_waits(&out->asked)) {
        if (stated)
            status = km_yaml_fail_key(
                stated, error,
                "a load that waits for its answers has no rate; change its clients, or workload.rate_scale");
        lengthen_to_tell(scenario, lengthen, out);
        goto out;
    }
    out->asked.rate_scale *= search->rate_scale;
    if (status == KM_OK && search->rate_per_s > 0.0)
        status = scale_rate(scenario, search, stated, out, error);
    if (status != KM_OK)
        goto out;
    lengthen_to_tell(scenario, lengthen, out);
    status = read_requests(out, scenario, error);
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

int km_load_thin_term(const struct km_load *load, const struct km_scenario *scenario)
{
    if (load->drawn_to_tell || !load->open)
        return -1;
    for (uint32_t i = 0; i < scenario->slo_count; i++) {
        const struct km_slo_term *term = &scenario->slo[i];
        if (term->metric < (int)KM_LATENCY_COUNT && load->samples[i] > 0 &&
            km_quantile_is_thin(term->quantile, load->samples[i]))
            return (int)i;
    }
    return -1;
}
