// The variants of the convolution triple. Each says whether it can compute a spec; make_convolution takes the first that can.
#pragma once

#include <memory>

#include "kernels/backend.h"
#include "kernels/cuda/device.h"

namespace gannet::kernels::cuda {

// Tensor cores or CUDA cores by tiles (implicit_gemm.h).
bool can_implement_tiled(const Convolution& spec);
std::unique_ptr<Kernel> make_tiled_convolution(const Convolution& spec, const Device& device);

// fprop of few channels and dgrad with stride 2 to few channels, bf16: limited by memory.
bool can_implement_few_channels(const Convolution& spec);
std::unique_ptr<Kernel> make_few_channels_convolution(const Convolution& spec, const Device& device);
bool can_implement_narrow_dgrad(const Convolution& spec);
std::unique_ptr<Kernel> make_narrow_dgrad(const Convolution& spec, const Device& device);

// One thread an output, straight from the definition: any spec.
std::unique_ptr<Kernel> make_analytic_convolution(const Convolution& spec, const Device& device);

}  // namespace gannet::kernels::cuda
