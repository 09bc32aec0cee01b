#pragma once
#include <cstddef>
#include <string_view>

namespace sim {

/// The limits of a device model, from CUDA's programming guide ("Compute Capabilities") and cuda_occupancy.h.
struct DeviceModel {
  int architecture;  // 80
  std::string_view name;
  int multiprocessors;
  int max_threads_per_block, max_threads_per_multiprocessor, max_blocks_per_multiprocessor;
  int registers_per_multiprocessor, registers_per_block, max_registers_per_thread;
  std::size_t shared_per_block, shared_per_block_optin, shared_per_multiprocessor, reserved_shared_per_block;
  std::size_t memory, l2_cache;
  int memory_bus_width;
};

/// Throws Error that lists the known ones.
const DeviceModel& device_model(int architecture);

}  // namespace sim
