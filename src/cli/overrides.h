/* --set KEY=VALUE, as the scenario reader wants it. */
#ifndef KM_CLI_OVERRIDES_H
#define KM_CLI_OVERRIDES_H

#include "cli/options.h"
#include "scenario/scenario.h"

struct km_cli_overrides {
    struct km_override items[258]; /* the options, and two more */
    size_t count;
    char keys[256][256]; /* private */
};

enum km_status km_cli_overrides_read(const struct km_option_list *sets, struct km_cli_overrides *out,
                                     struct km_error *error);
/* One that has an option of its own, --seed say: after the others, which it goes before. At most twice. */
void km_cli_overrides_add(struct km_cli_overrides *overrides, const char *key, const char *value);

#endif
