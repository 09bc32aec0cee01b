// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011), the same on every backend.
#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace gannet::kernels {

// input: step () i32 -> output f32 or bf16, plain, at most 2^34 elements. Key: the seed's low and high word. Counter of
// element i (row-major): (i / 4, stream, step, 0); word i % 4 of the block. uniform: u = (word >> 8) * 2^-24 in [0,1), then
// a + (b - a) * u. normal: Box-Muller on words (0,1) and (2,3) of a block: u1 = ((first >> 8) + 1) * 2^-24,
// u2 = (second >> 8) * 2^-24, r = sqrt(-2 ln u1): r cos(2 pi u2), r sin(2 pi u2); then a + b * n. ln, sin, cos by the
// polynomials in kernels/philox.h and every product and sum rounded to fp32 on its own (no fma), so that every backend gets
// the same bits; bf16 is that number rounded once more, to nearest even, as a cast of it would be.
struct Random {
  enum class Distribution : std::uint8_t { normal, uniform };
  Distribution distribution = Distribution::normal;
  float a = 0;  // mean or low
  float b = 1;  // deviation or high
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;  // which draw of the step this is
  std::int64_t first = 0;    // element i of the output is element first + i of that draw: a rank draws its samples alone
  TensorDesc output;
};

}  // namespace gannet::kernels
