// Time as a thread that watches counts it: what passed while the thread itself could not run is nobody's silence.
#pragma once

#include <algorithm>

#include "engine/parallel/desk.h"
#include "engine/parallel/reach.h"

namespace gannet::parallel {

class Pace {
 public:
  explicit Pace(const GroupOptions& options) : options_(options) {}

  // After each wait, which was to be no longer than `wait` seconds. What is to be added to moments of the past, so that they
  // lie as long ago as this thread was awake since: mostly nothing.
  Clock::duration pass(double wait) {
    const Clock::time_point now = Clock::now();
    const double elapsed = seconds_between(now_, now), pause = elapsed - wait;
    now_ = now;
    awake_ = elapsed;
    if (pause < options_.silence_seconds / 4) return {};
    awake_ = wait;
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(pause));
  }
  Clock::time_point now() const { return now_; }
  double awake() const { return awake_; }  // seconds of the last wait
  // Sooner when there is something new to say.
  bool beat_is_due(bool news) {
    if (seconds_between(beat_, now_) < (news ? look_seconds : beat_seconds(options_))) return false;
    beat_ = now_;
    return true;
  }

 private:
  const GroupOptions& options_;
  Clock::time_point now_ = Clock::now(), beat_;
  double awake_ = 0;
};

}  // namespace gannet::parallel
