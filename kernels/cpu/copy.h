// Data movement as the SIMD sources see it.
#pragma once

#include <cstdint>

#include "kernels/cpu/vector_set.h"
#include "kernels/tensor.h"

namespace gannet::kernels::cpu {

inline constexpr std::int64_t transpose_band = 128;  // rows that are best transposed together

// rows x columns elements; steps are in elements.
struct Plane {
  std::int64_t rows, columns;
  std::int64_t input_row, input_column;
  std::int64_t output_row, output_column;
};

// clang-format off
GANNET_PER_VECTOR_SET(
  // From f32 to bf16, from bf16 to f32, or between equal types of 1, 2 or 4 bytes.
  void copy_plane(DType from, DType to, const Plane& plane, const void* input, void* output);
)
// clang-format on

}  // namespace gannet::kernels::cpu
