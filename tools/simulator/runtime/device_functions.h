#pragma once
// The device's side of the runtime: what kernels call and no module defines (vprintf, __assertfail, malloc, free).
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "machine/memory.h"
#include "machine/warp.h"

namespace sim::runtime {

/// An argument or result of a call: lane l's bytes are at base + l * stride.
struct LaneBytes {
  std::byte* base = nullptr;
  std::uint32_t stride = 0;
  std::size_t bytes = 0;

  std::byte* of(int lane) const { return base + static_cast<std::size_t>(lane) * stride; }
};

bool is_device_function(std::string_view name);

/// Calls it for the lanes in warp.mask; false when there is none of that name. Throws LaunchAbort (an assertion), Error (what is not simulated).
bool call_device_function(std::string_view name, Warp& warp, std::span<const LaneBytes> arguments, std::span<const LaneBytes> results);

/// Where `bytes` at a generic address lie for a lane: shared, local, parameter or global memory. Null when they are not within living memory.
std::byte* lane_pointer(const Warp& warp, int lane, Address address, std::size_t bytes);

/// What the threads of a launch printed, in the order of its blocks; forgets it. Called when the launch has ended.
std::string take_printed(std::uint32_t operation);

/// The limit of memory that device code may allocate (cudaLimitMallocHeapSize).
void set_heap_limit(int device, std::size_t bytes);

/// Ends with the device's context: memory that device code allocated and did not free.
void reset_heap(int device);

}  // namespace sim::runtime
