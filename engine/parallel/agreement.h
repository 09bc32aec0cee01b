// What the ranks of a training must have in common: it is compared at the start, and weights whenever they are saved.
#pragma once

#include <cstdint>
#include <filesystem>

#include "engine/parallel/ranks.h"
#include "engine/train/config.h"
#include "engine/train/step.h"

namespace gannet {

// InputError in every rank, naming those that differ: program file, configuration (but for what belongs to a machine), dataset
// (empty: none; sizes and a checksum of the beginning) and planned kernels.
void require_same_training(const Ranks& ranks, const Step& step, const std::filesystem::path& dataset);

// InputError in every rank when weights or moments differ, naming the first such variable. Running statistics of batch norm
// are each rank's own, unless train.sync_batch_norm.
void require_same_weights(const Ranks& ranks, const Step& step);

// Every variable of every rank becomes what rank 0 has.
void take_state_of_rank_0(const Ranks& ranks, State& state);

}  // namespace gannet
