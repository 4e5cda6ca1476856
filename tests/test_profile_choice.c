/* Which profile a scenario that names none runs on, and what is read of a profile before its tables. */
#include "scenario/profile_choice.h"

#include "base/file.h"
#include "base/outfile.h"
#include "cost/profile/head.h"
#include "scenario/scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TABLES "\"tables\": {\"scalar\": {\"dims\": [\"name\"], \"rows\": [[\"kernel_graph_us\", 1.1]]}}"

/* A folder of profiles whose names say nothing. */
static const struct {
    const char *name, *text;
} files[] = {
    {"a", "{\"schema\": 1, \"device\": \"gpu-one\", \"provenance\": {\"source\": \"x\", \"engine\": "
          "\"sglang\"}, " TABLES "}"},
    {"b",
     "{\n  \"provenance\": {\"source\": \"\\\"tables\\\": {\", \"tables\": \"none\", \"engine\": \"vllm\"},\n"
     "  \"device\": \"gpu-one\",\n  \"schema\": 1,\n  " TABLES "}"},
    {"c", "{" TABLES ", \"schema\": 1, \"device\": \"gpu-two\", \"provenance\": {\"source\": \"x\"}}"},
    {"d", "{\"schema\": 1, \"device\": \"gpu-two\", " TABLES
          ", \"provenance\": {\"source\": \"x\", \"engine\": \"tensorrt-llm\"}}"},
    {"gpu-one",
     "{\"schema\": 1, \"device\": \"gpu-three\", \"provenance\": {\"source\": \"x\"}, " TABLES "}"},
    {"z", "{\"schema\": 1, \"device\": \"gpu-three\", \"provenance\": {\"source\": \"x\"}, " TABLES "}"},
};

static char folder[] = "/tmp/kingman-choice-XXXXXX";

static int enter_folder(void **state)
{
    (void)state;
    char path[600];
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    snprintf(path, sizeof path, "%s/configs/profiles", folder);
    if (km_make_directory(path, NULL) != KM_OK)
        return 1;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct km_text text = {0};
        km_text_puts(&text, files[i].text);
        snprintf(path, sizeof path, "%s/configs/profiles/%s.json", folder, files[i].name);
        if (km_file_write(path, &text, NULL) != KM_OK)
            return 1;
        km_text_release(&text);
    }
    return 0;
}

static int leave_folder(void **state)
{
    (void)state;
    char path[600];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "configs/profiles/%s.json", files[i].name);
        unlink(path);
    }
    return rmdir("configs/profiles") || rmdir("configs") || chdir("/") || rmdir(folder);
}

static void test_choice(void **state)
{
    (void)state;
    static const struct {
        const char *device, *engine, *profile; /* NULL = none */
    } cases[] = {
        {"gpu-one", "vllm-0.26", "b"},
        {"gpu-one", "sglang", "a"},
        {"gpu-one", "tensorrt-llm", "a"}, /* another engine's, the first by name */
        {"gpu-two", "tensorrt-llm", "d"},
        {"gpu-two", "vllm-0.26", "c"}, /* of no engine rather than of another */
        {"gpu-three", "ideal", "gpu-one"},
        {"gpu-four", "vllm-0.26", NULL},
        /* those that ship */
        {"h100-sxm", "vllm-0.26", "h100-sxm-aiconfigurator"},
        {"h200-sxm", "vllm-0.26", "h200-sxm-vllm"},           /* by its very name */
        {"h200-sxm", "vllm-0.19", "h200-sxm-aiconfigurator"}, /* the same program */
        {"h200-sxm", "sglang", "h200-sxm"},
        {"b200", "tensorrt-llm", "b200"},
        {"mi300x", "vllm-0.26", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct km_arena arena = {0};
        struct km_error error = {0};
        const char *path;
        assert_int_equal(km_profile_choose(cases[i].device, cases[i].engine, &arena, &path, &error), KM_OK);
        if (!path != !cases[i].profile)
            fail_msg("%s, %s: %s", cases[i].device, cases[i].engine, path ? path : "none");
        if (path) {
            char end[100];
            snprintf(end, sizeof end, "/%s.json", cases[i].profile);
            assert_string_equal(path + strlen(path) - strlen(end), end);
        }
        km_arena_release(&arena);
    }
}

static void test_head(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message; /* NULL: as it should be */
    } cases[] = {
        {"{\"device\": \"x\", \"provenance\": {\"engine\": \"e\"}, \"tables\": not looked at", NULL},
        {"{\"device\": \"x\", \"provenance\": {\"engine\": \"e\"}}", NULL},
        {"{\"provenance\": {\"engine\": \"e\"}, \"tables\": {}, \"device\": \"x\"}", NULL},
        {"{\"provenance\": {\"engine\": \"e\"}, \"tables\": {}}", "1:1: device: missing"},
        {"{\"device\": 1, \"provenance\": {}, \"tables\": {}}", "1:12: device: expected a string"},
        {"{\"device\": \"x\"", "1:15: "},
        {"", "1:1: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct km_arena arena = {0};
        struct km_error error = {0};
        struct km_profile_head head;
        struct km_text text = {0};
        km_text_puts(&text, cases[i].text);
        assert_int_equal(km_file_write("head.json", &text, &error), KM_OK);
        km_text_release(&text);
        const enum km_status status = km_profile_read_head("head.json", &arena, &head, &error);
        if (cases[i].message) {
            char line[1200];
            assert_int_equal(status, KM_BAD_INPUT);
            km_error_format(&error, line, sizeof line);
            if (!strstr(line, cases[i].message))
                fail_msg("%s: %s", cases[i].text, line);
        } else {
            assert_int_equal(status, KM_OK);
            assert_string_equal(head.device, "x");
            assert_string_equal(head.engine, "e");
        }
        km_arena_release(&arena);
        unlink("head.json");
    }
}

/* A scenario without a profile of its device runs on the roofline, and knows it. */
static void test_scenario(void **state)
{
    (void)state;
    static const struct {
        const char *device, *cost; /* km_scenario_cost_name() */
        bool none;
    } cases[] = {{"mi300x", "roofline", true}, {"h100-sxm", "profile h100-sxm-aiconfigurator", false}};
    for (size_t i = 0; i < 2; i++) {
        const struct km_override overrides[] = {{"cost.model", "profile"},
                                                {"cluster.device", cases[i].device}};
        struct km_scenario scenario;
        struct km_error error = {0};
        assert_int_equal(
            km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides, 2, &scenario, &error),
            KM_OK);
        assert_int_equal(scenario.no_profile, cases[i].none);
        assert_string_equal(km_scenario_cost_name(&scenario, &scenario.arena), cases[i].cost);
        km_scenario_release(&scenario);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_scenario),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
