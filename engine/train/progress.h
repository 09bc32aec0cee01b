// How far a run is: a line that a terminal keeps up to date, or lines every so often.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>

#include "engine/train/run_log.h"
#include "engine/train/step.h"

namespace gannet {

class Progress {
 public:
  // batch: images of a step.
  Progress(RunLog& log, std::int64_t total, std::int64_t batch, std::int64_t log_every);

  // After every step; `made` counts from 1. Allocates nothing.
  void show(std::int64_t made, double seconds, const Step& step);

 private:
  using Clock = std::chrono::steady_clock;
  void compose(std::int64_t made, const Step& step);

  RunLog& log_;
  std::int64_t total_, batch_, log_every_;
  double step_seconds_ = 0;  // average of late
  std::int64_t measured_ = 0;
  Clock::time_point last_line_, last_progress_;
  fmt::memory_buffer text_;
};

}  // namespace gannet
