// Optimizer updates as the SIMD sources see them.
#pragma once

#include <cstdint>

#include "kernels/cpu/vector_set.h"

namespace gannet::kernels::cpu {

// A run of elements of one tensor; outputs may be the inputs.
struct UpdateSpan {
  const float* parameter;
  const float* gradient;
  const float* moment[2];
  float* new_parameter;
  float* new_moment[2];
};

struct UpdateRates {
  float learning_rate;  // adam: over the bias correction of the first moment
  float decay[2];       // of the moments: beta1, beta2; alpha, momentum; momentum
  float complement[2];  // 1 - decay, rounded once
  float root_scale;     // adam: 1 / sqrt of the bias correction of the second moment
  float epsilon;
  float weight_decay;
};

// clang-format off
GANNET_PER_VECTOR_SET(
  bool all_finite(const float* values, std::int64_t n);
  void adam(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n);
  void rmsprop(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n);
  void rmsprop_momentum(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n);
  void sgd(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n);
  void sgd_momentum(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n);
  // decay[0] * parameter + complement[0] * gradient, the average being the parameter and the parameter the gradient.
  void moving_average(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n);
)
// clang-format on

}  // namespace gannet::kernels::cpu
