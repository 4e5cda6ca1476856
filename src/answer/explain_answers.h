/* What `kingman explain` answers, put together for its report. Private to explain*.c. */
#ifndef KM_ANSWER_EXPLAIN_ANSWERS_H
#define KM_ANSWER_EXPLAIN_ANSWERS_H

#include "report/explain.h"
#include "scenario/run.h"

/* Which steps to explain, checked against the scenario. */
struct km_explain_request {
    uint32_t prefill, past, decode, context; /* context: also of the sweep */
    bool given;                              /* one batch of the user's; else the two usual ones */
    uint32_t sweep_from, sweep_to;
};

/* The memory map and what it holds; what would fit when nothing does. Borrows `map`. */
void km_explain_memory(const struct km_scenario *scenario, const struct km_memory_map *map, uint64_t context,
                       struct km_arena *arena, struct km_explanation *out);

/* The steps and the sweep. Arrays live in `arena`. */
enum km_status km_explain_steps(const struct km_setup *setup, const struct km_explain_request *request,
                                struct km_arena *arena, struct km_explanation *out, struct km_error *error);

#endif
