// Checkpoints: one safetensors file with every variable of a run, in PyTorch's names and layouts (filters (K,C,R,S)).
// Beside weights: "optimizer.PARAMETER.exp_avg", …, "ema.PARAMETER". The metadata has the rest of what a run needs to go on.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "engine/data/safetensors.h"
#include "engine/run/program.h"

namespace gannet {

struct CheckpointInfo {
  std::int64_t step = 0;  // steps made
  std::uint64_t seed = 0;
  std::uint64_t position = 0;  // of the loader
  std::string family;
  nlohmann::json configuration;  // resolved
};

// Atomic and checksummed: an earlier file of that name is whole until the new one is. RuntimeError when the disk refuses.
// Equal states give equal bytes.
void save_checkpoint(const std::filesystem::path& file, const State& state, const CheckpointInfo& info);

class Checkpoint {
 public:
  // InputError: not a checkpoint, of another version of the format, or damaged (the whole file is read and its checksum
  // compared).
  explicit Checkpoint(const std::filesystem::path& file);

  const CheckpointInfo& info() const { return info_; }
  const SafetensorsFile& file() const { return file_; }

  // Sets every variable of the state. InputError names the first that the file lacks or has in another shape or type, and, when
  // `whole`, the first tensor of the file that the state lacks: it is another model's checkpoint.
  void restore(State& state, bool whole) const;

 private:
  SafetensorsFile file_;
  CheckpointInfo info_;
};

// --init: starts from the tensors "generator.…" and "discriminator.…" of any safetensors file. Every name of `parameters` must
// be there; running statistics may be; num_batches_tracked, "ema.…" and "optimizer.…" are passed over. InputError names any
// other tensor, and any of another shape.
void initialise_weights(const std::filesystem::path& file, State& state, std::span<const std::string> parameters);

// Sets every "ema.NAME" to NAME: how an average starts.
void start_averages(State& state);

}  // namespace gannet
