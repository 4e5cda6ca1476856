#include "sim/slot.h"

#include "base/memory.h"

#include <stdlib.h>

#define SLOTS_PER_BLOCK 64u

struct km_slot *km_slots_at(const struct km_slots *slots, uint32_t index)
{
    return &slots->blocks[index / SLOTS_PER_BLOCK][index % SLOTS_PER_BLOCK];
}

struct km_slot *km_slots_take(struct km_slots *slots)
{
    if (slots->free_count == 0) {
        slots->blocks =
            km_grow(slots->blocks, &slots->block_capacity, slots->block_count + 1, sizeof(struct km_slot *));
        slots->blocks[slots->block_count] = km_alloc(SLOTS_PER_BLOCK * sizeof(struct km_slot));
        slots->free = km_grow(slots->free, &slots->free_capacity, slots->free_count + SLOTS_PER_BLOCK,
                              sizeof *slots->free);
        /* Highest first, so that the lowest index is handed out first. */
        for (uint32_t i = SLOTS_PER_BLOCK; i-- > 0;)
            slots->free[slots->free_count++] = (uint32_t)slots->block_count * SLOTS_PER_BLOCK + i;
        slots->block_count++;
    }
    uint32_t index = slots->free[--slots->free_count];
    struct km_slot *slot = km_slots_at(slots, index);
    *slot = (struct km_slot){0};
    slot->sequence.slot = index;
    return slot;
}

void km_slots_give(struct km_slots *slots, struct km_slot *slot)
{
    km_request_release(&slot->request);
    slots->free = km_grow(slots->free, &slots->free_capacity, slots->free_count + 1, sizeof *slots->free);
    slots->free[slots->free_count++] = slot->sequence.slot;
}

void km_slots_release(struct km_slots *slots)
{
    for (size_t b = 0; b < slots->block_count; b++) {
        for (uint32_t i = 0; i < SLOTS_PER_BLOCK; i++)
            km_request_release(&slots->blocks[b][i].request);
        free(slots->blocks[b]);
    }
    free(slots->blocks);
    free(slots->free);
    *slots = (struct km_slots){0};
}

void km_list_append(struct km_sequence_list *list, struct km_sequence *sequence)
{
    sequence->next = NULL;
    sequence->previous = list->last;
    if (list->last)
        list->last->next = sequence;
    else
        list->first = sequence;
    list->last = sequence;
    list->count++;
}

void km_list_prepend(struct km_sequence_list *list, struct km_sequence *sequence)
{
    sequence->previous = NULL;
    sequence->next = list->first;
    if (list->first)
        list->first->previous = sequence;
    else
        list->last = sequence;
    list->first = sequence;
    list->count++;
}

void km_list_remove(struct km_sequence_list *list, struct km_sequence *sequence)
{
    if (sequence->previous)
        sequence->previous->next = sequence->next;
    else
        list->first = sequence->next;
    if (sequence->next)
        sequence->next->previous = sequence->previous;
    else
        list->last = sequence->previous;
    sequence->next = sequence->previous = NULL;
    list->count--;
}
