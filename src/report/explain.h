/* What `kingman explain` says: where the memory goes, where a step's time goes, and how both change with the
 * batch. A table for a person, JSON for a program. Knows no scenario: everything is handed in. */
#ifndef KM_REPORT_EXPLAIN_H
#define KM_REPORT_EXPLAIN_H

#include "accuracy/accuracy.h"
#include "base/text.h"
#include "executor/step_account.h"
#include "model/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sequences of one context length that a replica holds at once. */
struct km_explain_concurrency {
    uint64_t context_tokens;
    uint64_t sequences, running; /* in the KV cache; of them within max_num_seqs */
};

struct km_explain_step {
    const char *name;                          /* "decode", "prefill", "batch" */
    uint32_t prefill_tokens, past_tokens;      /* one chunk; 0 = none */
    uint32_t decode_sequences, context_tokens; /* of each */
    struct km_step_account account;
};

/* One batch size of a sweep of decode-only steps. */
struct km_explain_sweep_row {
    uint32_t sequences;
    bool fits; /* in the KV blocks */
    double step_s, device_s, host_s, tokens_per_s;
    const char *paced_by;
    double share[KM_BOUND_COUNT]; /* of device_s, by what operators are bound by */
    /* by what most of their time is bound; KM_BOUND_NONE when there are none */
    enum km_bound products_bound_by, attention_bound_by;
};

struct km_explanation { /* everything is borrowed */
    const char *model, *device, *layout, *engine, *cost;
    const char *scenario_json; /* the resolved scenario; NULL = null */
    const char *version;
    double parameters, active_parameters;                 /* of the model; read for one token */
    const char *towers;                                   /* beside the language model; NULL = none */
    double tower_parameters;                              /* not among the others */
    double parameters_in_name, active_parameters_in_name; /* what its name says; 0 = nothing */

    const char *const *notes; /* [note_count] one line each */
    size_t note_count;
    const char *const *warnings; /* [warning_count] one line each: what makes the answer doubtful */
    size_t warning_count;
    const struct km_accuracy_answer *accuracy; /* [accuracy_count] as in report.h */
    size_t accuracy_count;

    /* memory of one rank */
    double device_bytes, gpu_memory_utilization;
    const struct km_memory_map *memory;
    uint64_t blocks; /* in use: the map's, or the scenario's override */
    bool blocks_overridden;
    uint32_t max_model_len;
    uint64_t most_model_len; /* the engine starts with no more (scenario/run.h); UINT64_MAX = with any */
    uint32_t block_size, max_num_seqs, max_num_batched_tokens; /* of each data-parallel rank */
    uint32_t data_parallel_size;
    const struct km_explain_concurrency *concurrency; /* [concurrency_count] */
    size_t concurrency_count;
    /* when nothing fits: what would; 0 and NULL = nothing of that kind */
    uint32_t fit_tensor_parallel_size;
    uint64_t fit_tensor_parallel_blocks;
    const char *fit_weights;
    uint64_t fit_weights_blocks;

    const struct km_explain_step *steps; /* [step_count] */
    size_t step_count;

    uint32_t sweep_context_tokens;            /* 0 = no sweep */
    const struct km_explain_sweep_row *sweep; /* [sweep_count] */
    size_t sweep_count;
    /* The smallest batch of the sweep's range from which most of the time of matrix products (of attention,
     * of the whole step) is bound by arithmetic; 0 = none. */
    uint32_t products_turn, attention_turn, step_turn;

    double peak_flops_per_s, bandwidth_bytes_per_s; /* of the device, for the run's number formats */
};

/* For a terminal 80 columns wide. Appends. */
void km_explain_text(const struct km_explanation *explanation, struct km_text *out);
/* One object, schema 1; every key is always there, null where undefined. Appends. */
void km_explain_json(const struct km_explanation *explanation, struct km_text *out);

/* Parts of the text, one file each; private to src/report/explain*.c. */
void km_explain_memory_text(const struct km_explanation *explanation, struct km_text *out);
void km_explain_step_text(const struct km_explanation *explanation, const struct km_explain_step *step,
                          struct km_text *out);
void km_explain_sweep_text(const struct km_explanation *explanation, struct km_text *out);

#endif
