// Batch normalisation with its activation (Ioffe & Szegedy 2015), forward in training mode and backward.
#pragma once

#include "kernels/activation.h"
#include "kernels/tensor.h"

namespace gannet::kernels {

// The batch is `groups` equal runs of samples along N, each normalised by statistics of its own (real and fake in one call).
// For rank 2 (N,C) the statistics run over N, for rank 4 (N,H,W,C) over N,H,W; all statistics and sums are fp32 or better.
//   forward:  x, gamma (C), beta (C)                             -> y, mean (groups,C), variance (groups,C; biased)
//             y = activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta)
//   and with momentum: …, running mean (C), running variance (C) -> …, running mean, running variance: those of the groups in
//             turn, r = (1 - momentum) r + momentum s, of variances the unbiased ones; may be the same memory
//   backward: x, gamma, beta, mean, variance, dy                 -> dx, dgamma (C), dbeta (C)
//             the derivative of y's part of forward through the statistics too; dx may be the same memory as dy
// x, y, dx, dy are alike (f32 or bf16; plain or blocked); all else is f32 plain.
struct BatchNorm {
  enum class Kind : std::uint8_t { forward, backward };
  Kind kind = Kind::forward;
  TensorDesc x;
  int groups = 1;
  float epsilon = 1e-5f;
  Activation activation;
  float momentum = 0;  // forward: of running statistics; 0: there are none. A group has more than one value per channel then
};

}  // namespace gannet::kernels
