#include "base/settings.h"
#include "hardware/device.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* peak_flops_per_s: a mapping from number format to rate; formats left out are not supported. */
static enum km_status read_peaks(const struct km_yaml *value, void *field,
                                 const struct km_settings_context *context, struct km_error *error)
{
    (void)context;
    double *peaks = field;
    /* From a tenth of a TFLOP/s, which a laptop's processor has, to a hundred times what the fastest part of
     * 2026 does in its narrowest format (1.5e16). */
    static const struct km_range rates = {
        .min = 1e11, .max = 1e18, .has_min = true, .has_max = true, .scales = km_scales_tera};
    if (value->kind != KM_YAML_MAPPING || value->count == 0)
        return km_yaml_fail(value, error, "expected a mapping from number formats to rates");
    memset(peaks, 0, KM_DTYPE_COUNT * sizeof *peaks);
    for (size_t i = 0; i < value->count; i++) {
        enum km_dtype dtype;
        if (!km_dtype_find(value->items[i]->key, &dtype))
            return km_yaml_fail_key(value->items[i], error, "unknown number format");
        if (peaks[dtype] > 0)
            return km_yaml_fail_key(value->items[i], error, "%s has its rate already", km_dtype_name(dtype));
        enum km_status status = km_settings_number(value->items[i], &rates, &peaks[dtype], error);
        if (status != KM_OK)
            return status;
    }
    return KM_OK;
}

static void write_peaks(const void *field, struct km_text *out)
{
    const double *peaks = field;
    const char *between = "";
    km_text_puts(out, "{");
    for (int dtype = 0; dtype < KM_DTYPE_COUNT; dtype++)
        if (peaks[dtype] > 0) {
            km_text_printf(out, "%s\"%s\": ", between, km_dtype_name((enum km_dtype)dtype));
            km_settings_write_number(peaks[dtype], out);
            between = ", ";
        }
    km_text_puts(out, "}");
}

/* What is beyond these is a slip of the unit, or a typing error; what is within them keeps every time that
 * follows finite. */
#define EFFICIENCY KM_LIMITS(1e-3, 1, NULL) /* less than a thousandth of the peak is no kernel's */
#define KERNEL_TIME                                                                                          \
    KM_LIMITS(0, 1e-2, km_scales_micro)       /* launches take microseconds; ten milliseconds none */
#define MEMORY_POWER KM_ZERO_OR(1, 1e5, NULL) /* a whole wafer draws 2e4 W */

#define LINK(member) offsetof(struct km_link, member)
static const struct km_setting link_settings[] = {
    {"name", KM_SETTING_STRING, LINK(name),
     .doc = "nvlink, xgmi, pcie, infiniband, roce or ethernet; for reports only"},
    {"bandwidth_bytes_per_s", KM_SETTING_NUMBER, LINK(bandwidth_bytes_per_s),
     /* Ethernet of 100 Mb/s moves 1.25e7; NVLink 5 9e11, and a memory bus 1e13 */
     KM_LIMITS(1e7, 1e14, km_scales_giga), .doc = "per GPU, one direction"},
    {"latency_s", KM_SETTING_NUMBER, LINK(latency_s),
     /* half around the earth through fibre: 0.1 s */
     KM_LIMITS(0, 0.1, km_scales_micro), .doc = "of one hop (alpha)"},
    {"efficiency", KM_SETTING_NUMBER, LINK(efficiency), EFFICIENCY,
     .doc = "share of the bandwidth that large messages reach"},
    {"direct", KM_SETTING_BOOL, LINK(direct), .optional = true,
     .doc = "every GPU reaches every other's memory directly, all at full bandwidth"},
    {0},
};

#define NODE(member) offsetof(struct km_node, member)
const struct km_setting km_node_settings[] = {
    {"gpus_per_node", KM_SETTING_U32, NODE(gpus_per_node), KM_BETWEEN(1, 1024),
     .doc = "GPUs that share the inner link"},
    {"link", KM_SETTING_SECTION, NODE(link), .table = link_settings, .doc = "between GPUs of a node"},
    {"network", KM_SETTING_SECTION, NODE(network), .table = link_settings, .doc = "between nodes"},
    {0},
};

#define DEVICE(member) offsetof(struct km_device, member)
const struct km_setting km_device_settings[] = {
    {"vendor_name", KM_SETTING_STRING, DEVICE(vendor_name), .doc = "as the runtime reports it"},
    {"peak_flops_per_s", KM_SETTING_CUSTOM, DEVICE(peak_flops_per_s), .read = read_peaks,
     .write = write_peaks,
     .doc = "dense rate by number format of both operands; formats left out are not supported"},
    {"bandwidth_bytes_per_s", KM_SETTING_NUMBER, DEVICE(bandwidth_bytes_per_s),
     /* one channel of DDR4 moves 2.56e10, the fastest part of 2026 2e13 */
     KM_LIMITS(1e10, 1e15, km_scales_giga), .doc = "of the device memory, datasheet"},
    {"memory_bytes", KM_SETTING_NUMBER, DEVICE(memory_bytes),
     /* no language model of use fits into 1e8; the largest part of 2026 has 3e11 */
     KM_LIMITS(1e8, 1e14, km_scales_giga), .doc = "total, as the runtime reports it"},
    {"l2_bytes", KM_SETTING_NUMBER, DEVICE(l2_bytes),
     /* 0 = none; else from 16 KiB, which every core has, to a wafer's memory, 4.4e10 */
     KM_ZERO_OR(16384, 1e11, km_scales_mega), .doc = "last-level cache"},
    {"multiprocessors", KM_SETTING_U32, DEVICE(multiprocessors), KM_BETWEEN(0, 100000),
     .doc = "streaming multiprocessors or compute units"},
    {"power_w", KM_SETTING_NUMBER, DEVICE(power_w),
     /* from a module's watts to a whole wafer, 2e4 */
     KM_LIMITS(1, 1e5, NULL), .doc = "board power limit"},
    {"idle_power_w", KM_SETTING_NUMBER, DEVICE(idle_power_w), KM_BETWEEN(0, 1e5),
     .doc = "with nothing to do"},
    {"stream_power_w", KM_SETTING_NUMBER, DEVICE(stream_power_w), MEMORY_POWER, .optional = true,
     .doc = "streaming memory at memory_efficiency of the bandwidth; 0 = not measured"},
    {"power_limited_mfu", KM_SETTING_NUMBER, DEVICE(power_limited_mfu), KM_ZERO_OR(1e-3, 1, NULL),
     .optional = true,
     .doc = "share of the peak that large matrix multiplications sustain at power_w; 0 = not measured"},
    {"price_usd_per_hour", KM_SETTING_NUMBER, DEVICE(price_usd_per_hour),
     KM_BETWEEN(0, 1e6), /* as economics.price_usd_per_gpu_hour */
     .doc = "of one device; put your own price here"},
    {"gemm_efficiency", KM_SETTING_NUMBER, DEVICE(gemm_efficiency), EFFICIENCY,
     .doc = "share of the peak rate that large matrix multiplications reach"},
    {"attention_prefill_efficiency", KM_SETTING_NUMBER, DEVICE(attention_prefill_efficiency), EFFICIENCY,
     .doc = "share of the peak rate that prefill attention reaches"},
    {"memory_efficiency", KM_SETTING_NUMBER, DEVICE(memory_efficiency), EFFICIENCY,
     .doc = "share of the bandwidth that streaming kernels and skinny matrix multiplications reach"},
    {"attention_decode_efficiency", KM_SETTING_NUMBER, DEVICE(attention_decode_efficiency), EFFICIENCY,
     .doc = "share of the bandwidth that decode attention reaches"},
    {"gemm_fixed_s", KM_SETTING_NUMBER, DEVICE(gemm_fixed_s), KERNEL_TIME,
     .doc = "time of a matrix multiplication beyond its FLOPs or bytes"},
    {"kernel_graph_s", KM_SETTING_NUMBER, DEVICE(kernel_graph_s), KERNEL_TIME,
     .doc = "a small kernel inside a CUDA graph"},
    {"node", KM_SETTING_SECTION, DEVICE(node), .table = km_node_settings,
     .doc = "the usual server of this device"},
    {0},
};

/* "configs/devices/h200-sxm.yaml" -> "h200-sxm" */
static const char *stem(const char *path, struct km_arena *arena)
{
    const char *slash = strrchr(path, '/');
    char *name = km_arena_strdup(arena, slash ? slash + 1 : path);
    char *dot = strrchr(name, '.');
    if (dot && dot != name)
        *dot = '\0';
    return name;
}

enum km_status km_device_read(const char *path, struct km_arena *arena, struct km_device *out,
                              struct km_error *error)
{
    struct km_yaml *root;
    struct km_settings_context context = {.arena = arena, .folder = ""};
    *out = (struct km_device){.name = stem(path, arena)};
    enum km_status status = km_yaml_read(path, arena, &root, error);
    if (status != KM_OK)
        return status;
    return km_settings_read(root, km_device_settings, KM_SETTINGS_WHOLE, out, NULL, &context, error);
}
