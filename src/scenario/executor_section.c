/* `executor: simulated`, or `executor: {name: scripted, ...}` with the settings of that executor's own table. */
#include "executor/executor.h"
#include "scenario/sections.h"

#include <string.h>

/* This build may lack an executor that other builds have: say so rather than "unknown name". */
static enum km_status find(const struct km_yaml *name, const struct km_executor **out, struct km_error *error)
{
    const char *text;
    enum km_status status = km_settings_text(name, "a name", &text, error);
    if (status != KM_OK)
        return status;
    *out = km_executor_find(text);
    if (!*out && strcmp(text, "cuda") == 0)
        return km_yaml_fail(name, error,
                            "this build has no CUDA executor; use simulated, or build with CUDA");
    return *out ? KM_OK : km_settings_check_name(name, km_executor_registry, error);
}

/* Everything but the name, which is no setting of the executor's. */
static struct km_yaml without_name(const struct km_yaml *mapping, struct km_arena *arena)
{
    struct km_yaml rest = *mapping;
    rest.items = km_arena_alloc(arena, mapping->count * sizeof *rest.items);
    rest.count = 0;
    for (size_t i = 0; i < mapping->count; i++)
        if (strcmp(mapping->items[i]->key, "name") != 0)
            rest.items[rest.count++] = mapping->items[i];
    return rest;
}

enum km_status km_executor_section_read(const struct km_yaml *value, void *field,
                                        const struct km_settings_context *context, struct km_error *error)
{
    struct km_scenario *scenario = field;
    const struct km_executor *executor = NULL;
    bool mapping = value->kind == KM_YAML_MAPPING;
    const struct km_yaml *name = mapping ? km_yaml_get(value, "name") : value;
    enum km_status status = name ? find(name, &executor, error) : km_yaml_fail_missing(value, "name", error);
    if (status != KM_OK)
        return status;
    static const struct km_setting none[] = {{0}};
    scenario->executor = executor->entry.name;
    scenario->executor_settings = NULL;
    if (executor->settings) {
        scenario->executor_settings = km_arena_alloc(context->arena, executor->settings_bytes);
        memcpy(scenario->executor_settings, executor->defaults, executor->settings_bytes);
    }
    if (!mapping)
        return KM_OK;
    const struct km_yaml rest = without_name(value, context->arena);
    return km_settings_read(&rest, executor->settings ? executor->settings : none, KM_SETTINGS_PARTIAL,
                            scenario->executor_settings, NULL, context, error);
}

void km_executor_section_write(const void *field, struct km_text *out)
{
    const struct km_scenario *scenario = field;
    const struct km_executor *executor = km_executor_find(scenario->executor);
    if (!executor->settings) {
        km_settings_write_string(scenario->executor, out);
        return;
    }
    struct km_text own = {0};
    km_settings_write_json(executor->settings, scenario->executor_settings, &own);
    km_text_puts(out, "{\"name\": ");
    km_settings_write_string(scenario->executor, out);
    km_text_printf(out, ", %s", km_text_c(&own) + 1); /* after its brace */
    km_text_release(&own);
}
