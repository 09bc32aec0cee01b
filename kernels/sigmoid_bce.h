// Binary cross-entropy of sigmoid(logit), its gradient and the mean probability in one pass, stable for any logit.
#pragma once

#include <vector>

#include "kernels/tensor.h"

namespace gannet::kernels {

// logits (any shape, M elements, f32 plain): targets.size() equal runs; run g has target t = targets[g], weight weights[g].
//   -> loss ()          sum_g weights[g] * mean_{i in g} (softplus(x_i) - t x_i)
//      gradient (shape of logits, `gradient`, f32 or bf16)  d loss / d logits, in fp32 and then rounded
//      probability (G)  mean of sigmoid(x_i) over run g
struct SigmoidBce {
  TensorDesc logits;
  std::vector<float> targets;
  std::vector<float> weights;
  DType gradient = DType::f32;
};

}  // namespace gannet::kernels
