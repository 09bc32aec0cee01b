// bf16 products on machines, or for geometries, that the library has no bf16 code for: computed in f32.
#pragma once

#include "kernels/backend.h"

namespace gannet::kernels::cpu {

// The same operator on copies of its bf16 operands in f32; the result is rounded to bf16 once, at the end.
std::unique_ptr<Kernel> make_widened(const Convolution& spec);
std::unique_ptr<Kernel> make_widened(const Matmul& spec);

bool has_bf16(const KernelSpec& spec);

}  // namespace gannet::kernels::cpu
