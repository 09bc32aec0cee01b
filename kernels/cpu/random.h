// Random draws as the SIMD sources see them.
#pragma once

#include <cstdint>

#include "kernels/cpu/vector_set.h"
#include "kernels/random.h"

namespace gannet::kernels::cpu {

inline constexpr std::int64_t random_group = 64;  // elements; a multiple of what any vector set makes at once

struct Draw {
  Random::Distribution distribution;
  float a, scale;  // a + scale * (normal or uniform number)
  std::uint32_t key_low, key_high, stream, step;
  std::int64_t first;  // of the draw, that the output begins with
  DType type;          // of the output
};

// clang-format off
GANNET_PER_VECTOR_SET(
  // Elements [begin, end); begin is a multiple of the group.
  void draw(const Draw& draw, std::int64_t begin, std::int64_t end, void* output);
)
// clang-format on

}  // namespace gannet::kernels::cpu
