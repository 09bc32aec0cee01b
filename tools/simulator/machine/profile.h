#pragma once
#include "machine/launch.h"
#include "machine/warp.h"

namespace sim {

/// Adds what was counted in a launch. Thread-safe.
void record_profile(const Launch& launch, Worker& counted);

/// Writes what was recorded to where options().profile says: a table to standard error for "-", else a JSON file, whole or not
/// at all.
void write_profile();

}  // namespace sim
