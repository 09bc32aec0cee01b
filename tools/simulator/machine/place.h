#pragma once
#include "machine/report.h"
#include "machine/warp.h"

namespace sim {

/// Where `lane` of `warp` is: kernel, block, thread, source lines (from the innermost inlined function out) and instruction.
Place place_of(const Warp& warp, const Instruction& instruction, int lane);

}  // namespace sim
