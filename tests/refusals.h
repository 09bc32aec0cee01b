// Specs that break a rule of their header: every backend must refuse each with an InputError that names the operator.
#pragma once

#include <string>
#include <vector>

#include "kernels/backend.h"

namespace gannet::tests {

struct Refusal {
  std::string rule;
  kernels::KernelSpec spec;
};
std::vector<Refusal> refusals();

}  // namespace gannet::tests
