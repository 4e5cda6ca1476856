/* What the policies that form a batch once and run it to its end have in common: whole prompts, no admission
 * on the way. */
#ifndef KM_BATCHING_WHOLE_BATCH_H
#define KM_BATCHING_WHOLE_BATCH_H

#include "batching/batching.h"

/* One token for everybody; for want of blocks the youngest that is not finished is preempted. Returns whether
 * everybody was served at once. */
bool km_whole_batch_decode(const struct km_batching_view *view, const struct km_batch_handle *batch);

/* Admit up to `limit` waiting sequences with their whole prompts, as far as slots and blocks go. Returns how
 * many. */
uint32_t km_whole_batch_admit(const struct km_batching_view *view, const struct km_batch_handle *batch,
                              uint32_t limit);

/* While a batch runs, carry it on; once it has ended, fill the next with all that wait: at least `least` of
 * them (unless no more will come), at most `most`; and if fewer than `most` wait, let the first wait for
 * company up to max_wait_ps. */
void km_whole_batch_form(const struct km_batching_view *view, const struct km_batch_handle *batch,
                         uint32_t least, uint32_t most);

#endif
