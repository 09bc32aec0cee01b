// Convolution::slope_of for kernels that do not end with it: the convolution, then a pass over its result.
#pragma once

#include <memory>

#include "kernels/backend.h"

namespace gannet::kernels {

// result, activated -> result times the activation's slope, in place.
Pointwise slope_chain(const Convolution& spec);
// convolution: of the spec without slope_of; chain: of its slope_chain.
std::unique_ptr<Kernel> then_slope(std::unique_ptr<Kernel> convolution, std::unique_ptr<Kernel> chain);

}  // namespace gannet::kernels
