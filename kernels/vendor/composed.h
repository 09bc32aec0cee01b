// What goes before and after a product of a library that can not do it itself: each is a kernel that runs others in turn.
#pragma once

#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "kernels/vendor/libraries.h"

namespace gannet::kernels::vendor {

// How a product ends that a library leaves plain.
struct Ending {
  bool bias = false;  // one value an element of the last axis
  Activation activation;
  bool any() const { return bias || activation.kind != Activation::Kind::none; }
};

// What the product writes before its ending: bf16 where that is only bent (which rounds it as the product itself would), f32
// where a bias is added to it.
TensorDesc before(const Ending& ending, const TensorDesc& output);
// product: of two inputs, to `before(ending, output)`. The bias is the third input.
std::unique_ptr<Kernel> then(std::unique_ptr<Kernel> product, const Ending& ending, const TensorDesc& output,
                             const Libraries& libraries);

// Both inputs, which are bf16, to f32 in the workspace first. product: of the widened ones.
std::unique_ptr<Kernel> after_widening(const std::vector<TensorDesc>& inputs, std::unique_ptr<Kernel> product,
                                       const Libraries& libraries);

}  // namespace gannet::kernels::vendor
