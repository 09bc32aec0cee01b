#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "machine/device.h"

namespace sim {

/// How many blocks of a kernel fit on a multiprocessor, and what stops more: as cuda_occupancy.h reckons it.
struct Occupancy {
  int blocks = 0;
  int blocks_by_threads = 0, blocks_by_registers = 0, blocks_by_shared = 0, blocks_by_slots = 0;
  int warps = 0, max_warps = 0;
  std::string_view limit;  // "warps", "registers", "shared memory" or "blocks"
};

/// `registers` a thread (0: not counted), `shared` bytes a block, static and dynamic.
Occupancy occupancy(const DeviceModel& model, std::uint32_t threads, int registers, std::size_t shared);

}  // namespace sim
