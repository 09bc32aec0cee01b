// Activations of what a product leaves in registers, and their slopes.
#pragma once

#include "kernels/cuda/epilogue.h"
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

// values *= the slope where the activation's output was `activated`.
template <int N>
__device__ __forceinline__ void multiply_by_slope(Activation::Kind kind, float slope, const float (&activated)[N],
                                                  float (&values)[N]) {
  if (kind == Activation::Kind::leaky_relu) {
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = activated[i] > 0 ? values[i] : slope * values[i];
  } else if (kind == Activation::Kind::tanh) {
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] *= fmaf(-activated[i], activated[i], 1.0f);
  } else if (kind == Activation::Kind::sigmoid) {
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] *= activated[i] * (1.0f - activated[i]);
  }
}

// Of N neighbouring elements of the result from `element` on, which is of type T.
template <typename T, int N>
__device__ __forceinline__ void multiply_by_slope(const SlopeOf& slope_of, std::int64_t element, float (&values)[N]) {
  if (slope_of.kind == Activation::Kind::none) return;
  float activated[N];
  load(static_cast<const T*>(slope_of.activated) + element, activated);
  multiply_by_slope(slope_of.kind, slope_of.slope, activated, values);
}

// The same for elements that are of type T already.
template <typename T, int N>
__device__ __forceinline__ void multiply_by_slope(const SlopeOf& slope_of, std::int64_t element, Packet<T, N>& packet) {
  if (slope_of.kind == Activation::Kind::none) return;
  float values[N];
  load(&packet.at[0], values);
  multiply_by_slope<T>(slope_of, element, values);
  store(&packet.at[0], values);
}

}  // namespace gannet::kernels::cuda
