// Trains a model in a run folder: steps, metrics, samples, checkpoints, and an end that leaves everything whole.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/parallel/ranks.h"
#include "engine/train/config.h"
#include "engine/train/model.h"
#include "engine/train/stop_signal.h"

namespace gannet {

struct TrainOptions {
  const Family& family;
  Config config;                       // its data.file is the dataset
  std::filesystem::path out;           // the run folder
  std::filesystem::path init, replay;  // empty: none
  bool resume = false;
  std::FILE* terminal = stdout;  // where lines go; null: only to the log
  // Those that train together, each of which calls train() alike; null: this process trains alone. Rank 0 alone touches `out`,
  // and tells the others what it resumes.
  const Ranks* ranks = nullptr;
};

// 0 when the last step is made and saved; 128 + the signal when one stopped the run (its state is saved).
// Throws InputError, with nothing changed on disk, for what the caller got wrong; RuntimeError for what failed on the way
// (a loss that is not finite, a full disk): earlier checkpoints stay whole.
int train(const TrainOptions& options, kernels::Backend& backend, StopSignal& stop);

// Plans everything and says what a run would take, in lines. Needs no data and touches no disk.
std::vector<std::string> dry_run(const TrainOptions& options, kernels::Backend& backend);

}  // namespace gannet
