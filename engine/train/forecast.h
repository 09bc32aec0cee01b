// What a run will take: arithmetic, traffic and memory, known when its step is planned.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/train/model.h"
#include "engine/train/step.h"

namespace gannet {

struct MemoryForecast {
  std::size_t process = 0;  // the program, its libraries and the code generated for the kernels: measured when all is planned
  std::size_t state = 0;    // parameters, moments, averages, statistics
  std::size_t arena = 0;    // intermediate values of every program
  std::size_t inputs = 0;   // of the programs
  std::size_t data = 0;     // batches read ahead, and the pages of the dataset that the steps touch
  std::size_t staging = 0;  // host copies while a checkpoint or a picture is made
  bool on_device = false;   // state, intermediate values and inputs are in the memory of a device
  std::size_t device() const { return on_device ? state + arena + inputs : 0; }
  // Of the host. A device's inputs are written there.
  std::size_t total() const { return process + data + staging + inputs + (on_device ? 0 : state + arena); }
};

// Before the first run of a program. dataset_bytes: of the file, 0 when there is none; steps: still to make.
MemoryForecast forecast_memory(const Step& step, const Drawing& drawing, std::size_t dataset_bytes, std::int64_t steps);

// Lines for people: parameters of each player, operators and kernels, FLOPs and bytes of a step, and the memory forecast.
std::vector<std::string> describe_plan(const Step& step, const Drawing& drawing, const MemoryForecast& memory);

}  // namespace gannet
