// Bf16Copies for backends that gain nothing by one launch: a cast after the other.
#pragma once

#include <functional>
#include <memory>

#include "kernels/backend.h"

namespace gannet::kernels {

// make: a kernel for a cast of one tensor.
std::unique_ptr<Kernel> bf16_copies_by(const Bf16Copies& spec,
                                       const std::function<std::unique_ptr<Kernel>(const Pointwise&)>& make);

}  // namespace gannet::kernels
