#include "cli/overrides.h"

#include <string.h>

enum km_status km_cli_overrides_read(const struct km_option_list *sets, struct km_cli_overrides *out,
                                     struct km_error *error)
{
    out->count = 0;
    for (size_t i = 0; i < sets->count; i++) {
        const char *item = sets->items[i], *equals = strchr(item, '=');
        if (!equals || equals == item || (size_t)(equals - item) >= sizeof out->keys[0])
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--set: expected KEY=VALUE, got \"%s\"", item);
        memcpy(out->keys[i], item, (size_t)(equals - item));
        out->keys[i][equals - item] = '\0';
        km_cli_overrides_add(out, out->keys[i], equals + 1);
    }
    return KM_OK;
}

void km_cli_overrides_add(struct km_cli_overrides *overrides, const char *key, const char *value)
{
    overrides->items[overrides->count++] = (struct km_override){key, value};
}
