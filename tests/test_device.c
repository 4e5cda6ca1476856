#include "hardware/device.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FOLDER KM_SOURCE_DIR "/configs/devices/"

static void read_device(const char *name, struct km_arena *arena, struct km_device *device)
{
    char path[512], line[1200];
    struct km_error error;
    snprintf(path, sizeof path, FOLDER "%s.yaml", name);
    if (km_device_read(path, arena, device, &error) != KM_OK) {
        km_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
    assert_string_equal(device->name, name);
}

/* Figures of the datasheets (dense), typed in anew. */
static void datasheets(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double bf16_tflops, fp8_tflops, bandwidth_gb_s, memory_gib, link_gb_s;
    } cases[] = {
        {"h200-sxm", 989.4, 1978.9, 4800, 139.8, 450}, {"h100-sxm", 989.4, 1978.9, 3350, 79.18, 450},
        {"h100-pcie", 756, 1513, 2000, 79.18, 64},     {"a100-80g-sxm", 312, 0, 2039, 79.15, 300},
        {"l40s", 362.05, 733, 864, 44.42, 32},         {"rtx-4090", 165.2, 330.3, 1008, 23.516, 32},
        {"b200", 2250, 4500, 7672, 178.35, 900},       {"mi300x", 1307.4, 2614.9, 5300, 191.98, 448},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_device d;
        read_device(cases[i].name, &arena, &d);
        assert_within(d.peak_flops_per_s[KM_BF16] / 1e12, cases[i].bf16_tflops, 0.01);
        assert_within(d.peak_flops_per_s[KM_FP16] / 1e12, cases[i].bf16_tflops, 0.01);
        assert_within(d.peak_flops_per_s[KM_FP8] / 1e12, cases[i].fp8_tflops, 0.01);
        assert_within(d.bandwidth_bytes_per_s / 1e9, cases[i].bandwidth_gb_s, 0.1);
        assert_within(d.memory_bytes / 0x1p30, cases[i].memory_gib, 0.006);
        assert_within(d.node.link.bandwidth_bytes_per_s / 1e9, cases[i].link_gb_s, 0.01);
        assert_true(d.node.gpus_per_node >= 1);
        assert_true(d.idle_power_w < d.power_w);
        assert_true(d.kernel_graph_s > 0.0 && d.kernel_graph_s < 10e-6);
        assert_true(d.peak_flops_per_s[KM_INT4] == 0);
        km_arena_release(&arena);
    }
}

/* The H200's shares reproduce the measurements they come from. */
static void measurements(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_device d;
    read_device("h200-sxm", &arena, &d);
    double peak = d.peak_flops_per_s[KM_BF16];
    double gemm = peak * d.gemm_efficiency;
    assert_true(gemm > 670e12 && gemm < 760e12);
    double flops = 4.0 * 8192 * (8192 + 1) / 2 * 32 * 128;
    assert_within(flops / (peak * d.attention_prefill_efficiency) * 1e3, 0.90, 0.01);
    assert_within(d.bandwidth_bytes_per_s * d.memory_efficiency / 1e12, 4.3, 0.01);
    double bytes = 64.0 * 1024 * 2 * 8 * 128 * 2;
    double decode_us = bytes / (d.bandwidth_bytes_per_s * d.attention_decode_efficiency) * 1e6;
    assert_true(decode_us < 69 && decode_us > 69 * 0.9); /* the rest is cost a sequence */
    km_arena_release(&arena);
}

static char *slurp(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = calloc(1, 65536);
    assert_non_null(text);
    assert_true(fread(text, 1, 65535, f) > 0);
    fclose(f);
    return text;
}

/* Break the H200's file in one place and read it. */
static void broken_files(void **state)
{
    (void)state;
    static const struct {
        const char *what, *with, *message;
    } cases[] = {
        {"bandwidth_bytes_per_s: 4.8e12", "bandwith_bytes_per_s: 4.8e12",
         "bandwith_bytes_per_s: unknown key; did you mean \"bandwidth_bytes_per_s\"?"},
        {"bandwidth_bytes_per_s: 4.8e12", "#", "bandwidth_bytes_per_s: missing"},
        {"4.8e12", "4.8TB", "bandwidth_bytes_per_s: expected a number from 1e10 to 1e15, got \"4.8TB\""},
        {"gemm_efficiency: 0.72", "gemm_efficiency: 72",
         "gemm_efficiency: expected a number from 0.001 to 1, got \"72\""},
        {"  fp8: 1978.9e12", "  fp9: 1978.9e12", "peak_flops_per_s.fp9: unknown number format"},
        {"  fp16: 989.4e12", "  bfloat16: 989.4e12", "peak_flops_per_s.bfloat16: bf16 has its rate already"},
        {"  fp8: 1978.9e12", "  fp8: -1",
         "peak_flops_per_s.fp8: expected a number from 1e11 to 1e18, got \"-1\""},
        {"gpus_per_node: 8", "gpus_per_node: 0",
         "node.gpus_per_node: expected an integer from 1 to 1024, got \"0\""},
        {"    name: nvlink", "    nam: nvlink", "node.link.nam: unknown key; did you mean \"name\"?"},
        {"multiprocessors: 132", "multiprocessors: 132.5",
         "multiprocessors: expected an integer from 0 to 100000, got \"132.5\""},
        /* A unit left out, and what cannot be. */
        {"bandwidth_bytes_per_s: 4.8e12", "bandwidth_bytes_per_s: 4800",
         "bandwidth_bytes_per_s: expected a number from 1e10 to 1e15, got \"4800\"; did you mean 4800e9?"},
        {"bandwidth_bytes_per_s: 4.8e12", "bandwidth_bytes_per_s: 4.8",
         "bandwidth_bytes_per_s: expected a number from 1e10 to 1e15, got \"4.8\"; did you mean 4.8e12?"},
        {"bandwidth_bytes_per_s: 450e9", "bandwidth_bytes_per_s: 450",
         "node.link.bandwidth_bytes_per_s: expected a number from 1e7 to 1e14, got \"450\"; did you mean "
         "450e9?"},
        {"bf16: 989.4e12", "bf16: 989.4",
         "peak_flops_per_s.bf16: expected a number from 1e11 to 1e18, got \"989.4\"; did you mean 989.4e12?"},
        {"memory_bytes: 150109880320", "memory_bytes: 1.41e2",
         "memory_bytes: expected a number from 1e8 to 1e14, got \"1.41e2\"; did you mean 1.41e+11?"},
        {"l2_bytes: 62914560", "l2_bytes: 60",
         "l2_bytes: expected 0 or a number from 16384 to 1e11, got \"60\"; did you mean 60e6?"},
        {"latency_s: 0.6e-6", "latency_s: 0.6",
         "node.link.latency_s: expected a number from 0 to 0.1, got \"0.6\"; did you mean 0.6e-6?"},
        {"kernel_graph_s: 1.1e-6", "kernel_graph_s: 1.1",
         "kernel_graph_s: expected a number from 0 to 0.01, got \"1.1\"; did you mean 1.1e-6?"},
        {"bandwidth_bytes_per_s: 4.8e12", "bandwidth_bytes_per_s: 1e-300",
         "bandwidth_bytes_per_s: expected a number from 1e10 to 1e15, got \"1e-300\""},
        {"power_w: 700", "power_w: 1e-300", "power_w: expected a number from 1 to 100000, got \"1e-300\""},
        {"memory_efficiency: 0.896", "memory_efficiency: 1e-300",
         "memory_efficiency: expected a number from 0.001 to 1, got \"1e-300\""},
    };
    char *text = slurp(FOLDER "h200-sxm.yaml");
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[] = "/tmp/km_device_XXXXXX";
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        FILE *f = fdopen(fd, "wb");
        assert_non_null(f);
        const char *at = strstr(text, cases[i].what);
        assert_non_null(at);
        fprintf(f, "%.*s%s%s", (int)(at - text), text, cases[i].with, at + strlen(cases[i].what));
        fclose(f);
        struct km_arena arena = {0};
        struct km_device device;
        struct km_error error;
        enum km_status status = km_device_read(path, &arena, &device, &error);
        unlink(path);
        if (status != KM_BAD_INPUT)
            fail_msg("accepted: %s", cases[i].with);
        assert_string_equal(error.message, cases[i].message);
        assert_true(error.line > 0 && error.column > 0);
        km_arena_release(&arena);
    }
    free(text);
}

/* What is written as JSON reads back as the same device. */
static void json_round_trip(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_device device, back = {0};
    struct km_error error;
    struct km_text first = {0}, second = {0};
    struct km_yaml *root;
    struct km_settings_context context = {.arena = &arena, .folder = ""};
    read_device("mi300x", &arena, &device);
    km_settings_write_json(km_device_settings, &device, &first);
    assert_int_equal(km_yaml_parse(km_text_c(&first), first.length, "json", true, &arena, &root, &error),
                     KM_OK);
    assert_int_equal(
        km_settings_read(root, km_device_settings, KM_SETTINGS_WHOLE, &back, NULL, &context, &error), KM_OK);
    km_settings_write_json(km_device_settings, &back, &second);
    assert_string_equal(km_text_c(&first), km_text_c(&second));
    km_text_release(&first);
    km_text_release(&second);
    km_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datasheets),
        cmocka_unit_test(measurements),
        cmocka_unit_test(broken_files),
        cmocka_unit_test(json_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
