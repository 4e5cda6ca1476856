#include "engine/composition.h"

#include <stddef.h>

#define AT(member) offsetof(struct km_composition, member)

static const char *const rule_names[] = {"as_run", "vidur", NULL};

const struct km_setting km_composition_settings[] = {
    {"rule", KM_SETTING_ENUM, AT(rule), .names = rule_names, .optional = true,
     .doc = "how attention of a batch is put together: by the engine's kernels, or as Vidur does"},
    {"context_granularity_tokens", KM_SETTING_U32, AT(context_granularity_tokens), KM_BETWEEN(0, 65536),
     .optional = true, .doc = "contexts are rounded up to multiples of it; 0 = exact"},
    {"token_granularity", KM_SETTING_U32, AT(token_granularity), KM_BETWEEN(0, 65536), .optional = true,
     .doc = "tokens of a step outside the graphs are rounded up to multiples of it; 0 = exact"},
    {"batching_overhead", KM_SETTING_NUMBER, AT(batching_overhead), KM_BETWEEN(0, 10), .optional = true,
     .doc = "attention of several prompts or decodes over that of one, less 1, where heads share KV heads"},
    {"all_reduce_launch_s", KM_SETTING_NUMBER, AT(all_reduce_launch_s), KM_BETWEEN(0, 1), .optional = true,
     .doc = "launch of an all-reduce beyond its measured time"},
    {"layers_only", KM_SETTING_BOOL, AT(layers_only), .optional = true,
     .doc = "embedding, last norm, LM head and sampling take no time"},
    {0},
};
