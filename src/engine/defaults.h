/* Limits that follow from the device and the use, where nobody states them: rules of an engine description.
 *
 * vLLM picks max_num_seqs and max_num_batched_tokens by the device's memory and name and by usage (an API server,
 * or its class LLM inside a program), and captures graphs of at most twice as many tokens as sequences
 * (vllm/engine/arg_utils.py, get_batch_defaults; vllm/config/vllm.py, _set_cudagraph_sizes). Of a description's
 * rules the first that holds for the device counts; what the description or the scenario states is left alone. */
#ifndef KM_ENGINE_DEFAULTS_H
#define KM_ENGINE_DEFAULTS_H

#include "base/settings.h"

#include <stdbool.h>
#include <stdint.h>

#define KM_MAX_DEFAULT_RULES   16
#define KM_MAX_RULE_GRAPH_SIZE 1024 /* 85 sizes at most */

enum km_usage { KM_USAGE_SERVER, KM_USAGE_OFFLINE };

struct km_default_rule {
    double memory_from_gib; /* of the device, as its runtime reports it; 0 = any */
    const char *only,
        *except; /* parts of its vendor_name, in any case, parted by "|"; NULL = any name, none */
    uint32_t max_num_seqs;
    uint32_t max_num_batched_tokens[2]; /* by enum km_usage */
    uint32_t max_cudagraph_capture_size;
    bool capture_max_num_seqs; /* a graph of exactly that size besides, where it is within the largest */
};

struct km_defaults {
    enum km_usage usage;
    struct km_default_rule rules[KM_MAX_DEFAULT_RULES];
    uint32_t count;
    bool graph_sizes; /* they follow, too */
};

extern const struct km_setting km_default_rule_settings[];
extern const char *const km_usage_names[];

/* The rule for a device by its vendor_name ("" = unknown); NULL: none holds. */
const struct km_default_rule *km_default_rule(const struct km_defaults *defaults, const char *vendor_name,
                                              double memory_bytes);

/* What is 0 of the two becomes the rule's. max_model_len: of the model if nobody states it; 0 = not known. */
void km_default_limits(const struct km_default_rule *rule, enum km_usage usage, bool enable_chunked_prefill,
                       uint32_t max_model_len, uint32_t *max_num_seqs, uint32_t *max_num_batched_tokens);

/* The rule's sizes up to the least of its largest, 2 x max_num_seqs and max_num_batched_tokens: 1, 2, 4, every 8
 * below 256, every 16 from there on, and the budget if it is within. Returns how many; `out` has room for 128. */
uint32_t km_default_graph_sizes(const struct km_default_rule *rule, uint32_t max_num_seqs,
                                uint32_t max_num_batched_tokens, uint32_t *out);

#endif
