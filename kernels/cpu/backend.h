// The CPU backend: oneDNN for convolutions and products, SIMD single passes over memory for all else.
#pragma once

#include "kernels/backend.h"
#include "kernels/cpu/vector_set.h"

namespace gannet::kernels::cpu {

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads);

  std::string name() const override;
  std::unique_ptr<Kernel> create(const KernelSpec& spec) override;
  Layout picture_layout(const Shape& nhwc, DType type) const override;
  Layout filter_layout(const Shape& krsc, DType type) const override;
  bool supports(DType compute) const override;
  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  void upload(void* device, const void* host, std::size_t bytes) override;
  void download(void* host, const void* device, std::size_t bytes) override;
  void synchronize() override {}

 private:
  VectorSet vectors_;
  int threads_;
};

}  // namespace gannet::kernels::cpu
