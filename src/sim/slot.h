/* Slots: one live request each, with all the event core keeps about it. Slots are recycled, so memory grows
 * with the requests in flight, never with the length of the trace. */
#ifndef KM_SIM_SLOT_H
#define KM_SIM_SLOT_H

#include "kv/sequence.h"
#include "workload/request.h"

#include <stddef.h>

struct km_slot {
    struct km_sequence sequence; /* first member: a sequence is its slot */
    struct km_request request;
    uint64_t visible_ps; /* in the engine's queue from here on */
    uint64_t scheduled_ps, started_ps, first_token_ps, last_token_ps;
    uint32_t generated; /* output tokens scheduled, while not in a cohort */
    bool scheduled;     /* some batch has held it */
    bool has_first_token;
    bool holds_blocks;
    bool loose;            /* DECODE, but not in a cohort: sat out a step */
    bool late;             /* joined its cohort for the batch being formed: last_token_ps is its own */
    uint64_t in_batch;     /* number of the batch it was last put into, while not in a cohort */
    uint64_t decoded_in;   /* number of the batch in which it last decoded singly */
    uint32_t lane;         /* cohort it decodes in */
    int64_t base;          /* in a cohort: context before the next step less the cohort's clock */
    uint64_t finish_clock; /* in a cohort: the step that yields token `goal` */
    uint32_t goal; /* output tokens at which it is looked at: its client gives up, it ends, or, one beyond the
                              end, a row is left behind that an end unknown to the engine has cost */
    uint64_t since, until; /* its tokens come with its cohort's in batches after `since`, up to `until` */
    uint64_t cancel_ps;    /* when the engine hears that its client has given up; KM_PS_NEVER */
    bool queued;           /* has been in the engine's queue */
};

struct km_slots {
    struct km_slot **blocks;
    size_t block_count, block_capacity;
    uint32_t *free;
    size_t free_count, free_capacity;
};

struct km_slot *km_slots_take(struct km_slots *slots); /* zeroed but for sequence.slot */
void km_slots_give(struct km_slots *slots, struct km_slot *slot);
struct km_slot *km_slots_at(const struct km_slots *slots, uint32_t index);
void km_slots_release(struct km_slots *slots); /* frees what live requests own as well */

void km_list_append(struct km_sequence_list *list, struct km_sequence *sequence);
void km_list_prepend(struct km_sequence_list *list, struct km_sequence *sequence);
void km_list_remove(struct km_sequence_list *list, struct km_sequence *sequence);

#endif
