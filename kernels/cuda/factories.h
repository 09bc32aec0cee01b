// The kernel families of the CUDA backend: each takes a spec whose preconditions have been checked and prepares a kernel.
#pragma once

#include <memory>

#include "kernels/backend.h"
#include "kernels/cuda/device.h"

namespace gannet::kernels::cuda {

std::unique_ptr<Kernel> make_convolution(const Convolution& spec, const Device& device);
std::unique_ptr<Kernel> make_convolution_backward(const ConvolutionBackward& spec, const Device& device);
bool is_one_launch(const ConvolutionBackward& spec, const Device& device);
std::unique_ptr<Kernel> make_matmul(const Matmul& spec, const Device& device);
std::unique_ptr<Kernel> make_pointwise(const Pointwise& spec, const Device& device);
std::unique_ptr<Kernel> make_reduction(const Reduction& spec, const Device& device);
std::unique_ptr<Kernel> make_batch_norm(const BatchNorm& spec, const Device& device);
std::unique_ptr<Kernel> make_sigmoid_bce(const SigmoidBce& spec, const Device& device);
std::unique_ptr<Kernel> make_optimizer_update(const OptimizerUpdate& spec, const Device& device);
std::unique_ptr<Kernel> make_ema_update(const EmaUpdate& spec, const Device& device);
std::unique_ptr<Kernel> make_bf16_copies(const Bf16Copies& spec, const Device& device);
std::unique_ptr<Kernel> make_random(const Random& spec, const Device& device);
std::unique_ptr<Kernel> make_copy(const Copy& spec, const Device& device);
std::unique_ptr<Kernel> make_concatenate(const Concatenate& spec, const Device& device);

}  // namespace gannet::kernels::cuda
