#include "engine/parallel/position.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/parallel/wire.h"

namespace gannet::parallel {

std::string Position::text() const {
  if (step == 0 && phase == "start") return "at the start";
  return fmt::format("at step {}, in {}", step, phase);
}

std::string Position::bytes() const {
  const auto milliseconds = static_cast<std::int64_t>(seconds * 1000);
  return Writer().number(step).text(phase).number(turn).number(watched ? 1 : 0).number(milliseconds).bytes;
}

Position Position::from(std::string_view bytes) {
  Reader words(bytes);
  Position position;
  position.step = words.number();
  position.phase = words.text();
  position.turn = words.number();
  position.watched = words.number() != 0;
  position.seconds = static_cast<double>(words.number()) / 1000;
  return position;
}

void PositionBoard::write(std::string_view phase) noexcept {
  std::array<Word, phase_bytes / sizeof(Word)> words{};
  std::memcpy(words.data(), phase.data(), std::min(phase.size(), phase_bytes - 1));
  for (std::size_t i = 0; i < words.size(); ++i) phase_[i].store(words[i], std::memory_order_release);
}

void PositionBoard::set(std::int64_t step, std::string_view phase, bool watched) noexcept {
  const unsigned version = version_.load(std::memory_order_relaxed);
  version_.store(version + 1, std::memory_order_relaxed);
  const bool same = step_.load(std::memory_order_relaxed) == step;
  turn_.store(same ? turn_.load(std::memory_order_relaxed) + 1 : 0, std::memory_order_release);  // each after the odd version
  step_.store(step, std::memory_order_release);
  write(phase);
  watched_.store(watched, std::memory_order_release);
  version_.store(version + 2, std::memory_order_release);
}

Position PositionBoard::look(double seconds) {
  for (;;) {
    const unsigned version = version_.load(std::memory_order_acquire);
    Position position;
    position.step = step_.load(std::memory_order_acquire);
    position.turn = turn_.load(std::memory_order_acquire);
    std::array<Word, phase_bytes / sizeof(Word)> words;
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = phase_[i].load(std::memory_order_acquire);
    position.watched = watched_.load(std::memory_order_acquire);
    if (version % 2 != 0 || version_.load(std::memory_order_relaxed) != version) continue;
    position.phase = reinterpret_cast<const char*>(words.data());
    in_phase_ = version == seen_ ? in_phase_ + seconds : 0;
    seen_ = version;
    position.seconds = in_phase_;
    position.version = version;
    return position;
  }
}

}  // namespace gannet::parallel
