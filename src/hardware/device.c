#include "hardware/device.h"

bool km_device_peak(const struct km_device *device, enum km_dtype weights, enum km_dtype activations,
                    double *flops_per_s)
{
    /* Weights narrower than 8 bits are widened to the activations' type on the way (MARLIN, arXiv
     * 2408.11743), unless the device multiplies the pair itself; of two types it can multiply, the pair runs
     * at the wider one's rate. */
    double narrow = device->peak_flops_per_s[weights], wide = device->peak_flops_per_s[activations];
    bool same = weights == activations;
    *flops_per_s = same ? narrow : wide;
    return *flops_per_s > 0.0;
}
