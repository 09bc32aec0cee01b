// Batch normalisation as the SIMD sources see it: spans of channels-last rows that lie behind each other, taken as lines of
// several rows each, so that a line is a whole number of vectors however few channels a row has.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/cpu/vector_set.h"
#include "kernels/tensor.h"

namespace gannet::kernels::cpu {

// `lines` full lines of `length` elements and then `rest` < length more.
struct Span {
  std::int64_t lines, length, rest;
};

// Per lane of a line; padded with zeros to a whole number of the widest vectors, as all arrays of lanes are.
struct NormLanes {
  const float *mean, *scale, *beta;   // y = activation(z), z = (x - mean) * scale + beta
  const float *slope_x, *slope_mean;  // backward: dx = scale * dz - (x - mean) * slope_x - slope_mean
};

// x, y, dy and dx are of `type`. sums and squares (products) are added to; lanes is scratch for twice a line.
// clang-format off
GANNET_PER_VECTOR_SET(
  // x - shift and its square.
  void sum_moments(DType type, const Span& span, const void* x, const float* shift, float* lanes, double* sums,
                   double* squares);
  void normalise(DType type, const Span& span, const void* x, const Activation& activation, const NormLanes& norm, void* y);
  // dz = dy * activation'(z) and dz * (x - mean).
  void sum_gradients(DType type, const Span& span, const void* x, const void* dy, const Activation& activation,
                     const NormLanes& norm, float* lanes, double* sums, double* products);
  void normalise_gradient(DType type, const Span& span, const void* x, const void* dy, const Activation& activation,
                          const NormLanes& norm, void* dx);
)
// clang-format on

}  // namespace gannet::kernels::cpu
