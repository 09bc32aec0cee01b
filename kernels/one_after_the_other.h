// ConvolutionBackward where no kernel makes both gradients at once.
#pragma once

#include <memory>

#include "kernels/backend.h"

namespace gannet::kernels {

// data, weights: of the spec's parts.
std::unique_ptr<Kernel> one_after_the_other(const ConvolutionBackward& spec, std::unique_ptr<Kernel> data,
                                            std::unique_ptr<Kernel> weights);

}  // namespace gannet::kernels
