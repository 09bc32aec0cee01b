// What the executor tells the checks, and what the checks tell the user.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "isa/instruction.h"
#include "machine/operations.h"
#include "machine/report.h"
#include "machine/shared_layout.h"
#include "machine/warp.h"

/// In the life of a block executor: attach(), for each block start() … end(), then detach(). Between start() and end(), after
/// the lanes have met: warp_sync() for bar.warp.sync, block_barrier() for bar.sync and bar.red, barrier_arrive() for bar.arrive
/// (when it arrives, not when the barrier completes). Nothing for shuffles, votes and matrix instructions: they order no memory
/// accesses.
namespace sim::checks {

inline constexpr std::uint32_t kNoInstruction = 0xffffffff;

/// Makes Block::copies, and Block::races with racecheck. Block::launch, shared and shared_bytes are set. Makes the launch known
/// to the race check.
void attach(Block& block, std::uint32_t warps);
void detach(Block& block);
/// Block::id and linear are set, shared memory is fresh.
void start(Block& block);
void end(Block& block);
void warp_end(const Warp& warp);

void warp_sync(const Warp& warp, Mask mask);
/// `warps` leave barrier `id` together; those that only arrived were told before.
void block_barrier(Block& block, std::uint32_t id, std::span<const std::uint32_t> warps);
void barrier_arrive(Block& block, std::uint32_t id, std::uint32_t warp);

/// Adds a finding when the fault's check is on. What stops a program (a deadlock, an illegal instruction, …) is always
/// reported.
void report(const Warp& warp, const Instruction& in, int lane, Fault fault, std::string message, std::uint64_t count = 1);
bool is_on(Fault fault);

/// Call when a module is unloaded: later findings name its kernels without their source lines.
void forget(const Kernel& kernel);

/// Where a lane is. `instruction` by its number in the kernel's code.
Place place(const Warp& warp, const Instruction& in, int lane);
Place place(const Block& block, std::uint32_t thread, std::uint32_t instruction);
Place place(const Operations::Record& operation, std::uint64_t block, std::uint32_t thread, std::uint32_t instruction);
std::string kernel_name(const Warp& warp);

/// " (tile+8)" for an offset in a variable; "" when it is not known.
std::string shared_name(const Block& block, std::uint32_t offset);
/// The block's variables in shared memory; null when they are not known.
const SharedLayout* shared_layout(const Block& block);

}  // namespace sim::checks
