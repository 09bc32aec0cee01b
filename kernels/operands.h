// The operands of a spec, in the order in which Arguments points to them.
#pragma once

#include <vector>

#include "kernels/backend.h"

namespace gannet::kernels {

struct Operands {
  std::vector<TensorDesc> inputs, outputs;
};
Operands operands_of(const KernelSpec& spec);

// The operator's name, as in messages: "convolution fprop".
const char* name_of(const KernelSpec& spec);

// Throws InputError naming operator and operands when the spec breaks a rule of its header. Every backend calls it first.
void check_preconditions(const KernelSpec& spec);

}  // namespace gannet::kernels
