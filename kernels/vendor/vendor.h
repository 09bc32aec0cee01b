// Operators through cuDNN (convolutions) and cuBLASLt (products of matrices), for the CUDA backend. What they do not end with
// (bias, activation, slope) is a pass of our own behind them. Batch normalisation stays ours: that of cuDNN has neither groups
// nor leaky ReLU, gives 1 / sqrt(variance + epsilon) where BatchNorm gives the variance, and backward it would want the
// gradient behind the activation, which only a pass over x could make.
#pragma once

#include <memory>
#include <string>

#include "kernels/backend.h"
#include "kernels/vendor/libraries.h"

namespace gannet::kernels::vendor {

// A kernel that leaves what it works with in memory of `libraries`, which must outlive it; null where the libraries have none
// for the spec. The spec's preconditions have been checked.
std::unique_ptr<Kernel> make_kernel(const KernelSpec& spec, const Libraries& libraries);

// Of cuDNN: "9.19.0; cuBLASLt 13.1.0", or why there is none. Needs no device.
std::string describe_libraries();

}  // namespace gannet::kernels::vendor
