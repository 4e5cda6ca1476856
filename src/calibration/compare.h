/* Two profiles of one device beside each other, at the operators of a model. */
#ifndef KM_CALIBRATION_COMPARE_H
#define KM_CALIBRATION_COMPARE_H

#include "cost/cost.h"

#include <stddef.h>

#define KM_COMPARE_ROWS 512

/* One operator at one shape: what either profile says a single execution takes, and where that comes from.
 * time_s 0: it has no table of it. */
struct km_compare_row {
    const char *op; /* borrowed from the arena */
    double n, k;    /* of a product; 0 = attention */
    double rows;    /* of a product: m; of prefill: tokens; of decode: sequences */
    double context; /* of attention */
    double time_s[2];
    enum km_origin origin[2];
};

struct km_compare {
    struct km_compare_row rows[KM_COMPARE_ROWS];
    size_t count;
};

/* The products of a layer and the LM head at 1 to 8,192 rows, decodes of 1 to 256 sequences over 256 to 8,192
 * tokens, prompts of 256 to 8,192 tokens. `config` names the first profile, `other` is the second; the device
 * is both's. KM_BAD_INPUT: a profile cannot be read or is of another device. */
enum km_status km_compare_profiles(const struct km_cost_config *config, const char *other,
                                   struct km_arena *arena, struct km_compare *out, struct km_error *error);

#endif
