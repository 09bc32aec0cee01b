#pragma once
#include <vector>

#include "machine/launch.h"
#include "machine/warp.h"

namespace sim {

/// Adds what one host thread counted in a launch (by Instruction::index). Thread-safe.
void record_profile(const Launch& launch, const std::vector<Counters>& counters);

/// Writes what was recorded to where options().profile says: a table to standard error for "-", else a JSON file, whole or not
/// at all.
void write_profile();

}  // namespace sim
