/* Any bytes as a profile: tables that answer finite shares, or exactly one error. Start from
 * tests/data/profiles as the corpus. */
#include "cost/profile/profile.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A device that can compute in every format. */
static struct km_device any_device(void)
{
    struct km_device device = {.name = "any", .bandwidth_bytes_per_s = 1e12, .kernel_graph_s = 1e-6};
    for (int dtype = 0; dtype < KM_DTYPE_COUNT; dtype++)
        device.peak_flops_per_s[dtype] = 1e15;
    device.node.link.bandwidth_bytes_per_s = 1e11;
    device.node.link.latency_s = 1e-6;
    return device;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct km_profile profile;
    struct km_error error = {0};
    if (km_profile_parse((const char *)data, size, "fuzz.json", &profile, &error) != KM_OK) {
        if (error.status != KM_BAD_INPUT || !error.message[0] || error.line < 1 || error.column < 1)
            abort();
        return 0;
    }
    const struct km_device device = any_device();
    km_profile_bind(&profile, &device);
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++)
        for (size_t i = 0; i < profile.tables[class].count; i++) {
            double at[KM_PROFILE_DIMS];
            struct km_profile_answer answer;
            for (int d = 0; d < KM_PROFILE_DIMS; d++) {
                at[d] = profile.tables[class].rows[i].dims[d];
                if (d < (int)km_profile_schemas[class].dim_count &&
                    km_profile_schemas[class].dims[d].kind == KM_DIM_SIZE)
                    at[d] = at[d] * 1.5 + 1.0;
            }
            if (!km_profile_lookup(&profile, (enum km_profile_class) class, at, &answer) ||
                !isfinite(answer.value) || answer.value < 0.0)
                abort();
        }
    struct km_text text = {0};
    km_profile_write(&profile, &text);
    km_text_release(&text);
    km_profile_release(&profile);
    return 0;
}
