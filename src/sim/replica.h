/* A replica: one engine with its scheduler, its KV pool and its (possibly pipelined) accelerators. When its
 * host forms, launches and processes batches and when they run is the law of engine/pace.h; the replica acts
 * only at the moments km_replica_next() names.
 *
 * When the policy promises to go on as it is, a run of decode steps is taken in one action (fast-forward),
 * with results that are bit-identical to taking them singly. */
#ifndef KM_SIM_REPLICA_H
#define KM_SIM_REPLICA_H

#include "batching/batching.h"
#include "executor/executor.h"
#include "kv/kv.h"
#include "metrics/metrics.h"
#include "workload/request.h"

#include <stdbool.h>
#include <stdint.h>

/* A step whose results the host has just taken. */
struct km_step_record {
    uint64_t now_ps;
    uint64_t waited_ps; /* by the host for its end */
    uint32_t replica, rank;
    uint32_t prefill_requests, prefill_tokens, decode_requests; /* one token each of the last */
    uint32_t preempted;                                         /* since the step before was formed */
    uint64_t running, waiting; /* sequences that hold blocks; those in the engine's queue that hold none */
    uint64_t used_blocks, capacity_blocks;
};

/* What stands before the engine (engine/frontend.h): a server that takes requests in order, and what it takes. */
struct km_replica_frontend {
    uint64_t request_ps, token_ps; /* busy with each request and prompt token */
    uint64_t fixed_ps;             /* from there to the engine's queue */
    uint64_t chunk_ps;             /* from the engine to the client */
};

struct km_replica_config {
    uint32_t index;
    /* A data-parallel rank steps with others (sim/lockstep.h): `rank` of them from 0. ranks 0: by itself. */
    uint32_t ranks, rank;
    uint64_t rank_wake_ps; /* of ranks at rest: from a request in one's queue to the first batch */
    const struct km_batching_policy *policy;
    struct km_batching_settings batching;
    const struct km_kv_manager *kv_manager;
    struct km_kv_config kv;
    const struct km_executor *executor;
    void *executor_state; /* what its create() made; borrowed, and shared with others of this kind */
    struct km_pace pace;
    bool fast_forward;
    uint32_t window; /* sliding window of the model's local layers; 0 = none */
    struct km_replica_frontend frontend;
    uint64_t patience_ps;       /* KM_PS_NEVER = infinite */
    struct km_metrics *metrics; /* borrowed */
    /* A request ended; `record` is valid during the call. */
    void (*ended)(void *context, enum km_outcome outcome, const struct km_record *record, uint64_t now_ps);
    void *context;
    /* Optional: told of every step, in order; of a run of steps taken at once when it is taken, hence before
     * what others do in the meantime. `record` is valid during the call. */
    void (*stepped)(void *context, const struct km_step_record *record);
    void *step_context;
};

/* Integer totals of all steps taken: what utilisation figures are computed from. */
struct km_work {
    uint64_t steps, prompt_steps; /* prompt_steps: those that computed prompt tokens */
    uint64_t tokens, sampled;
    /* Query-key pairs attended to, of prompts and of decodes: with full attention and inside the window. */
    double prefill_pairs, prefill_pairs_windowed, decode_pairs, decode_pairs_windowed;
    double weight_bytes;
    double busy_s;        /* execution time, averaged over the stages */
    double prompt_busy_s; /* of it, what prompts bear: each step's time shared out over its tokens */
    double block_seconds;
    uint64_t peak_blocks;
    uint64_t events; /* actions taken */
};

struct km_replica; /* opaque */

struct km_replica *km_replica_create(const struct km_replica_config *config);
void km_replica_destroy(struct km_replica *replica);

/* Why a request can never be served here, or NULL. */
const char *km_replica_refuses(const struct km_replica *replica, const struct km_request *request);
/* A request arrives; the replica takes ownership of what it owns. Times never decrease from call to call. */
void km_replica_arrive(struct km_replica *replica, struct km_request *request, uint64_t now_ps);
/* Nobody will arrive unless one of these ends first: policies that wait for company should not. */
void km_replica_drain(struct km_replica *replica, uint64_t now_ps);
/* When the replica acts next; KM_PS_NEVER: only an arrival can wake it. */
uint64_t km_replica_next(const struct km_replica *replica);
/* Has it nothing to do until somebody arrives, but to see who waits give up? */
bool km_replica_idle(const struct km_replica *replica);
/* Are batches in flight? Perhaps for nobody: clients may have given up since. */
bool km_replica_computes(const struct km_replica *replica);
/* Act, at km_replica_next(). No request arrives before `horizon_ps`. KM_FAILED: the executor did, and from
 * then on the replica may only be asked what it did, and destroyed. */
enum km_status km_replica_act(struct km_replica *replica, uint64_t horizon_ps, struct km_error *error);

/* Just now. */
struct km_replica_load {
    uint64_t running;     /* sequences that hold blocks */
    uint64_t waiting;     /* those in the engine's queue that hold none */
    uint64_t used_blocks; /* KV */
    double busy_s;        /* execution time of all steps submitted so far, averaged over the stages */
};
void km_replica_load(const struct km_replica *replica, struct km_replica_load *out);

/* When its last step ends: later than its last request, when nobody waited for that step any more. */
uint64_t km_replica_busy_until_ps(const struct km_replica *replica);
const struct km_kv *km_replica_kv(const struct km_replica *replica);
void km_replica_work(const struct km_replica *replica, struct km_work *out);

#endif
