#include "metrics/stability.h"

#include "base/memory.h"
#include "base/wide.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#define WINDOWS      64u
#define MIN_ARRIVALS 100u

struct km_stability {
    uint64_t arrivals, first_ps, last_ps;
    km_u128 gap_squares;                 /* at most (2^62)^2 together, as the gaps add up to a time */
    uint64_t width_ps, windows[WINDOWS]; /* arrivals in [first + i * width, ...) */
    struct km_batch_means *levels;       /* number in the system as each arrival sees it */
    uint64_t in_system;                  /* at the last arrival */
    uint64_t backlog;                    /* left the queue after the last arrival */
};

struct km_stability *km_stability_create(void)
{
    struct km_stability *s = km_alloc(sizeof *s);
    s->width_ps = 1;
    s->levels = km_batch_means_create();
    return s;
}

void km_stability_destroy(struct km_stability *s)
{
    if (!s)
        return;
    km_batch_means_destroy(s->levels);
    free(s);
}

void km_stability_arrival(struct km_stability *s, uint64_t now_ps, uint64_t in_system)
{
    if (s->arrivals == 0)
        s->first_ps = s->last_ps = now_ps;
    assert(now_ps >= s->last_ps);
    uint64_t gap = now_ps - s->last_ps;
    s->gap_squares += (km_u128)gap * gap;
    s->last_ps = now_ps;
    s->arrivals++;
    while ((now_ps - s->first_ps) / s->width_ps >= WINDOWS) {
        for (unsigned i = 0; i < WINDOWS; i++) {
            uint64_t pair = i < WINDOWS / 2 ? s->windows[2 * i] + s->windows[2 * i + 1] : 0;
            s->windows[i] = pair;
        }
        s->width_ps *= 2;
    }
    s->windows[(now_ps - s->first_ps) / s->width_ps]++;
    km_batch_means_add(s->levels, in_system, 1);
    s->in_system = in_system;
    s->backlog = 0;
}

void km_stability_left_queue(struct km_stability *s, uint64_t now_ps)
{
    if (now_ps > s->last_ps)
        s->backlog++;
}

/* What a fluid queue that serves the arrivals of the windows at their mean rate holds at the end. */
static double fluid_backlog(const struct km_stability *s)
{
    double span = (double)(s->last_ps - s->first_ps), per_ps = (double)s->arrivals / span, level = 0;
    for (unsigned i = 0; i < WINDOWS; i++) {
        double start = (double)i * (double)s->width_ps;
        if (start > span)
            break;
        double length = fmin((double)s->width_ps, span - start);
        level = fmax(0, level + (double)s->windows[i] - per_ps * length);
    }
    return level;
}

enum km_verdict km_stability_verdict(const struct km_stability *s, const struct km_batch_means *delays)
{
    if (s->arrivals < MIN_ARRIVALS || s->last_ps == s->first_ps)
        return KM_UNKNOWN;
    double gaps = (double)(s->arrivals - 1), mean_gap = (double)(s->last_ps - s->first_ps) / gaps;
    double gap_scv = fmax(0, (double)s->gap_squares / gaps / (mean_gap * mean_gap) - 1);
    double chance = sqrt((gap_scv + 1) * (double)s->arrivals);
    double limit = 3 * chance + fluid_backlog(s);
    struct km_trend delay = km_batch_means_trend(delays), level = km_batch_means_trend(s->levels);
    double arrivals = (double)s->arrivals, backlog = (double)s->backlog;
    bool delay_rises = delay.sign > 0 && delay.growth > 0.15;
    bool level_rises = level.sign > 0 && level.growth > 0.15;

    if (backlog > limit && (delay_rises || (level.growth > 0.05 && backlog > arrivals / 3)))
        return KM_SATURATED;
    if (delay_rises && backlog > chance)
        return KM_UNKNOWN;
    if (level_rises && (double)s->in_system > limit)
        return KM_UNKNOWN;
    if (backlog > chance && fabs(level.growth) > 0.05)
        return KM_UNKNOWN;
    return s->in_system * 2 > s->arrivals ? KM_UNKNOWN : KM_STABLE;
}

uint64_t km_stability_backlog(const struct km_stability *s)
{
    return s->backlog;
}

uint64_t km_stability_in_system(const struct km_stability *s)
{
    return s->in_system;
}
