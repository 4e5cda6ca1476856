/* Any bytes as a scenario: YAML, the tables, the sections, without looking at a file. What is accepted must
 * be written as JSON that is accepted again and written the same. */
#include "scenario/scenario.h"
#include "scenario/sections.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What model, device and engine descriptions would have said. */
static void begin(struct km_scenario *out)
{
    *out = km_scenario_defaults;
    out->engine = (struct km_engine){.name = "none",
                                     .policy = "continuous",
                                     .kv_manager = "paged",
                                     .max_num_seqs = 1,
                                     .max_num_batched_tokens = 1,
                                     .block_size = 16,
                                     .all_reduce_count = 1,
                                     .gpu_memory_utilization = 0.9};
    out->device.node =
        (struct km_node){.gpus_per_node = 1,
                         .link = {.name = "a", .bandwidth_bytes_per_s = 1e9, .efficiency = 1},
                         .network = {.name = "b", .bandwidth_bytes_per_s = 1e9, .efficiency = 1}};
}

static enum km_status read_text(const char *text, size_t size, struct km_scenario *out)
{
    struct km_error error = {0};
    struct km_yaml *root;
    begin(out);
    struct km_settings_context context = {.arena = &out->arena, .folder = NULL};
    enum km_status status = km_yaml_parse(text, size, "input", true, &out->arena, &root, &error);
    if (status == KM_OK)
        status = km_scenario_read_sections(root, out, &context, &error);
    if ((status == KM_OK) != (error.message[0] == '\0'))
        abort(); /* an error without a message, or a message without an error */
    return status;
}

/* Its groups, each laid over the rest. */
static void read_groups(const char *text, size_t size)
{
    struct km_arena arena = {0};
    struct km_error error = {0};
    struct km_yaml *root, **trees;
    uint32_t count = 0;
    const struct km_settings_context context = {.arena = &arena, .folder = NULL};
    enum km_status status = km_yaml_parse(text, size, "input", true, &arena, &root, &error);
    if (status == KM_OK)
        status = km_cluster_split(root, &arena, &trees, &count, &error);
    for (uint32_t i = 0; status == KM_OK && i < count; i++) {
        struct km_scenario group;
        begin(&group);
        status = km_scenario_read_sections(trees[i], &group, &context, &error);
    }
    if ((status == KM_OK) != (error.message[0] == '\0'))
        abort();
    km_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct km_scenario scenario, again;
    read_groups((const char *)data, size);
    if (read_text((const char *)data, size, &scenario) == KM_OK) {
        struct km_text first = {0}, second = {0};
        km_scenario_write_json(&scenario, &first);
        if (read_text(first.bytes, first.length, &again) != KM_OK)
            abort();
        km_scenario_write_json(&again, &second);
        if (strcmp(km_text_c(&first), km_text_c(&second)) != 0)
            abort();
        km_text_release(&first);
        km_text_release(&second);
        km_scenario_release(&again);
    }
    km_scenario_release(&scenario);
    return 0;
}
