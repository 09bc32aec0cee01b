// What stands for cuDNN and cuBLASLt where there is no GPU: shared libraries with the functions that kernels/vendor calls. They
// check what they are given as strictly as NVIDIA's do, or more so, and compute by plain loops on the host, in the order of the
// stream.
#pragma once

#include <cuda_runtime_api.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

namespace gannet::tests {

// Host memory that a stream copies from and to.
class Staging {
 public:
  explicit Staging(std::size_t bytes) {
    if (cudaMallocHost(&data_, bytes) != cudaSuccess) throw std::runtime_error("no host memory");
  }
  ~Staging() { cudaFreeHost(data_); }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

// Two operands in, one out, and what is done between: enqueued, or captured, like a kernel.
class HostKernel {
 public:
  HostKernel(std::size_t a, std::size_t b, std::size_t c, std::function<void(const void*, const void*, void*)> compute)
      : bytes_{a, b, c}, a_(a), b_(b), c_(c), compute_(std::move(compute)) {}

  void enqueue(const void* a, const void* b, void* c, cudaStream_t stream) {
    must(cudaMemcpyAsync(a_.data(), a, bytes_[0], cudaMemcpyDeviceToHost, stream));
    must(cudaMemcpyAsync(b_.data(), b, bytes_[1], cudaMemcpyDeviceToHost, stream));
    must(cudaLaunchHostFunc(
        stream,
        [](void* self) {
          const auto* kernel = static_cast<HostKernel*>(self);
          kernel->compute_(kernel->a_.data(), kernel->b_.data(), kernel->c_.data());
        },
        this));
    must(cudaMemcpyAsync(c, c_.data(), bytes_[2], cudaMemcpyHostToDevice, stream));
  }

 private:
  static void must(cudaError_t status) {
    if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
  }

  std::size_t bytes_[3];
  Staging a_, b_, c_;
  std::function<void(const void*, const void*, void*)> compute_;
};

inline std::uint32_t round_off(std::uint32_t bits, int below) {  // to nearest even
  const std::uint32_t half = (1u << (below - 1)) - 1 + ((bits >> below) & 1);
  return (bits + half) >> below << below;
}

inline double load(const void* memory, std::int64_t index, bool bf16, bool to_tf32) {
  if (bf16) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, static_cast<const std::uint16_t*>(memory) + index, sizeof bits);
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
  }
  float value = 0;
  std::memcpy(&value, static_cast<const float*>(memory) + index, sizeof value);
  return to_tf32 ? std::bit_cast<float>(round_off(std::bit_cast<std::uint32_t>(value), 13)) : value;
}

inline void store(void* memory, std::int64_t index, bool bf16, double value) {
  const auto single = static_cast<float>(value);
  if (bf16) {
    const auto bits = static_cast<std::uint16_t>(round_off(std::bit_cast<std::uint32_t>(single), 16) >> 16);
    std::memcpy(static_cast<std::uint16_t*>(memory) + index, &bits, sizeof bits);
  } else {
    std::memcpy(static_cast<float*>(memory) + index, &single, sizeof single);
  }
}

// What a library writes to its workspace, whatever it needs it for.
inline void use_workspace(void* memory, std::size_t bytes, cudaStream_t stream) {
  if (cudaMemsetAsync(memory, 0xA5, bytes, stream) != cudaSuccess) throw std::runtime_error("the workspace is too small");
}

inline bool aligned(const void* pointer, std::size_t bytes) {
  return pointer != nullptr && reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

}  // namespace gannet::tests
