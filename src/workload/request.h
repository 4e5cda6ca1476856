/* A request: what arrives, and nothing about how it is served. */
#ifndef KM_WORKLOAD_REQUEST_H
#define KM_WORKLOAD_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

struct km_request {
    uint64_t id;            /* position in the stream, from 0 */
    uint64_t arrival_ps;    /* simulated time; the first request of a trace arrives at 0 */
    uint32_t prompt_tokens; /* >= 1 */
    uint32_t output_tokens; /* >= 1; the true length, which no policy may see */
    uint32_t class_index;   /* 0 = default class; names belong to the workload */
    int32_t priority;       /* smaller is served first; 0 unless the trace says so */
    bool ends_by_eos;       /* its last token tells the engine, which knows of max_tokens before */
    uint32_t max_tokens;    /* most output tokens the client allows, >= output_tokens; 0 = not stated */
    float predicted_output_tokens; /* told when it arrives (prediction/prediction.h); 0 = not predicted */
    uint32_t prefix_hash_count;
    int64_t session; /* -1 = none */
    bool has_delay;  /* the trace says how long after the session's last answer it arrives */
    bool untimed;    /* and not when: its arrival_ps is that of the line before */
    uint64_t delay_ps;
    uint64_t cancel_after_ps; /* its client gives up so long after it arrived; 0 = never */
    uint32_t cancel_tokens;   /* or with so many output tokens; 0, or output_tokens and more = never */
    uint64_t *prefix_hashes;  /* [prefix_hash_count] one per block of KM_PREFIX_BLOCK_TOKENS prompt tokens,
                                owned; NULL = unique */
    char *label;              /* the trace's own id, owned; NULL = print `id` */
};

/* Tokens covered by one prefix hash (Mooncake traces, FAST'25). */
#define KM_PREFIX_BLOCK_TOKENS 512u

/* With what it owns: *out owns copies. */
void km_request_copy(const struct km_request *request, struct km_request *out);
/* Free what the request owns and forget it. */
void km_request_release(struct km_request *request);

#endif
