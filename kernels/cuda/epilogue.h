// What the result of a product goes through last, beside bias and activation.
#pragma once

#include "kernels/activation.h"

namespace gannet::kernels::cuda {

// The result is multiplied by the slope of an activation that had the output `activated`, which lies as the result does.
struct SlopeOf {
  Activation::Kind kind = Activation::Kind::none;
  float slope = 0;
  const void* activated = nullptr;
};

}  // namespace gannet::kernels::cuda
