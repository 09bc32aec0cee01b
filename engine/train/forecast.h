// What a run will take: arithmetic, traffic and memory, known when its step is planned.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/train/sampler.h"
#include "engine/train/step.h"

namespace gannet {

struct MemoryForecast {
  std::size_t baseline = 0;  // the program itself with its libraries, measured before anything was planned
  std::size_t state = 0;     // parameters, moments, averages, statistics
  std::size_t arena = 0;     // intermediate values of every program
  std::size_t inputs = 0;    // of the programs
  std::size_t loader = 0;    // batches read ahead, and the pages of the dataset that get touched
  std::size_t staging = 0;   // host copies while a checkpoint or a grid is made
  std::size_t total() const { return baseline + state + arena + inputs + loader + staging; }
};

// sampler: null when the model draws its own pictures. dataset_bytes: of the file; 0 when there is none.
MemoryForecast forecast_memory(const Step& step, const Sampler* sampler, std::size_t baseline, std::size_t dataset_bytes);

// Lines for people: parameters of each player, operators and kernels, FLOPs and bytes of a step, and the memory forecast.
std::vector<std::string> describe_plan(const Step& step, const Sampler* sampler, const MemoryForecast& memory);

std::string format_bytes(double bytes);

}  // namespace gannet
