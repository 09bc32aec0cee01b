// What the kernels of the CUDA backend share: the device, its stream, and checked calls.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

namespace gannet::kernels::cuda {

// Throws RuntimeError with the call, its place and CUDA's own text.
void check(cudaError_t status, const char* call, const char* file, int line);
#define GANNET_CUDA(call) ::gannet::kernels::cuda::check((call), #call, __FILE__, __LINE__)

// Throws InputError. For CUDA sources: their compiler does not accept the formatting of kernels/check.h.
[[noreturn]] void refuse(const std::string& message);

// Why this device can not be used; empty when it can.
std::string unsupported(int device);

// The device that a backend works on. Kernels launch on `stream` and on nothing else.
struct Device {
  int index = 0;
  int architecture = 80;  // 80 for compute capability 8.0
  int multiprocessors = 0;
  std::size_t shared_bytes = 0;  // most that a block may opt in to
  bool tf32 = false;
  cudaStream_t stream = nullptr;
};

}  // namespace gannet::kernels::cuda
