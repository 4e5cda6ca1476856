// NVML, loaded at run time where the driver brings it: clocks, temperature, power. Absent, everything reads
// 0.
#ifndef KM_CALIBRATE_NVML_HPP
#define KM_CALIBRATE_NVML_HPP

#include <string>

struct Health;

// pci_bus_id: as CUDA names the device.
bool nvml_health(const char *pci_bus_id, Health *out);
std::string nvml_driver();

#endif
