/* One random case: the settings of a scenario, by dotted key, and the trace that it replays, if any. A number
 * in a key counts the entries of a list: "cluster.groups.1.device". The same seed and number give the same
 * case. */
#ifndef KM_TESTS_CAMPAIGN_CASE_H
#define KM_TESTS_CAMPAIGN_CASE_H

#include "base/memory.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOST_SETTINGS 400
#define MOST_REQUESTS 150

struct setting {
    const char *key, *value; /* YAML text; in the case's arena */
};

/* A row of the trace. Shares of prompts: the first `shared_blocks` blocks of the prompt are those of every
 * request with the same `prefix`. */
struct row {
    uint64_t arrival_us;
    uint32_t prompt_tokens, output_tokens;
    uint32_t session, class_index; /* 0 = none */
    uint32_t prefix, shared_blocks;
};

struct random_scenario {
    uint64_t seed, number;
    uint32_t relation; /* relations.h */
    struct setting settings[MOST_SETTINGS];
    size_t count;
    struct row rows[MOST_REQUESTS]; /* ascending arrivals */
    size_t row_count;               /* 0 = no trace */
    bool mooncake;                  /* the format of the trace; else the project's own */
    struct km_arena *arena;         /* borrowed; shared by copies */
};

/* Is `key` the key `prefix`, or one below it? */
bool case_is_under(const char *key, const char *prefix);
/* NULL when it is not set. */
const char *case_get(const struct random_scenario *c, const char *key);
bool case_is(const struct random_scenario *c, const char *key, const char *value);
/* Set, or set anew; sections of which it would be part are as they were. */
void case_set(struct random_scenario *c, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Leave out a key and all below it. */
void case_drop(struct random_scenario *c, const char *key);
void case_drop_at(struct random_scenario *c, size_t index);
/* Every key of the first prefix gets the second instead: move("cluster.device", "cluster.groups.0.device").
 */
void case_move(struct random_scenario *c, const char *key, const char *to);

/* The scenario as YAML, a line a section. Appends. */
void case_yaml(const struct random_scenario *c, struct km_text *out);
/* The trace. Appends. */
void case_trace(const struct random_scenario *c, struct km_text *out);
/* Both, and the file of lengths, into a folder that is there; the scenario is <folder>/case.yaml. */
void case_write(const struct random_scenario *c, const char *folder);

#endif
