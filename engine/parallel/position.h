// What the main thread of a rank is at, told to the thread that watches without either waiting for the other.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace gannet::parallel {

struct Position {
  std::int64_t step = 0;
  std::string phase = "start";
  std::int64_t turn = 0;  // how many phases the step had before
  bool watched = false;
  double seconds = 0;    // in this phase
  unsigned version = 0;  // of what is set; another one for all that is set later

  // "at step 12, in discriminator"
  std::string text() const;
  // As ranks tell each other. WireError for what is none.
  std::string bytes() const;
  static Position from(std::string_view bytes);
};

class PositionBoard {
 public:
  // One thread sets, one reads. `phase` stays valid.
  void set(std::int64_t step, const char* phase, bool watched) noexcept;
  // seconds: since the last look, as far as the reader was awake. They add up as long as nothing new is set.
  Position look(double seconds);

 private:
  std::atomic<unsigned> version_{0};  // odd while the rest is being written
  std::atomic<std::int64_t> step_{0}, turn_{0};
  std::atomic<const char*> phase_{"start"};
  std::atomic<bool> watched_{false};
  unsigned seen_ = 0;
  double in_phase_ = 0;
};

}  // namespace gannet::parallel
