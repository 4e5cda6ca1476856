#include "hardware/device.h"

#include <stdio.h>

/* Can a kernel widen these weights to the activations' type without loss? */
static bool widens(enum km_dtype weights, enum km_dtype activations)
{
    bool four_bits = weights == KM_INT4 || weights == KM_MXFP4 || weights == KM_NVFP4;
    switch (activations) {
    case KM_FP32:
        return weights != KM_FP32 && weights != KM_INT2;
    case KM_BF16:
    case KM_FP16:
        return four_bits || weights == KM_INT4_G32 || weights == KM_NF4 || weights == KM_FP8 ||
               weights == KM_INT8;
    case KM_FP8:
        return four_bits;
    case KM_INT8:
        return weights == KM_INT4;
    default:
        return false;
    }
}

bool km_device_peak(const struct km_device *device, enum km_dtype weights, enum km_dtype activations,
                    double *flops_per_s)
{
    bool known = weights == activations || widens(weights, activations);
    *flops_per_s = known ? device->peak_flops_per_s[activations] : 0.0;
    return *flops_per_s > 0.0;
}

/* Appends at out + *length, as far as there is room. */
static void list(char *out, size_t size, size_t *length, const char *name, bool first)
{
    int more = snprintf(out + *length, size - *length, "%s%s", first ? "" : ", ", name);
    if (more > 0)
        *length += (size_t)more < size - *length ? (size_t)more : size - *length - 1;
}

void km_device_explain_pair(const struct km_device *device, enum km_dtype weights, enum km_dtype activations,
                            char *out, size_t size)
{
    double rate;
    bool has_activations = device->peak_flops_per_s[activations] > 0.0, first = true;
    int start =
        has_activations
            ? snprintf(out, size, "%s cannot multiply %s weights with %s activations; these take weights of ",
                       device->name, km_dtype_name(weights), km_dtype_name(activations))
            : snprintf(out, size, "%s cannot multiply %s activations; it can ", device->name,
                       km_dtype_name(activations));
    size_t length = start > 0 && (size_t)start < size ? (size_t)start : size - 1;
    for (int i = 0; i < KM_DTYPE_COUNT; i++) {
        enum km_dtype dtype = (enum km_dtype)i;
        if (has_activations ? !km_device_peak(device, dtype, activations, &rate)
                            : !(device->peak_flops_per_s[dtype] > 0.0))
            continue;
        list(out, size, &length, km_dtype_name(dtype), first);
        first = false;
    }
}
