#include "kernels/cuda/device.h"

#include "kernels/check.h"

namespace gannet::kernels::cuda {

void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) [[likely]]
    return;
  throw RuntimeError(
      fmt::format("CUDA: {} ({}) from {} at {}:{}", cudaGetErrorString(status), cudaGetErrorName(status), call, file, line));
}

void refuse(const std::string& message) { throw InputError(message); }

}  // namespace gannet::kernels::cuda
