#include "base/memory.h"
#include "sim/replica_state.h"

void km_flight_note(struct km_flight *flight, uint32_t slot, uint32_t flags)
{
    flight->entries =
        km_grow(flight->entries, &flight->entry_capacity, flight->entry_count + 1, sizeof *flight->entries);
    flight->entries[flight->entry_count++] = (struct km_entry_in_flight){.slot = slot, .flags = flags};
}
