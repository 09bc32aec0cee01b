#pragma once
#include <string_view>
#include <utility>

#include "isa/code.h"

namespace sim {

struct Block;
struct Launch;
struct Warp;

/// The special register written %name and its own width; Width::none for one that is not simulated.
std::pair<Special, Width> special_named(std::string_view name);

/// Whether it changes while a thread runs (clocks), so that each read needs a fresh value.
bool changes(Special special);

/// Handler that writes such a register's present value to Instruction::d. A simulated clock counts the warp's instructions: it
/// is no time.
Handler refresh_special(Special special, Width width);

/// Fills a slot of a frame of `warp` that begins at `registers`.
void fill_special(const SpecialSlot& slot, const Warp& warp, const Block& block, const Launch& launch, std::byte* registers);

}  // namespace sim
