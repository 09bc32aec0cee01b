// Activations of what a product leaves in registers.
#pragma once

#include "kernels/cuda/numbers.cuh"

namespace gannet::kernels::cuda {

// Asks which activation it is once, not for every number.
template <int N>
__device__ __forceinline__ void activate(Activation::Kind kind, float slope, float (&values)[N]) {
  if (kind == Activation::Kind::none) return;
  if (kind == Activation::Kind::leaky_relu) {
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = values[i] > 0 ? values[i] : slope * values[i];
    return;
  }
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = activate(kind, slope, values[i]);
}

}  // namespace gannet::kernels::cuda
