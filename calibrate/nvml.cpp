#include "nvml.hpp"
#include "bench.hpp"

#include <dlfcn.h>

// The few functions used, as NVML's reference manual declares them; nvmlReturn_t 0 is success, clock types 1
// (SM) and 2 (memory), sensor 0 (the chip).
namespace
{

struct Library {
    void *handle = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    template <typename F> F find(const char *name) const
    {
        return handle ? (F)dlsym(handle, name) : nullptr;
    }
    int (*init)() = find<int (*)()>("nvmlInit_v2");
    int (*by_bus)(const char *,
                  void **) = find<int (*)(const char *, void **)>("nvmlDeviceGetHandleByPciBusId_v2");
    int (*clock)(void *, int, unsigned *) = find<int (*)(void *, int, unsigned *)>("nvmlDeviceGetClockInfo");
    int (*temperature)(void *, int,
                       unsigned *) = find<int (*)(void *, int, unsigned *)>("nvmlDeviceGetTemperature");
    int (*power)(void *, unsigned *) = find<int (*)(void *, unsigned *)>("nvmlDeviceGetPowerUsage");
    int (*energy)(void *, unsigned long long *) =
        find<int (*)(void *, unsigned long long *)>("nvmlDeviceGetTotalEnergyConsumption");
    int (*driver)(char *, unsigned) = find<int (*)(char *, unsigned)>("nvmlSystemGetDriverVersion");
    bool ready = init && init() == 0;
};

const Library &library()
{
    static const Library loaded;
    return loaded;
}

} // namespace

bool nvml_health(const char *pci_bus_id, Health *out)
{
    const Library &nvml = library();
    void *device = nullptr;
    *out = Health();
    if (!nvml.ready || !nvml.by_bus || nvml.by_bus(pci_bus_id, &device) != 0)
        return false;
    unsigned value = 0;
    unsigned long long wide = 0;
    if (nvml.clock && nvml.clock(device, 1, &value) == 0)
        out->sm_mhz = value;
    if (nvml.clock && nvml.clock(device, 2, &value) == 0)
        out->memory_mhz = value;
    if (nvml.temperature && nvml.temperature(device, 0, &value) == 0)
        out->celsius = value;
    if (nvml.power && nvml.power(device, &value) == 0)
        out->watts = value / 1000.0;
    if (nvml.energy && nvml.energy(device, &wide) == 0)
        out->joules = (double)wide / 1000.0;
    return true;
}

std::string nvml_driver()
{
    char text[96] = "";
    const Library &nvml = library();
    if (!nvml.ready || !nvml.driver || nvml.driver(text, sizeof text) != 0)
        return "";
    return text;
}
