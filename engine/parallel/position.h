// What the main thread of a rank is at, told to the thread that watches without either waiting for the other.
#pragma once

#include <array>
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
  PositionBoard() { write("start"); }
  // One thread sets, one reads. Of a long `phase` the beginning is kept.
  void set(std::int64_t step, std::string_view phase, bool watched) noexcept;
  // seconds: since the last look, as far as the reader was awake. They add up as long as nothing new is set.
  Position look(double seconds);

 private:
  static constexpr std::size_t phase_bytes = 32;  // with a zero at the end
  using Word = std::uint64_t;
  void write(std::string_view phase) noexcept;

  std::atomic<unsigned> version_{0};  // odd while the rest is being written
  std::atomic<std::int64_t> step_{0}, turn_{0};
  std::array<std::atomic<Word>, phase_bytes / sizeof(Word)> phase_{};
  std::atomic<bool> watched_{false};
  unsigned seen_ = 0;
  double in_phase_ = 0;
};

}  // namespace gannet::parallel
