// The kernel families of the CPU backend: each checks the preconditions of its spec's header and prepares a kernel.
#pragma once

#include <memory>

#include "kernels/backend.h"

namespace gannet::kernels::cpu {

// oneDNN
std::unique_ptr<Kernel> make_convolution(const Convolution& spec);
std::unique_ptr<Kernel> make_matmul(const Matmul& spec);

// SIMD, for the vector set found at run time
std::unique_ptr<Kernel> make_pointwise(const Pointwise& spec);
std::unique_ptr<Kernel> make_reduction(const Reduction& spec);
std::unique_ptr<Kernel> make_batch_norm(const BatchNorm& spec);
std::unique_ptr<Kernel> make_sigmoid_bce(const SigmoidBce& spec);
std::unique_ptr<Kernel> make_optimizer_update(const OptimizerUpdate& spec);
std::unique_ptr<Kernel> make_ema_update(const EmaUpdate& spec);
std::unique_ptr<Kernel> make_bf16_copies(const Bf16Copies& spec);
std::unique_ptr<Kernel> make_random(const Random& spec);
std::unique_ptr<Kernel> make_copy(const Copy& spec);
std::unique_ptr<Kernel> make_concatenate(const Concatenate& spec);

}  // namespace gannet::kernels::cpu
