#pragma once
// The device's side of the runtime: what kernels call and no module defines (vprintf, __assertfail, malloc, free).
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "isa/code.h"
#include "machine/memory.h"
#include "machine/warp.h"

namespace sim {

bool is_device_function(std::string_view name);

/// Calls it for the lanes of `mask`; the arguments and results are in the current frame (warp.base[0]). Throws LaunchAbort (an
/// assertion failed), Error (a function that is not simulated).
void call_device_function(std::string_view name, Warp& warp, Mask mask, const Instruction& instruction,
                          std::span<const FrameVariable> arguments, std::span<const FrameVariable> results);

/// Where `bytes` at a generic address lie for a lane: shared, local, parameter or global memory. Null when they are not within
/// living memory.
std::byte* lane_pointer(const Warp& warp, int lane, Address address, std::size_t bytes);

}  // namespace sim

namespace sim::runtime {

/// What the threads of a launch printed, in the order of its blocks; forgets it. Called when the launch has ended.
std::string take_printed(std::uint32_t operation);

/// The limit of memory that device code may allocate (cudaLimitMallocHeapSize).
void set_heap_limit(int device, std::size_t bytes);

/// Ends with the device's context: memory that device code allocated and did not free.
void reset_heap(int device);

}  // namespace sim::runtime
