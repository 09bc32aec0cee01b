// Multi-tensor optimizer updates and moving averages, one call for all tensors of a player. Formulas are PyTorch's.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

namespace gannet::kernels {

// All tensors f32; parameter, gradient and moments of one tensor share one layout (of `parameters`). In place: outputs may
// be (and in a planned program are) the same memory as the inputs.
//   inputs:  learning_rate (), step () f32 [updates made so far], then per tensor: parameter, gradient, moment 1 … moment S
//   outputs: step (), nonfinite () i32, then per tensor: parameter, moment 1 … moment S
// nonfinite is 0 when every gradient is finite; otherwise 1 + the index of the first tensor with a non-finite gradient, and
// then nothing is updated: parameters and moments stay, and step becomes -1. Of a negative step nothing is ever updated, and
// nonfinite is not 0 (1 + the number of tensors where all gradients are finite again): the host may look at it late.
//   adam:    moments exp_avg, exp_avg_sq            (Kingma & Ba 2015, bias-corrected, epsilon outside the root)
//   rmsprop: moments square_avg [, momentum_buffer when momentum > 0]
//   sgd:     moments [momentum_buffer when momentum > 0]   (torch.optim.SGD: buffer = momentum * buffer + g;
//            first step: buffer = g)
struct OptimizerUpdate {
  enum class Kind : std::uint8_t { adam, rmsprop, sgd };
  Kind kind = Kind::adam;
  std::vector<TensorDesc> parameters;
  float beta1 = 0.9f, beta2 = 0.999f;  // adam
  float alpha = 0.99f;                 // rmsprop
  float momentum = 0;                  // rmsprop, sgd
  float epsilon = 1e-8f;
  float weight_decay = 0;  // added to the gradient as weight_decay * parameter
  bool counts = true;      // false: step stays, as another kernel updates the rest of the player's tensors after this one
  int moments() const;     // tensors of state per parameter
};

// Exponential moving average: inputs per tensor: average, parameter -> average = decay * average + (1 - decay) * parameter.
struct EmaUpdate {
  std::vector<TensorDesc> parameters;
  float decay = 0.999f;
};

// What products in bf16 read of fp32 parameters: inputs: a parameter each -> outputs: the same in bf16, to nearest even.
struct Bf16Copies {
  std::vector<TensorDesc> parameters;
};

}  // namespace gannet::kernels
