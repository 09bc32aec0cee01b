// Data movement: layout changes, transposes, slices, zero padding, concatenation.
#pragma once

#include <vector>

#include "kernels/tensor.h"

namespace gannet::kernels {

// Copies a box. With e running over `extent` (in output dimensions):
//   output[output_start + e] = input[input_start' + e'], where input dimension permutation[d] follows output dimension d
// (input_start is in input dimensions). Elements of the output outside of the box become 0. Types may differ (f32, bf16).
struct Copy {
  TensorDesc input, output;
  std::vector<int> permutation;
  Shape input_start, output_start, extent;
};

// inputs, all with the output's type and, but for `axis`, its shape -> output.
struct Concatenate {
  std::vector<TensorDesc> inputs;
  TensorDesc output;
  int axis = 0;
};

}  // namespace gannet::kernels
