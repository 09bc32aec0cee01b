// C = activation(op(A) op(B) + bias), op transposing or not. Accumulates in fp32.
#pragma once

#include "kernels/activation.h"
#include "kernels/tensor.h"

namespace gannet::kernels {

// inputs: a (M,K) or (K,M) when transposed, b (K,N) or (N,K) when transposed [, bias (N), f32] -> c (M,N).
// a and b are alike, f32 or bf16; c is f32 or bf16. All plain.
struct Matmul {
  TensorDesc a, b, c;
  bool transpose_a = false;
  bool transpose_b = false;
  bool bias = false;
  Activation activation;
};

}  // namespace gannet::kernels
