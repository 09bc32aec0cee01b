// The special convolutions among which make_convolution chooses.
#pragma once

#include <memory>

#include "kernels/backend.h"

namespace gannet::kernels::cpu {

// dgrad to pictures of at most four channels, f32; y in any layout.
bool is_narrow_dgrad(const Convolution& spec);
std::unique_ptr<Kernel> make_narrow_dgrad(const Convolution& spec);

}  // namespace gannet::kernels::cpu
