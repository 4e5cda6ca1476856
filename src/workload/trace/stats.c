#include "workload/trace/stats.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "workload/hash_set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Arrivals by time: bins whose width doubles whenever the trace outgrows them. */
#define TIME_BINS    4096u
#define FIRST_BIN_PS (KM_PS_PER_S / 100)

static const uint64_t dispersion_window_s[KM_DISPERSION_WINDOWS] = {1, 10, 60, 600};

struct dispersion {
    uint64_t window; /* index of the current one */
    uint64_t count;  /* in the current one */
    double sum, squares;
};

struct km_trace_stats {
    uint64_t requests, first_ps, last_ps;
    double gap_squares; /* s^2 */
    uint64_t gaps[KM_GAP_BINS];
    struct dispersion dispersion[KM_DISPERSION_WINDOWS];
    uint64_t bins[TIME_BINS], bin_ps;
    struct km_token_counts prompt, output;
    struct km_hash_set hashes, sessions;
    uint64_t hashed_requests, blocks, hit_blocks, session_requests;
    uint64_t *classes;
    size_t class_capacity;
};

struct km_trace_stats *km_trace_stats_create(void)
{
    struct km_trace_stats *stats = km_alloc(sizeof *stats);
    stats->bin_ps = FIRST_BIN_PS;
    return stats;
}

void km_trace_stats_destroy(struct km_trace_stats *stats)
{
    if (!stats)
        return;
    km_token_counts_release(&stats->prompt);
    km_token_counts_release(&stats->output);
    km_hash_set_release(&stats->hashes);
    km_hash_set_release(&stats->sessions);
    free(stats->classes);
    free(stats);
}

/* Bin of a gap: its highest bit and the six bits after it; gaps below 64 ps have a bin each. */
static size_t gap_bin(uint64_t gap_ps)
{
    int high = 0;
    while (gap_ps >> high > 127)
        high++;
    return gap_ps < 64 ? (size_t)gap_ps : (size_t)(high + 1) * 64 + (size_t)((gap_ps >> high) - 64);
}

double km_trace_stats_gap_edge_ps(size_t bin)
{
    return bin < 64 ? (double)bin : ldexp((double)(bin % 64 + 65), (int)(bin / 64) - 1);
}

static void add_time(struct km_trace_stats *stats, uint64_t since_ps)
{
    while (since_ps / stats->bin_ps >= TIME_BINS) {
        for (size_t i = 0; i < TIME_BINS / 2; i++)
            stats->bins[i] = stats->bins[2 * i] + stats->bins[2 * i + 1];
        memset(stats->bins + TIME_BINS / 2, 0, TIME_BINS / 2 * sizeof *stats->bins);
        stats->bin_ps *= 2;
    }
    stats->bins[since_ps / stats->bin_ps]++;
    for (size_t i = 0; i < KM_DISPERSION_WINDOWS; i++) {
        struct dispersion *d = &stats->dispersion[i];
        uint64_t window = since_ps / (dispersion_window_s[i] * KM_PS_PER_S);
        if (window > d->window) { /* windows between the two are empty and add nothing to the sums */
            d->sum += (double)d->count;
            d->squares += (double)d->count * (double)d->count;
            d->count = 0;
            d->window = window;
        }
        d->count++;
    }
}

static void add_prefix(struct km_trace_stats *stats, const struct km_request *request)
{
    uint32_t known = 0;
    if (request->prefix_hash_count == 0)
        return;
    while (known < request->prefix_hash_count &&
           km_hash_set_has(&stats->hashes, request->prefix_hashes[known]))
        known++;
    for (uint32_t i = known; i < request->prefix_hash_count; i++)
        km_hash_set_add(&stats->hashes, request->prefix_hashes[i]);
    stats->hashed_requests++;
    stats->blocks += request->prefix_hash_count;
    stats->hit_blocks += known;
}

void km_trace_stats_add(struct km_trace_stats *stats, const struct km_request *request)
{
    if (stats->requests == 0) {
        stats->first_ps = request->arrival_ps;
    } else {
        uint64_t gap_ps = request->arrival_ps - stats->last_ps;
        stats->gap_squares += km_s_from_ps(gap_ps) * km_s_from_ps(gap_ps);
        stats->gaps[gap_bin(gap_ps)]++;
    }
    stats->requests++;
    stats->last_ps = request->arrival_ps;
    add_time(stats, request->arrival_ps - stats->first_ps);
    km_token_counts_add(&stats->prompt, request->prompt_tokens);
    km_token_counts_add(&stats->output, request->output_tokens);
    add_prefix(stats, request);
    if (request->session >= 0) {
        stats->session_requests++;
        km_hash_set_add(&stats->sessions, (uint64_t)request->session);
    }
    size_t before = stats->class_capacity;
    stats->classes = km_grow(stats->classes, &stats->class_capacity, (size_t)request->class_index + 1,
                             sizeof *stats->classes);
    memset(stats->classes + before, 0, (stats->class_capacity - before) * sizeof *stats->classes);
    stats->classes[request->class_index]++;
}

/* Variance over mean of the counts of the complete windows: all before the last arrival's. */
static double dispersion_index(const struct dispersion *d)
{
    double n = (double)d->window, mean = d->window ? d->sum / n : 0;
    if (d->window < 2 || mean <= 0)
        return 0;
    double variance = (d->squares - n * mean * mean) / (n - 1);
    return variance > 0 ? variance / mean : 0;
}

static void summarize_rates(const struct km_trace_stats *stats, struct km_trace_summary *out)
{
    uint64_t span_ps = stats->last_ps - stats->first_ps;
    uint64_t used = span_ps / stats->bin_ps + 1;
    uint64_t each = (used + KM_RATE_WINDOWS - 1) / KM_RATE_WINDOWS; /* bins a window */
    out->rate_window_s = km_s_from_ps(each * stats->bin_ps);
    for (uint64_t first = 0; first < used; first += each) {
        uint64_t count = 0, start_ps = first * stats->bin_ps, width_ps = each * stats->bin_ps;
        for (uint64_t i = first; i < first + each && i < used; i++)
            count += stats->bins[i];
        if (width_ps > span_ps - start_ps) /* the span ends inside this window */
            width_ps = span_ps - start_ps;
        double width_s = km_s_from_ps(width_ps);
        out->rates_per_s[out->rate_count++] = width_s > 0 ? (double)count / width_s : 0;
    }
}

void km_trace_stats_summarize(const struct km_trace_stats *stats, struct km_trace_summary *out)
{
    *out = (struct km_trace_summary){.requests = stats->requests};
    out->prompt = &stats->prompt;
    out->output = &stats->output;
    out->span_s = km_s_from_ps(stats->last_ps - stats->first_ps);
    for (size_t i = 0; i < KM_DISPERSION_WINDOWS; i++) {
        out->dispersion[i].window_s = (double)dispersion_window_s[i];
        out->dispersion[i].windows = stats->dispersion[i].window;
        out->dispersion[i].index = dispersion_index(&stats->dispersion[i]);
    }
    if (out->span_s > 0) {
        double gaps = (double)(stats->requests - 1), mean_s = out->span_s / gaps;
        double variance = stats->gap_squares / gaps - mean_s * mean_s;
        out->rate_per_s = 1 / mean_s;
        out->gap_cv = variance > 0 ? sqrt(variance) / mean_s : 0;
        summarize_rates(stats, out);
    }
    out->hashed_requests = stats->hashed_requests;
    out->blocks = stats->blocks;
    out->hit_blocks = stats->hit_blocks;
    out->distinct_blocks = stats->hashes.count;
    out->sessions = stats->sessions.count;
    out->session_requests = stats->session_requests;
}

uint64_t km_trace_stats_class(const struct km_trace_stats *stats, uint32_t class_index)
{
    return class_index < stats->class_capacity ? stats->classes[class_index] : 0;
}

uint64_t km_trace_stats_gaps(const struct km_trace_stats *stats, size_t bin)
{
    return stats->gaps[bin];
}
