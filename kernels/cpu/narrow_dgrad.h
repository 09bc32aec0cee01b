// dgrad to pictures of few channels (the generator's last layer), as the SIMD source sees it.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/cpu/vector_set.h"

namespace gannet::kernels::cpu {

inline constexpr std::int64_t widest_narrow_tile = 24;  // pixels
inline constexpr std::int64_t narrow_slack = 16;        // floats that a whole vector may reach past the end

struct NarrowDgrad {
  std::int64_t H, W, C, R, S, P, Q, K;
  std::int64_t stride, pad;
  std::int64_t block;  // channels of y that lie together: all K, or those of a block
  Activation activation;
  // By complete(), for a vector set:
  std::int64_t columns = 0;     // R * S * C, padded to whole groups of vectors
  std::int64_t classes = 0;     // pixels of a row that are so far from each other are placed by vectors that do not overlap
  std::int64_t padded_row = 0;  // floats in a row of the picture with its padding, at least as wide as what the taps reach
  std::int64_t line = 0;        // such a row with slack
  // Parts of the scratch memory, in floats.
  std::int64_t padded_floats = 0, line_floats = 0, tile_floats = 0;
};

// clang-format off
GANNET_PER_VECTOR_SET(
  void complete(NarrowDgrad& problem);
  // One sample: w is packed as (K, columns), zero beyond R * S * C; bias is a row (W, C) with slack; scratch holds the padded
  // picture, the lines and the tile.
  void narrow_dgrad(const NarrowDgrad& problem, const float* y, const float* w, const float* bias, float* scratch, float* x);
)
// clang-format on

}  // namespace gannet::kernels::cpu
