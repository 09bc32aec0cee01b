// What the tests of communicators reduce, and what must come out.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "kernels/all_reduce.h"

namespace gannet {

// Numbers of very different size and both signs, so that another order of adding up gives other bits.
inline float value_of(int rank, std::size_t index, std::uint32_t salt = 0) {
  std::uint32_t bits = static_cast<std::uint32_t>(index) * 2654435761u + static_cast<std::uint32_t>(rank) * 40503u + salt * 97u;
  bits ^= bits >> 15;
  bits *= 2246822519u;
  bits ^= bits >> 13;
  const float mantissa = 1 + static_cast<float>(bits & 0x7fffff) / 8388608;
  const float sign = (bits & 0x800000) != 0 ? -1.0f : 1.0f;
  return sign * mantissa * static_cast<float>(1 << (bits >> 28));
}

inline float float_of(std::uint16_t bf16) { return std::bit_cast<float>(std::uint32_t{bf16} << 16); }

// The bf16 number nearest to `value`, of two equally near ones the even one: by distances, in double precision.
inline std::uint16_t nearest_bf16(double value) {
  const auto below = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(value)) >> 16);
  std::uint16_t best = below;
  for (const int step : {-1, 1}) {
    const auto other = static_cast<std::uint16_t>(below + step);
    const double gain = std::abs(value - float_of(best)) - std::abs(value - float_of(other));
    if (gain > 0 || (gain == 0 && (other & 1) == 0)) best = other;
  }
  return best;
}

}  // namespace gannet
