#pragma once
#include <driver_types.h>

#include <string>

#include "machine/device.h"

namespace sim::runtime {

/// What a device of the model says of itself. Clock rates are zero: nothing of the simulation is a time of the device.
void fill_properties(cudaDeviceProp& properties, const DeviceModel& model, int device);
/// False for an attribute that does not exist.
bool attribute_of(int& value, cudaDeviceAttr attribute, const DeviceModel& model, int device);
std::string pci_name(int device);

}  // namespace sim::runtime
