/* Devices, nodes and networks: datasheet figures and how much of them an operator reaches without
 * calibration. One YAML per device in configs/devices/; every number there names its datasheet or
 * measurement. */
#ifndef KM_HARDWARE_DEVICE_H
#define KM_HARDWARE_DEVICE_H

#include "base/error.h"
#include "base/memory.h"
#include "base/settings.h"
#include "model/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A link class: time of a message of b bytes = latency_s + b / bandwidth_bytes_per_s (the alpha-beta model,
 * Hockney 1994). */
struct km_link {
    const char *name;             /* "nvlink", "pcie", "infiniband", "roce", "ethernet" */
    double bandwidth_bytes_per_s; /* one direction, per GPU */
    double latency_s;             /* per hop */
    double efficiency;            /* share of the bandwidth reached, 0..1 */
    bool direct; /* every GPU on it reaches every other's memory without a detour, all at full bandwidth */
};

struct km_node {
    uint32_t gpus_per_node;
    struct km_link link;    /* inside a node */
    struct km_link network; /* between nodes, per GPU */
};

struct km_device {
    const char *name;
    const char *vendor_name; /* as the runtime reports it */
    /* Peak dense rate of a matrix multiplication whose operands are both of this type (FLOP/s or OP/s); 0 =
     * not supported. Weight-only types (int4, mxfp4 on older parts) compute at the activations' rate. */
    double peak_flops_per_s[KM_DTYPE_COUNT];
    double bandwidth_bytes_per_s;
    double memory_bytes; /* what the runtime reports, not the datasheet's */
    double l2_bytes;
    uint32_t multiprocessors; /* 0 = unknown */
    double power_w, idle_power_w;
    double stream_power_w;     /* streaming memory at memory_efficiency of the bandwidth; 0 = not measured */
    double power_limited_mfu;  /* of large matrix multiplications under power_w; 0 = not measured */
    double price_usd_per_hour; /* the user edits this */
    /* Roofline efficiency factors, each with its origin in the file */
    double gemm_efficiency;              /* e_c of large matrix multiplications */
    double attention_prefill_efficiency; /* e_c of prefill attention */
    double memory_efficiency;            /* e_m of streaming kernels and skinny GEMMs */
    double attention_decode_efficiency;  /* e_m of decode attention */
    double gemm_fixed_s;   /* a matrix multiplication beyond its FLOPs or bytes: start, first tiles, tail */
    double kernel_graph_s; /* a small kernel inside a CUDA graph */
    struct km_node node;
};

/* Read configs/devices/<name>.yaml: every key of the table below must be there. Strings live in `arena`; the
 * name is the file's. */
enum km_status km_device_read(const char *path, struct km_arena *arena, struct km_device *out,
                              struct km_error *error);

/* The tables behind the file (base/settings.h), targets struct km_device and struct km_node: for overrides,
 * JSON and documentation. */
extern const struct km_setting km_device_settings[], km_node_settings[];

/* Dense rate of a matrix product of these operand types; false when the device has none.
 *
 * Two operands of one type multiply at that type's rate, if the device has it. Otherwise the weights are
 * widened to the activations' type on the way (weight-only quantisation: MARLIN, arXiv 2408.11743; FLUTE,
 * 2407.10960) and multiply at its rate; so the weights must be the narrower, and such that the wider type
 * holds their values: any in 16 or 32 bits, 4-bit integers in int8 (QServe, 2405.04532), 4-bit integers and
 * floats in fp8 (CUTLASS' mixed-input products). int2 is for caches
 * alone. */
bool km_device_peak(const struct km_device *device, enum km_dtype weights, enum km_dtype activations,
                    double *flops_per_s);

/* Why km_device_peak() is false, and what the device has instead: one line. */
#define KM_DEVICE_PAIR_MESSAGE 256
void km_device_explain_pair(const struct km_device *device, enum km_dtype weights, enum km_dtype activations,
                            char *out, size_t size);

#endif
