// Sigmoid and binary cross-entropy as the SIMD sources see them.
#pragma once

#include <cstdint>

#include "kernels/cpu/vector_set.h"

namespace gannet::kernels::cpu {

struct BceSums {
  double loss, probability;
};

// clang-format off
GANNET_PER_VECTOR_SET(
  // gradient, of f32 or bf16, = scale * (sigmoid(x) - target); the sums of softplus(x) - target * x and of sigmoid(x).
  BceSums sigmoid_bce(const float* logits, std::int64_t n, float target, float scale, bool narrow, void* gradient);
)
// clang-format on

}  // namespace gannet::kernels::cpu
