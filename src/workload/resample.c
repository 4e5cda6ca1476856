#include "workload/resample.h"

#include "base/memory.h"
#include "base/random.h"
#include "base/simtime.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

struct km_resample {
    const struct km_request *requests; /* of the window */
    size_t count;
    uint64_t start_ps, span_ps, block_ps;
    uint64_t whole_ps; /* to be laid out */
    gsl_rng *rng;
    uint32_t *taken; /* [count] how often each was drawn; NULL when nothing has hashes */

    uint64_t laid_ps;  /* where the current block lies */
    uint64_t begin_ps; /* where it begins in the window */
    size_t next;       /* its next request */
    size_t left;       /* of the circle's requests, so that a block is no longer than the circle */
};

static void begin_block(struct km_resample *r)
{
    r->begin_ps = (uint64_t)(gsl_rng_uniform(r->rng) * (double)r->span_ps);
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->requests[middle].arrival_ps - r->start_ps < r->begin_ps)
            low = middle + 1;
        else
            high = middle;
    }
    r->next = low % r->count;
    r->left = r->count;
}

/* The requests of a window, and how long it is: to its end, or to its last request and one mean gap. */
struct window {
    size_t first, count;
    uint64_t span_ps;
};

static struct window find_window(const struct km_recording *recording, uint64_t start_ps, uint64_t end_ps)
{
    size_t all, first = km_recording_find(recording, start_ps), beyond = km_recording_find(recording, end_ps);
    const struct km_request *requests = km_recording_requests(recording, &all) + first;
    if (first >= beyond)
        return (struct window){0};
    size_t count = beyond - first;
    const uint64_t last_ps = requests[count - 1].arrival_ps;
    const uint64_t gap_ps = (last_ps - requests[0].arrival_ps) / (count > 1 ? count - 1 : 1) + 1;
    const uint64_t until_ps = last_ps + gap_ps < end_ps ? last_ps + gap_ps : end_ps;
    return (struct window){first, count, until_ps - start_ps};
}

bool km_resample_is_possible(const struct km_recording *recording, double start_s, double end_s,
                             double block_s)
{
    uint64_t end_ps = end_s > 0 ? km_ps_from_s(end_s) : KM_PS_NEVER;
    struct window window = find_window(recording, km_ps_from_s(start_s), end_ps);
    return km_s_from_ps(window.span_ps) >= KM_BOOTSTRAP_LEAST_BLOCKS * block_s;
}

struct km_resample *km_resample_create(const struct km_recording *recording, uint64_t start_ps,
                                       uint64_t end_ps, uint64_t block_ps, double length, uint64_t seed)
{
    size_t all;
    const struct window window = find_window(recording, start_ps, end_ps);
    assert(block_ps > 0);
    if (window.count == 0)
        return NULL;
    struct km_resample *r = km_alloc(sizeof *r);
    r->requests = km_recording_requests(recording, &all) + window.first;
    r->count = window.count;
    r->start_ps = start_ps;
    r->span_ps = window.span_ps;
    r->block_ps = block_ps < r->span_ps ? block_ps : r->span_ps;
    r->whole_ps = (uint64_t)fmin((double)r->span_ps * length, (double)KM_PS_LIMIT);
    r->rng = km_random_stream(seed, KM_RANDOM_BOOTSTRAP);
    for (size_t i = 0; i < r->count && !r->taken; i++)
        if (r->requests[i].prefix_hash_count > 0)
            r->taken = km_alloc(r->count * sizeof *r->taken);
    begin_block(r);
    return r;
}

void km_resample_destroy(struct km_resample *r)
{
    if (!r)
        return;
    gsl_rng_free(r->rng);
    free(r->taken);
    free(r);
}

/* Another content for each time after the first; 0 leaves it. The factor spreads small numbers over 64 bits
 * (2^64 over the golden ratio). */
static void change_content(struct km_request *request, uint32_t times)
{
    for (uint32_t i = 0; i < request->prefix_hash_count; i++)
        request->prefix_hashes[i] ^= times * UINT64_C(0x9e3779b97f4a7c15);
}

bool km_resample_next(struct km_resample *r, struct km_request *out)
{
    while (r->laid_ps < r->whole_ps) {
        const struct km_request *request = &r->requests[r->next];
        uint64_t at_ps = request->arrival_ps - r->start_ps;
        uint64_t into_ps = at_ps >= r->begin_ps ? at_ps - r->begin_ps : at_ps + r->span_ps - r->begin_ps;
        if (r->left == 0 || into_ps >= r->block_ps || into_ps >= r->whole_ps - r->laid_ps) {
            if (r->block_ps >= r->whole_ps - r->laid_ps)
                break;
            r->laid_ps += r->block_ps;
            begin_block(r);
            continue;
        }
        km_request_copy(request, out);
        out->arrival_ps = r->laid_ps + into_ps;
        if (r->taken)
            change_content(out, r->taken[r->next]++);
        r->next = (r->next + 1) % r->count;
        r->left--;
        return true;
    }
    r->laid_ps = r->whole_ps;
    return false;
}

double km_resample_progress(const struct km_resample *r)
{
    return (double)r->laid_ps / (double)r->whole_ps;
}
