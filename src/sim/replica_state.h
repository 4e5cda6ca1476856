/* The replica's state, shared by its files: replica.c (when things happen), form.c (what a policy's actions do),
 * lanes.c (who decodes with whom), submit.c (how a batch is submitted) and jump.c (many steps at once). Private
 * to src/sim. */
#ifndef KM_SIM_REPLICA_STATE_H
#define KM_SIM_REPLICA_STATE_H

#include "base/wide.h"
#include "engine/pace_run.h"
#include "sim/clock.h"
#include "sim/cohort.h"
#include "sim/replica.h"
#include "sim/slot.h"

/* What a batch's results mean to single sequences. Decodes that go on as before need no entry. */
enum {
    ENTRY_STARTED = 1, /* its first batch: the start is its started_s */
    ENTRY_TOKEN = 2,   /* its prompt (or its recomputation) is complete: yields a token */
    ENTRY_LATE = 4,    /* decodes, but its previous token was not the cohort's */
    ENTRY_END = 8,     /* that token is its last */
    ENTRY_STAMP = 16,  /* taken out while in flight: remember when its token came */
    ENTRY_CHUNK = 32,  /* then `tokens` of its prompt are computed, and it holds some that it needs no more */
    ENTRY_GIVE_UP = 64, /* with that token its client gives up */
};

struct km_entry_in_flight {
    uint32_t slot;
    uint32_t flags;
    uint32_t tokens; /* ENTRY_CHUNK */
};

/* A submitted batch. */
struct km_flight {
    uint64_t number;
    uint32_t lane;
    uint64_t start_ps, end_ps, process_ps;
    uint32_t chunk_count, prefill_tokens;
    uint32_t decode_count, late_count,
        preempted;     /* late: of the decodes, those whose gap is not the cohort's */
    bool steps_cohort; /* its results are the members' latest tokens */
    /* Of the decodes that go on as before; empty while the cohort has only known class 0. */
    struct km_class_counts classes;
    struct km_entry_in_flight *entries;
    size_t entry_count, entry_capacity;
};

/* The batch being formed. */
struct km_batch {
    struct km_replica *replica;
    struct km_flight *flight;
    bool decode_all;
    uint64_t steady_steps; /* the policy's promise; 0 = none */
    bool changed;          /* anything but decode progress: admissions, chunks, preemptions */
    uint32_t decodes;      /* scheduled so far */
    uint64_t wait_until_ps;
    struct km_chunk *chunks, *padded;
    uint32_t *chunk_slots;
    size_t chunk_count, chunk_capacity, chunk_slot_capacity, padded_capacity;
    uint32_t *late; /* slots that joined the cohort for this batch */
    size_t late_count, late_capacity;
    struct km_row *rows; /* for executors that want them */
    size_t row_capacity;
    struct km_step step;          /* as formed */
    uint64_t clock, window_steps; /* of the cohort, after the step */
};

struct km_replica {
    struct km_replica_config config;
    struct km_kv *kv;
    void *policy_state;
    void *executor_state;    /* its own, or that of all of its kind */
    struct km_error failure; /* of the executor; its status KM_OK while there is none */
    struct km_slots slots;

    struct km_sequence_list inbox; /* arrived, not yet visible to the engine */
    uint64_t frontend_free_ps;     /* when the server in front of it has served all of them */
    struct km_sequence_list waiting;
    struct km_sequence *first_fresh; /* first waiting sequence that was never scheduled */
    struct km_sequence_list running;
    uint32_t prefill_count;
    uint32_t *loose; /* slots in state DECODE outside the cohorts */
    size_t loose_count, loose_capacity;
    uint32_t paused_count;
    struct km_heap cancels; /* slots whose clients give up, by when the engine hears of it */
    uint64_t admissions;
    uint32_t *held; /* slots that finished but stay until their batch ends */
    size_t held_count, held_capacity;

    bool run_ahead;          /* placeholders: a sequence decodes every `stages` batches, back or not */
    struct km_cohort *lanes; /* [lane_count] */
    uint32_t lane_count, lane;

    struct km_flight *flights; /* ring of max_flights */
    uint32_t max_flights, flight_first, flight_count;
    /* opened so far; their numbers. One that stays empty has a number, too, as vLLM counts */
    uint64_t batches;
    struct km_clock clock;
    bool may_form;
    bool draining;
    uint64_t wait_until_ps;

    struct km_step_line line; /* of lane `line_lane`, from the step at clock line_clock */
    uint64_t line_clock;
    uint32_t line_lane;
    bool line_valid;
    struct km_step_peers line_peers;

    struct km_batch batch;

    /* totals */
    uint32_t preempted; /* since the last batch was submitted */
    uint64_t events, steps, prompt_steps, tokens, sampled;
    km_u128 prefill_pairs, prefill_pairs_windowed, decode_pairs, decode_pairs_windowed;
    km_u128 prompt_busy_ps;
    km_u128 block_ps_twice; /* integral of blocks in use, by trapezoids between changes of the batch */
    uint64_t blocks_at_ps, blocks_then;
};

static inline struct km_slot *slot_at(const struct km_replica *replica, uint32_t index)
{
    return km_slots_at(&replica->slots, index);
}
static inline struct km_slot *slot_of(struct km_sequence *sequence)
{
    return (struct km_slot *)(void *)sequence;
}
static inline struct km_flight *flight_at(struct km_replica *replica, uint32_t i)
{
    return &replica->flights[(replica->flight_first + i) % replica->max_flights];
}
/* The batch in flight of that number, or NULL. */
static inline struct km_flight *flight_with(struct km_replica *replica, uint64_t number)
{
    for (uint32_t i = 0; i < replica->flight_count; i++)
        if (flight_at(replica, i)->number == number)
            return flight_at(replica, i);
    return NULL;
}

/* Call one of the policy's optional hooks. */
static inline void km_replica_tell(struct km_replica *replica,
                                   void (*hook)(void *state, struct km_sequence *sequence),
                                   struct km_sequence *sequence)
{
    if (hook)
        hook(replica->policy_state, sequence);
}

/* The executor's page table, if it has one, follows. */
static inline void km_replica_placed(struct km_replica *replica, const struct km_sequence *sequence,
                                     uint32_t cached_tokens)
{
    if (replica->config.executor->placed)
        replica->config.executor->placed(replica->executor_state, sequence->slot, cached_tokens);
}
static inline void km_replica_dropped(struct km_replica *replica, const struct km_sequence *sequence)
{
    if (replica->config.executor->dropped)
        replica->config.executor->dropped(replica->executor_state, sequence->slot);
}

/* Gaps of the sequences that a flight's or a cohort's `classes` count, `sequences` in all. */
static inline void km_replica_tell_gaps(struct km_replica *replica, const struct km_class_counts *classes,
                                        uint64_t first_ps, int64_t slope_ps, uint64_t steps,
                                        uint64_t sequences)
{
    struct km_metrics *metrics = replica->config.metrics;
    km_metrics_gaps(metrics, first_ps, slope_ps, steps, sequences);
    if (!km_metrics_has_classes(metrics))
        return;
    if (classes->used == 0)
        km_metrics_class_gaps(metrics, 0, first_ps, slope_ps, steps, sequences);
    for (uint32_t i = 0; i < classes->used; i++)
        if (classes->counts[i])
            km_metrics_class_gaps(metrics, i, first_ps, slope_ps, steps, classes->counts[i]);
}

/* form.c */
extern const struct km_batch_actions km_batch_actions;

/* lanes.c */
/* The lane of the batch being opened; who is loose joins it, where it may. */
void km_lanes_gather(struct km_replica *replica);
/* May a sequence outside the cohorts be part of the batch that is being formed? */
bool km_lane_may_join(struct km_replica *replica, const struct km_slot *slot);
void km_lane_join(struct km_replica *replica, uint32_t lane, struct km_slot *slot);
/* For the batch being formed: its last token was not the cohort's. */
void km_lane_join_late(struct km_replica *replica, struct km_slot *slot);
/* It lives on outside. */
void km_lane_leave(struct km_replica *replica, struct km_slot *slot);
void km_loose_add(struct km_replica *replica, struct km_slot *slot);
void km_loose_remove(struct km_replica *replica, const struct km_slot *slot);
/* Output tokens scheduled so far. */
uint32_t km_replica_generated(const struct km_replica *replica, const struct km_slot *slot);
/* It is no longer among those that decode, in a cohort or not. */
void km_replica_stop_decoding(struct km_replica *replica, struct km_slot *slot);

/* submit.c */
void km_batch_open(struct km_replica *replica, uint64_t now_ps);
/* Submit; false: the batch is empty, or the executor failed. */
bool km_batch_close(struct km_replica *replica, uint64_t now_ps);
/* The time of the rank's batch that has just been closed, beside those of its peers. */
enum km_status km_batch_time(struct km_replica *replica, const struct km_step_peers *peers,
                             struct km_step_time *out);
void km_flight_note(struct km_flight *flight, uint32_t slot, uint32_t flags);
/* Execution time of the decode step that the lane's cohort has just been advanced to. */
void km_replica_decode_line(struct km_replica *replica, struct km_cohort *cohort);

/* cancel.c */
/* Its client gives up at `at_ps`, unless it has done so before. */
void km_replica_gives_up(struct km_replica *replica, struct km_slot *slot, uint64_t at_ps);
/* What batches in flight hold of a sequence that has ended means nothing any more. Returns the tokens among it. */
uint32_t km_replica_forget_entries(struct km_replica *replica, const struct km_slot *slot);
/* Take out all whose clients have given up by now_ps; true: there were some. */
bool km_replica_cancel(struct km_replica *replica, uint64_t heard_ps, uint64_t now_ps);

/* jump.c */
/* With a batch open that is all decodes and steady: take as many steps as are certain, at least two; false:
 * take one normally. */
bool km_replica_jump(struct km_replica *replica, uint64_t now_ps, uint64_t horizon_ps);

/* replica.c */
/* Form a batch at now_ps of those that were in the queue at known_ps; false: it is empty. */
bool km_replica_form(struct km_replica *replica, uint64_t now_ps, uint64_t known_ps, uint64_t horizon_ps);
/* The results of the oldest batch have been taken, at `done_ps`. */
void km_replica_process(struct km_replica *replica, uint64_t done_ps);
/* When it has somebody for a batch, with none in flight. */
uint64_t km_replica_wakes_ps(const struct km_replica *replica);
/* When the first who waits gives up; and they do. */
uint64_t km_replica_patience_ps(const struct km_replica *replica);
void km_replica_leave(struct km_replica *replica, uint64_t now_ps);
/* Who waited for a batch to end completes with it; false: nobody did. */
bool km_replica_end_batch(struct km_replica *replica, uint64_t now_ps);
/* `flight` has been processed: tell who wants to know. */
void km_replica_tell_step(const struct km_replica *replica, const struct km_flight *flight, uint64_t done_ps,
                          uint64_t waited_ps);
void km_replica_end_request(struct km_replica *replica, struct km_slot *slot, enum km_outcome outcome,
                            uint32_t output_tokens, uint64_t now_ps);
void km_replica_note_blocks(struct km_replica *replica, uint64_t now_ps, uint64_t used_before);

#endif
