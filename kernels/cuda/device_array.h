// Device memory that a kernel keeps between its runs: tables made when it is prepared, and counters that end as they began.
#pragma once

#include <vector>

#include "kernels/cuda/device.h"

namespace gannet::kernels::cuda {

template <typename T>
class DeviceArray {
 public:
  DeviceArray(const std::vector<T>& values, const Device& device) {
    const std::size_t bytes = values.size() * sizeof(T);
    GANNET_CUDA(cudaMalloc(&data_, bytes == 0 ? 1 : bytes));
    try {
      GANNET_CUDA(cudaMemcpyAsync(data_, values.data(), bytes, cudaMemcpyHostToDevice, device.stream));
      GANNET_CUDA(cudaStreamSynchronize(device.stream));
    } catch (...) {
      cudaFree(data_);
      throw;
    }
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return static_cast<T*>(data_); }

 private:
  void* data_ = nullptr;
};

}  // namespace gannet::kernels::cuda
