#include "sim/cohort.h"

#include <assert.h>

void km_cohort_init(struct km_cohort *cohort, const struct km_kv_config *kv, uint32_t window)
{
    *cohort = (struct km_cohort){.window = window, .changed = true};
    km_growth_init(&cohort->growth, kv->block_size, &kv->groups);
}

void km_cohort_release(struct km_cohort *cohort)
{
    km_growth_release(&cohort->growth);
    km_class_counts_release(&cohort->classes);
    km_heap_release(&cohort->finish);
    km_heap_release(&cohort->longest);
    km_heap_release(&cohort->inside);
}

void km_cohort_join(struct km_cohort *cohort, struct km_slot *slot, uint32_t context, uint32_t remaining)
{
    assert(remaining > 0);
    uint32_t item = slot->sequence.slot;
    uint64_t rank = slot->sequence.admission;
    slot->base = (int64_t)context - (int64_t)cohort->clock;
    slot->finish_clock = cohort->clock + remaining;
    cohort->count++;
    cohort->base_sum += slot->base;
    km_growth_add(&cohort->growth, slot->base, cohort->clock);
    km_class_counts_add(&cohort->classes, slot->request.class_index);
    km_heap_push(&cohort->finish, slot->finish_clock, rank, item);
    km_heap_push(&cohort->longest, (uint64_t)(INT64_MAX / 2 - slot->base), rank, item);
    if (cohort->window && context < cohort->window) {
        /* In the step at clock t it attends to base + t tokens: inside while that is at most the window. */
        km_heap_push(&cohort->inside, (uint64_t)((int64_t)cohort->window - slot->base), rank, item);
        cohort->inside_base_sum += slot->base;
    }
    cohort->changed = true;
}

void km_cohort_go_on(struct km_cohort *cohort, struct km_slot *slot, uint32_t further)
{
    uint32_t item = slot->sequence.slot;
    slot->finish_clock = cohort->clock + further;
    km_heap_remove(&cohort->finish, item);
    km_heap_push(&cohort->finish, slot->finish_clock, slot->sequence.admission, item);
}

void km_cohort_leave(struct km_cohort *cohort, struct km_slot *slot)
{
    uint32_t item = slot->sequence.slot;
    cohort->count--;
    cohort->base_sum -= slot->base;
    km_growth_remove(&cohort->growth, slot->base, cohort->clock);
    km_class_counts_remove(&cohort->classes, slot->request.class_index);
    km_heap_remove(&cohort->finish, item);
    km_heap_remove(&cohort->longest, item);
    if (km_heap_contains(&cohort->inside, item)) {
        km_heap_remove(&cohort->inside, item);
        cohort->inside_base_sum -= slot->base;
    }
    cohort->changed = true;
}

void km_cohort_shape(struct km_cohort *cohort, struct km_decode_shape *out)
{
    int64_t clock = (int64_t)cohort->clock;
    out->count = cohort->count;
    out->sum_context = (uint64_t)(cohort->base_sum + (int64_t)cohort->count * clock);
    out->max_context =
        cohort->count ? (uint64_t)(INT64_MAX / 2 - (int64_t)km_heap_key(&cohort->longest) + clock) : 0;
    out->sum_windowed = out->sum_context;
    out->below_window = cohort->count;
    if (!cohort->window)
        return;
    while (cohort->inside.count && (int64_t)km_heap_key(&cohort->inside) < clock) {
        /* The heap's key is window - base. */
        cohort->inside_base_sum -= (int64_t)cohort->window - (int64_t)km_heap_key(&cohort->inside);
        km_heap_pop(&cohort->inside);
    }
    int64_t inside = (int64_t)cohort->inside.count;
    out->below_window = (uint32_t)inside;
    out->sum_windowed = (uint64_t)(cohort->inside_base_sum + inside * clock +
                                   ((int64_t)cohort->count - inside) * (int64_t)cohort->window);
}

uint64_t km_cohort_window_steps(const struct km_cohort *cohort)
{
    return cohort->inside.count ? km_heap_key(&cohort->inside) - cohort->clock + 1 : UINT64_MAX;
}
