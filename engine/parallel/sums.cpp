#include "engine/parallel/sums.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace gannet {
namespace {

float widen(float value) { return value; }
float widen(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

void narrow(float value, float& out) { out = value; }
void narrow(float value, std::uint16_t& out) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
  const bool nan = (bits & 0x7fffffff) > 0x7f800000;  // whose payload must not be rounded away
  out = static_cast<std::uint16_t>((nan ? bits | 0x400000 : rounded) >> 16);
}

template <typename T>
void sum(std::span<const void* const> parts, float scale, T* out, std::size_t elements) {
  std::array<float, 2048> sums;  // stays in the first cache
  for (std::size_t first = 0; first < elements; first += sums.size()) {
    const std::size_t count = std::min(sums.size(), elements - first);
    const T* const part = static_cast<const T*>(parts[0]) + first;
    for (std::size_t i = 0; i < count; ++i) sums[i] = widen(part[i]);
    for (std::size_t rank = 1; rank < parts.size(); ++rank) {
      const T* const next = static_cast<const T*>(parts[rank]) + first;
      for (std::size_t i = 0; i < count; ++i) sums[i] += widen(next[i]);
    }
    for (std::size_t i = 0; i < count; ++i) narrow(scale * sums[i], out[first + i]);
  }
}

}  // namespace

void sum_of_ranks(DType type, std::span<const void* const> parts, float scale, void* out, std::size_t elements) {
  if (type == DType::bf16)
    sum(parts, scale, static_cast<std::uint16_t*>(out), elements);
  else
    sum(parts, scale, static_cast<float*>(out), elements);
}

}  // namespace gannet
