#include "report/flat.h"

#include "base/settings.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

struct list {
    struct km_arena *arena;
    const char **names, **values;
    size_t count, name_capacity, value_capacity;
};

static void add(struct list *list, const char *name, const char *value)
{
    list->names = km_grow(list->names, &list->name_capacity, list->count + 1, sizeof *list->names);
    list->values = km_grow(list->values, &list->value_capacity, list->count + 1, sizeof *list->values);
    list->names[list->count] = km_arena_strdup(list->arena, name);
    list->values[list->count++] = km_arena_strdup(list->arena, value);
}

static void add_scalar(struct list *list, const char *name, const cJSON *value)
{
    struct km_text text = {0};
    if (cJSON_IsNumber(value))
        km_settings_write_number(value->valuedouble, &text);
    else if (cJSON_IsString(value))
        km_settings_write_string(value->valuestring, &text);
    else
        km_text_puts(&text, cJSON_IsNull(value) ? "null" : cJSON_IsTrue(value) ? "true" : "false");
    add(list, name, km_text_c(&text));
    km_text_release(&text);
}

static void add_members(struct list *list, const char *path, const cJSON *object)
{
    const cJSON *member;
    cJSON_ArrayForEach(member, object)
    {
        const char *name =
            *path ? km_arena_printf(list->arena, "%s.%s", path, member->string) : member->string;
        if (cJSON_IsObject(member))
            add_members(list, name, member);
        else if (!cJSON_IsArray(member))
            add_scalar(list, name, member);
    }
}

static void add_notes(struct list *list, const struct km_report *report)
{
    struct km_text notes = {0}, quoted = {0};
    for (size_t i = 0; i < report->note_count; i++)
        km_text_printf(&notes, "%s%s", i ? "; " : "", report->notes[i]);
    km_settings_write_string(notes.length ? km_text_c(&notes) : NULL, &quoted);
    add(list, "notes", km_text_c(&quoted));
    km_text_release(&notes);
    km_text_release(&quoted);
}

void km_report_flatten(const struct km_report *report, struct km_arena *arena, struct km_flat *out)
{
    static const char *const left_out[] = {"schema", "scenario", "seed", "partial", "simulator", NULL};
    struct km_report bare = *report;
    bare.scenario_json = NULL;
    struct km_text json = {0};
    km_report_json(&bare, &json);
    cJSON *root = cJSON_ParseWithLength(km_text_c(&json), json.length);
    for (size_t i = 0; left_out[i]; i++)
        cJSON_DeleteItemFromObjectCaseSensitive(root, left_out[i]);
    struct list list = {.arena = arena};
    add_members(&list, "", root);
    add_notes(&list, report);
    cJSON_Delete(root);
    km_text_release(&json);

    size_t bytes = list.count * sizeof(char *);
    out->names = memcpy(km_arena_alloc(arena, bytes), list.names, bytes);
    out->values = memcpy(km_arena_alloc(arena, bytes), list.values, bytes);
    out->count = (uint32_t)list.count;
    free(list.names);
    free(list.values);
}

void km_report_flat_names(struct km_arena *arena, struct km_flat *out)
{
    const struct km_summary summary = {0};
    const struct km_report report = {.summary = &summary};
    km_report_flatten(&report, arena, out);
}

const char *km_flat_value(const struct km_flat *flat, const char *name)
{
    for (uint32_t i = 0; i < flat->count; i++)
        if (strcmp(flat->names[i], name) == 0)
            return flat->values[i];
    return "null";
}
