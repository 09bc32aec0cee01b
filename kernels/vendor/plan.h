// A convolution as a graph of cuDNN's, and the engine that computes it.
#pragma once

#include <optional>

#include "kernels/convolution.h"
#include "kernels/vendor/descriptor.h"

namespace gannet::kernels::vendor::cudnn {

// What plans are made for: the device of a handle, or one that is only described (properties; tests see with it what cuDNN has
// for devices that are not there).
struct Target {
  Handle handle = nullptr;
  const Descriptor* properties = nullptr;
};

struct Plan {
  Descriptor plan;
  std::size_t workspace_bytes = 0;
  bool widened = false;  // it takes inputs that are bf16 as f32
};

// The names of its operands in `Descriptor`s of kind pointers.
inline constexpr std::int64_t id_x = 'x', id_w = 'w', id_y = 'y';

// Of the first engine, in the order of cuDNN's heuristics, that gives the same bits in every run and sums products in fp32,
// none of them by a transform (FFT, Winograd: sums of small integers stay exact); none where cuDNN has no such engine. Bias,
// activation and slope_of are left out. tf32: products of f32 may be of tf32.
std::optional<Plan> plan_convolution(const Calls& calls, const Target& target, const Convolution& spec, bool tf32);

}  // namespace gannet::kernels::vendor::cudnn
