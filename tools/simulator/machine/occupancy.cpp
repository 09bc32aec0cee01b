#include "machine/occupancy.h"

#include <algorithm>
#include <climits>

namespace sim {
namespace {

template <class T>
T rounded_up(T value, T unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

Occupancy occupancy(const DeviceModel& model, std::uint32_t threads, int registers, std::size_t shared) {
  // Since compute capability 7 a warp's registers come in units of 256, spread over four partitions, and shared memory in units
  // of 128 bytes (256 before 8.0).
  constexpr int kRegisterUnit = 256, kPartitions = 4, kWarp = 32;
  Occupancy result;
  const int warps = static_cast<int>((threads + kWarp - 1) / kWarp);
  result.max_warps = model.max_threads_per_multiprocessor / kWarp;
  result.blocks_by_slots = model.max_blocks_per_multiprocessor;
  result.blocks_by_threads = warps == 0 ? 0 : result.max_warps / warps;
  result.blocks_by_registers = INT_MAX;
  if (registers > 0) {
    const int of_warp = rounded_up(registers * kWarp, kRegisterUnit);
    const int warps_of_partition = model.registers_per_multiprocessor / kPartitions / of_warp;
    const bool fits =
        registers <= model.max_registers_per_thread && of_warp * rounded_up(warps, kPartitions) <= model.registers_per_block;
    result.blocks_by_registers = fits ? warps_of_partition * kPartitions / warps : 0;
  }
  const std::size_t unit = model.architecture < 80 ? 256 : 128;
  const std::size_t of_block = rounded_up(shared + model.reserved_shared_per_block, unit);
  result.blocks_by_shared =
      of_block == 0 ? INT_MAX : static_cast<int>(std::min<std::size_t>(model.shared_per_multiprocessor / of_block, INT_MAX));
  result.blocks =
      std::min({result.blocks_by_slots, result.blocks_by_threads, result.blocks_by_registers, result.blocks_by_shared});
  result.warps = result.blocks * warps;
  result.limit = result.blocks == result.blocks_by_threads     ? "warps"
                 : result.blocks == result.blocks_by_registers ? "registers"
                 : result.blocks == result.blocks_by_shared    ? "shared memory"
                                                               : "blocks";
  return result;
}

}  // namespace sim
