// Runs one case on one backend, watching everything that a kernel must leave alone.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/cases.h"

namespace gannet::tests {

struct KernelRun {
  std::vector<std::vector<std::byte>> bytes;  // of the outputs, as they lie in memory
  std::vector<std::vector<double>> values;    // of the outputs, row-major
  std::vector<std::string> trespasses;        // guards overwritten, inputs changed
};

// Buffers, workspace and outputs are surrounded by and filled with `garbage` before. in_place: outputs share memory with
// inputs as the case allows. `kernel` was created by the backend from the case's spec.
KernelRun run_kernel(kernels::Backend& backend, kernels::Kernel& kernel, const Case& test,
                     const std::vector<std::vector<double>>& inputs, bool in_place, std::byte garbage);
// The same with a kernel of its own.
KernelRun run_kernel(kernels::Backend& backend, const Case& test, const std::vector<std::vector<double>>& inputs, bool in_place,
                     std::byte garbage);

// Row-major values to a tensor's bytes and back.
std::vector<std::byte> encode(const TensorDesc& desc, const std::vector<double>& values);
std::vector<double> decode(const TensorDesc& desc, const std::vector<std::byte>& bytes);

}  // namespace gannet::tests
