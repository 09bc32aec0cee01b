// The one kernel that several processes run together: what data-parallel training adds to a program.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

namespace gannet::kernels {

// inputs: tensors (f32 or bf16, each rank's own) -> outputs: the same tensors, each the sum or the mean over all ranks; the
// same bits on every rank. An output may be its input's memory. A backend has no ranks: a communicator makes this kernel.
struct AllReduce {
  enum class Combine : std::uint8_t { sum, mean };
  Combine combine = Combine::sum;
  std::vector<TensorDesc> tensors;
  DType carried = DType::f32;  // what the planner has f32 tensors rounded to on their way; the kernel carries what it is given
};

}  // namespace gannet::kernels
