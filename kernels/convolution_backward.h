// Both gradients of one convolution, of its picture and of its filters: what reads the gradient of its result twice.
#pragma once

#include "kernels/convolution.h"

namespace gannet::kernels {

// data: dgrad, the way back through a convolution, or fprop, that through a transposed one; weights: the wgrad of the same
// shapes, stride and pad. The first input of `data` is the gradient, and the picture of that name (y of dgrad, x of fprop) one
// of the inputs of `weights`; the other is the picture that the convolution was of.
// inputs: those of `data`, then that picture -> the outputs of `data` and of `weights`
struct ConvolutionBackward {
  Convolution data, weights;
};

}  // namespace gannet::kernels
