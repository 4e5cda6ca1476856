/* What vLLM's flags and SGLang's arguments are called here, and which of them have no counterpart. YAML has one
 * spelling; whoever writes another engine's is told the key that means the same, or that it is not modelled. */
#ifndef KM_ENGINE_FLAGS_H
#define KM_ENGINE_FLAGS_H

#include "base/text.h"

#include <stdbool.h>

struct km_engine_flag {
    const char *engine; /* "vLLM", "SGLang": whose flag it is; vLLM's where both have it */
    const char *flag;   /* without dashes in front, words joined by _; NULL ends the table */
    const char *key;    /* of a scenario; NULL = not modelled */
    const char *note;   /* what differs; with a key NULL = nothing does, without one what is missing */
};

extern const struct km_engine_flag km_engine_flags[];

/* By its name, with or without dashes in front, words joined by - or _. *negated: by the name of its opposite,
 * --no-async-scheduling. NULL: none of theirs. */
const struct km_engine_flag *km_engine_flag_find(const char *name, bool *negated);

/* Appends "vLLM's max_num_seqs is engine.batching.max_num_seqs here", or "vLLM's ... is not modelled: ...", and
 * returns true; false for a name that is no flag. For km_settings_context. */
bool km_engine_flag_explain(const char *name, struct km_text *out);

#endif
