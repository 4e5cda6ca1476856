/* What the sections of a scenario share. */
#include "scenario/sections.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum km_status km_scenario_refuse(const struct km_yaml *root, const char *key, struct km_error *error,
                                  const char *format, ...)
{
    const struct km_yaml *at = root;
    char part[64], message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    for (const char *rest = key; rest;) {
        const char *dot = strchr(rest, '.');
        snprintf(part, sizeof part, "%.*s", (int)(dot ? (size_t)(dot - rest) : strlen(rest)), rest);
        const struct km_yaml *next = km_yaml_get(at, part);
        if (!next)
            break;
        at = next;
        rest = dot ? dot + 1 : NULL;
    }
    return km_fail(error, KM_BAD_INPUT, at->file, at->line, at->column, "%s: %s", key, message);
}

uint32_t km_scenario_group_count(const struct km_scenario *scenario)
{
    return scenario->group_count ? scenario->group_count : 1;
}

const struct km_scenario *km_scenario_group(const struct km_scenario *scenario, uint32_t index)
{
    return scenario->group_count ? &scenario->groups[index] : scenario;
}
