// Tensors between host and backend: row-major f32 on the host, any type and layout on the other side.
#pragma once

#include <span>
#include <vector>

#include "kernels/backend.h"

namespace gannet {

// Backend memory for as long as it lives; at least one byte.
class BackendMemory {
 public:
  BackendMemory(kernels::Backend& backend, std::size_t bytes) : backend_(backend), data_(backend.allocate(bytes ? bytes : 1)) {}
  ~BackendMemory() { backend_.release(data_); }
  BackendMemory(const BackendMemory&) = delete;
  BackendMemory& operator=(const BackendMemory&) = delete;
  void* data() const { return data_; }

 private:
  kernels::Backend& backend_;
  void* data_;
};

// Bytes that the backend keeps the tensor in.
std::size_t bytes_on(const TensorDesc& desc, const kernels::Backend& backend);

// Between host values and what the backend keeps, in memory of the host.
void encode(const kernels::Backend& backend, const TensorDesc& desc, std::span<const float> values, void* bytes);
void decode(const kernels::Backend& backend, const TensorDesc& desc, const void* bytes, std::span<float> values);

std::vector<float> download(kernels::Backend& backend, const TensorDesc& desc, const void* device);
void download(kernels::Backend& backend, const TensorDesc& desc, const void* device, std::span<float> values);
void upload(kernels::Backend& backend, const TensorDesc& desc, void* device, std::span<const float> values);

}  // namespace gannet
