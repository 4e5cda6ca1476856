#include "base/memory.h"
#include "scaling/scaling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct recommendation {
    double at_s;
    uint32_t replicas;
};

struct km_scaler {
    const struct km_scaling_settings *settings;
    const struct km_scaling_policy *policy;
    void *state;
    /* Recommendations of the last scale_down_delay_s that no later one exceeds: falling, the first the most.
     */
    struct recommendation *window; /* [first .. last) */
    size_t first, last, capacity;
};

const char *km_scaling_problem(const struct km_scaling_settings *s, const char **key)
{
    *key = "schedule";
    if (strcmp(s->policy, "schedule") == 0 && s->schedule_count == 0)
        return "needed by schedule";
    for (uint32_t i = 0; i < s->schedule_count; i++) {
        if (i > 0 && s->schedule[i].at_s <= s->schedule[i - 1].at_s)
            return "times must ascend";
        if (s->period_s > 0 && s->schedule[i].at_s >= s->period_s)
            return "every at_s must be less than period_s";
        if (s->schedule[i].replicas < s->min_replicas || s->schedule[i].replicas > s->max_replicas)
            return "replicas must be from min_replicas to max_replicas";
    }
    *key = "max_replicas";
    if (s->max_replicas < s->min_replicas)
        return "less than min_replicas";
    *key = "target_requests";
    if (strcmp(s->policy, "target_queue") == 0 && !(s->target_requests > 0))
        return "needed by target_queue";
    *key = "target_utilization";
    if (strcmp(s->policy, "target_utilization") == 0 && !(s->target_utilization > 0))
        return "needed by target_utilization";
    *key = "target_tokens_per_s";
    if (strcmp(s->policy, "predictive") == 0 && !(s->target_tokens_per_s > 0))
        return "needed by predictive";
    return NULL;
}

struct km_scaler *km_scaler_create(const struct km_scaling_settings *settings)
{
    struct km_scaler *scaler = km_alloc(sizeof *scaler);
    scaler->settings = settings;
    scaler->policy = km_scaling_find(settings->policy);
    scaler->state = km_alloc(scaler->policy->state_bytes);
    return scaler;
}

void km_scaler_destroy(struct km_scaler *scaler)
{
    if (!scaler)
        return;
    free(scaler->state);
    free(scaler->window);
    free(scaler);
}

/* The most recommended within the delay, this one included. */
static uint32_t stabilized(struct km_scaler *s, double now_s, uint32_t replicas)
{
    while (s->first < s->last && s->window[s->first].at_s < now_s - s->settings->scale_down_delay_s)
        s->first++;
    while (s->first < s->last && s->window[s->last - 1].replicas <= replicas)
        s->last--;
    if (s->first > 0) { /* the window is short: entries differ in replicas */
        memmove(s->window, s->window + s->first, (s->last - s->first) * sizeof *s->window);
        s->last -= s->first;
        s->first = 0;
    }
    s->window = km_grow(s->window, &s->capacity, s->last + 1, sizeof *s->window);
    s->window[s->last++] = (struct recommendation){now_s, replicas};
    return s->window[0].replicas;
}

static uint32_t clamp(double replicas, const struct km_scaling_settings *s)
{
    if (!(replicas > s->min_replicas))
        return s->min_replicas;
    return replicas < s->max_replicas ? (uint32_t)replicas : s->max_replicas;
}

uint32_t km_scaler_look(struct km_scaler *scaler, const struct km_scaling_view *view)
{
    const struct km_scaling_settings *s = scaler->settings;
    uint32_t current = view->serving + view->starting;
    double wanted = scaler->policy->wanted(scaler->state, s, view);
    if (scaler->policy->exact)
        return clamp(wanted, s);
    if (!scaler->window) /* as many as there were, at first */
        stabilized(scaler, view->now_s, current);
    bool near = fabs(wanted / current - 1) <= s->tolerance;
    uint32_t desired = clamp(near ? current : ceil(wanted), s);
    uint32_t held = stabilized(scaler, view->now_s, desired);
    return desired < current && held > desired ? (held < current ? held : current) : desired;
}

double km_scaler_next_s(const struct km_scaler *scaler, double now_s)
{
    return scaler->policy->next_s ? scaler->policy->next_s(scaler->settings, now_s)
                                  : now_s + scaler->settings->interval_s;
}
