#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "machine/report.h"
#include "machine/warp.h"

// What the executor tells the checks. Each does nothing when its check is off.
namespace sim {
struct Launch;
}

namespace sim::checks {

/// A launch starts and has ended (on the thread that called run()).
void launch_start(Launch& launch);
void launch_end(Launch& launch);

/// A block executor is made for blocks of `warps` warps, and ends: Block::races and Block::copies.
void attach(Block& block, std::uint32_t warps);
void detach(Block& block);

/// A block starts (its id is set, its shared memory fresh), and has ended: pending copies that nobody waited for take effect.
void start(Block& block);
void end(Block& block);
void warp_end(Warp& warp);

/// `lanes` of the warp have met in bar.warp.sync: memory is ordered between them.
void warp_sync(Warp& warp, Mask lanes);

/// Warps have met in barrier `id`, or one has arrived without waiting (bar.arrive).
void block_barrier(Block& block, std::uint32_t id, std::span<const std::uint32_t> waiting);
void barrier_arrive(Block& block, std::uint32_t id, std::uint32_t warp);

/// Reports a fault of `lane` at an instruction, when its check is on.
void report(const Warp& warp, const Instruction& instruction, int lane, Fault fault, std::string message);

}  // namespace sim::checks
