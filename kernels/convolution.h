// The convolution triple. Each is bilinear and the derivative of each is the other two; a transposed convolution is dgrad.
//   fprop: y[n,p,q,k] = sum_{r,s,c} x[n, p*stride+r-pad, q*stride+s-pad, c] * w[k,r,s,c]
//   dgrad: its adjoint in x; wgrad: its adjoint in w.
#pragma once

#include "kernels/activation.h"
#include "kernels/tensor.h"

namespace gannet::kernels {

enum class ConvolutionKind { fprop, dgrad, wgrad };

// inputs -> output
//   fprop: x (N,H,W,C), w (K,R,S,C) [, bias (K)]  -> y (N,P,Q,K)
//   dgrad: y (N,P,Q,K), w (K,R,S,C) [, bias (C)]  -> x (N,H,W,C)
//   wgrad: x (N,H,W,C), y (N,P,Q,K)               -> w (K,R,S,C), always f32
// and of fprop and dgrad with slope_of: …, activated (as the output)
// x and y may be f32 or bf16 (both inputs alike); bias is f32. bias and activation apply to fprop and dgrad only.
struct Convolution {
  ConvolutionKind kind;
  TensorDesc x, w, y;
  int stride = 1;
  int pad = 0;
  bool bias = false;
  Activation activation;
  // The result is multiplied by the slope of this activation, where the activation's own output was `activated`: the way back
  // through the activation that made what this convolution is the derivative of. Without bias and activation.
  Activation slope_of;
};

}  // namespace gannet::kernels
