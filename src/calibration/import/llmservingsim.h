/* What the parts of importer `llmservingsim` share: whose layers the tables are of, on one rank. */
#ifndef KM_CALIBRATION_IMPORT_LLMSERVINGSIM_H
#define KM_CALIBRATION_IMPORT_LLMSERVINGSIM_H

#include "base/table.h"
#include "calibration/import/import.h"

struct km_llmservingsim {
    const struct km_import_config *config;
    struct km_profile *profile;
    const struct km_layer *attention, *dense, *moe;    /* the model's first of each kind; NULL = none */
    double hidden, heads, kv_heads, dim, width, vocab; /* of a rank */
    double dtype;
};

/* Path of a table; it lives as long as the profile, since rows note where they came from. */
const char *km_llmservingsim_path(const struct km_llmservingsim *in, const char *name);
/* Columns that must be there. */
enum km_status km_llmservingsim_columns(const struct km_table *table, const char *const *names,
                                        uint32_t count, uint32_t *columns, struct km_error *error);
/* Is this line of another layer than `layer`? Not where the table has no column "layer". */
bool km_llmservingsim_other_layer(const struct km_table *table, const char *layer);
void km_llmservingsim_scalar(struct km_profile *profile, const char *name, double value);

/* skew.csv, if it is there: how much longer attention over ragged contexts takes. Its columns n, pc, kv_big,
 * kv_mean, t_mean_us (all contexts alike) and t_skew_us give class attention_skew; lines that differ only in
 * the prompt's past or the number of long contexts count with their mean. A file whose batches without skew
 * take another time than attention.csv says (median off by more than 20 %) was measured otherwise: it is left
 * out, and the provenance says so. */
enum km_status km_llmservingsim_skew(struct km_llmservingsim *in, struct km_text *provenance,
                                     struct km_error *error);

/* moe.csv, if it is there: [ep,]tokens,activated_experts,time_us, a whole MoE block (the router and, where
 * the model has them, the shared experts included) on one of `ep` ranks (1), after `tokens` tokens from all
 * ranks hit so many of its experts. Class moe asks for uniform routing, which hits E (1 - (1 - k/E)^tokens) /
 * ep of E experts: the time is interpolated linearly between the measured numbers of experts, or extrapolated
 * from the last two (the profiler's grid ends at a power of two). Fewer than the least measured number of
 * experts take its time. */
enum km_status km_llmservingsim_moe(struct km_llmservingsim *in, struct km_error *error);

#endif
