// The kernel families of the reference backend: plain loops in double. Tensors of f32, bf16 and f64 are all double in memory.
#pragma once

#include <memory>

#include "kernels/backend.h"

namespace gannet::kernels::reference {

std::unique_ptr<Kernel> make(const Convolution& spec);
std::unique_ptr<Kernel> make(const ConvolutionBackward& spec);
std::unique_ptr<Kernel> make(const Matmul& spec);
std::unique_ptr<Kernel> make(const Pointwise& spec);
std::unique_ptr<Kernel> make(const Reduction& spec);
std::unique_ptr<Kernel> make(const BatchNorm& spec);
std::unique_ptr<Kernel> make(const SigmoidBce& spec);
std::unique_ptr<Kernel> make(const OptimizerUpdate& spec);
std::unique_ptr<Kernel> make(const EmaUpdate& spec);
std::unique_ptr<Kernel> make(const Bf16Copies& spec);
std::unique_ptr<Kernel> make(const Random& spec);
std::unique_ptr<Kernel> make(const Copy& spec);
std::unique_ptr<Kernel> make(const Concatenate& spec);
inline std::unique_ptr<Kernel> make(const AllReduce&) { return nullptr; }  // refused before

}  // namespace gannet::kernels::reference
