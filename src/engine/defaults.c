#include "engine/defaults.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

const char *const km_usage_names[] = {"server", "offline", NULL};

#define AT(member) offsetof(struct km_default_rule, member)

static enum km_status read_names(const struct km_yaml *value, void *field,
                                 const struct km_settings_context *context, struct km_error *error)
{
    (void)context;
    return km_settings_text(value, "parts of a device's name", field, error);
}

const struct km_setting km_default_rule_settings[] = {
    {"memory_from_gib", KM_SETTING_NUMBER, AT(memory_from_gib), KM_BETWEEN(0, 1e5), .optional = true,
     .doc = "devices of at least so much memory; 0 = any"},
    {"only", KM_SETTING_CUSTOM, AT(only), .optional = true, .read = read_names,
     .doc = "devices whose vendor_name has one of these parts, parted by |"},
    {"except", KM_SETTING_CUSTOM, AT(except), .optional = true, .read = read_names,
     .doc = "and none of these"},
    {"max_num_seqs", KM_SETTING_U32, AT(max_num_seqs), KM_AT_LEAST(1), .doc = "there, unless it is stated"},
    {"server_max_num_batched_tokens", KM_SETTING_U32, AT(max_num_batched_tokens[KM_USAGE_SERVER]),
     KM_AT_LEAST(1), .doc = "the same, with usage: server"},
    {"offline_max_num_batched_tokens", KM_SETTING_U32, AT(max_num_batched_tokens[KM_USAGE_OFFLINE]),
     KM_AT_LEAST(1), .doc = "the same, with usage: offline"},
    {"max_cudagraph_capture_size", KM_SETTING_U32, AT(max_cudagraph_capture_size),
     KM_BETWEEN(1, KM_MAX_RULE_GRAPH_SIZE), .doc = "the same, of cudagraph_capture_sizes: by_rule"},
    {"capture_max_num_seqs", KM_SETTING_BOOL, AT(capture_max_num_seqs), .optional = true,
     .doc = "and a graph of max_num_seqs decodes"},
    {0},
};

static bool begins(const char *text, const char *part, size_t length)
{
    size_t i = 0;
    while (i < length && text[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
        i++;
    return i == length;
}

static bool has_part(const char *name, const char *parts)
{
    while (*parts) {
        size_t length = strcspn(parts, "|");
        for (const char *at = name; length && *at; at++)
            if (begins(at, parts, length))
                return true;
        parts += length + (parts[length] == '|');
    }
    return false;
}

const struct km_default_rule *km_default_rule(const struct km_defaults *defaults, const char *vendor_name,
                                              double memory_bytes)
{
    for (uint32_t i = 0; i < defaults->count; i++) {
        const struct km_default_rule *rule = &defaults->rules[i];
        if (memory_bytes >= rule->memory_from_gib * 0x1p30 &&
            (!rule->only || has_part(vendor_name, rule->only)) &&
            !(rule->except && has_part(vendor_name, rule->except)))
            return rule;
    }
    return NULL;
}

static uint32_t least(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b < UINT32_MAX ? b : UINT32_MAX);
}

void km_default_limits(const struct km_default_rule *rule, enum km_usage usage, bool enable_chunked_prefill,
                       uint32_t max_model_len, uint32_t *max_num_seqs, uint32_t *max_num_batched_tokens)
{
    bool any_seqs = *max_num_seqs == 0;
    if (any_seqs)
        *max_num_seqs = rule->max_num_seqs;
    if (*max_num_batched_tokens == 0) {
        uint32_t tokens = rule->max_num_batched_tokens[usage];
        if (!enable_chunked_prefill && tokens < max_model_len)
            tokens = max_model_len;
        *max_num_batched_tokens =
            max_model_len ? least(tokens, (uint64_t)*max_num_seqs * max_model_len) : tokens;
    }
    if (any_seqs)
        *max_num_seqs = least(*max_num_seqs, *max_num_batched_tokens);
}

/* Into its place, once. */
static uint32_t put(uint32_t size, uint32_t count, uint32_t *out)
{
    uint32_t at = count;
    while (at > 0 && out[at - 1] > size)
        at--;
    if (at > 0 && out[at - 1] == size)
        return count;
    memmove(out + at + 1, out + at, (count - at) * sizeof *out);
    out[at] = size;
    return count + 1;
}

uint32_t km_default_graph_sizes(const struct km_default_rule *rule, uint32_t max_num_seqs,
                                uint32_t max_num_batched_tokens, uint32_t *out)
{
    uint32_t within = least(rule->max_cudagraph_capture_size, (uint64_t)2 * max_num_seqs);
    uint32_t most = least(within, max_num_batched_tokens), count = 0;
    for (uint32_t size = 1; size <= 4 && size <= most; size *= 2)
        out[count++] = size;
    for (uint32_t size = 8; size <= most; size += size < 256 ? 8 : 16)
        out[count++] = size;
    if (max_num_batched_tokens == most)
        count = put(max_num_batched_tokens, count, out);
    if (rule->capture_max_num_seqs && max_num_seqs <= most)
        count = put(max_num_seqs, count, out);
    return count;
}
