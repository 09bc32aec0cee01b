#include "kernels/cpu/backend.h"

#include <omp.h>

#include <cmath>
#include <cstring>
#include <new>

#include "kernels/check.h"
#include "kernels/cpu/factories.h"
#include "kernels/cpu/onednn.h"
#include "kernels/one_after_the_other.h"
#include "kernels/operands.h"

namespace gannet::kernels::cpu {
namespace {

constexpr std::align_val_t alignment{64};

struct Maker {
  std::unique_ptr<Kernel> operator()(const Convolution& spec) const { return make_convolution(spec); }
  std::unique_ptr<Kernel> operator()(const ConvolutionBackward& spec) const {
    return one_after_the_other(spec, make_convolution(spec.data), make_convolution(spec.weights));
  }
  std::unique_ptr<Kernel> operator()(const Matmul& spec) const { return make_matmul(spec); }
  std::unique_ptr<Kernel> operator()(const Pointwise& spec) const { return make_pointwise(spec); }
  std::unique_ptr<Kernel> operator()(const Reduction& spec) const { return make_reduction(spec); }
  std::unique_ptr<Kernel> operator()(const BatchNorm& spec) const { return make_batch_norm(spec); }
  std::unique_ptr<Kernel> operator()(const SigmoidBce& spec) const { return make_sigmoid_bce(spec); }
  std::unique_ptr<Kernel> operator()(const OptimizerUpdate& spec) const { return make_optimizer_update(spec); }
  std::unique_ptr<Kernel> operator()(const EmaUpdate& spec) const { return make_ema_update(spec); }
  std::unique_ptr<Kernel> operator()(const Bf16Copies& spec) const { return make_bf16_copies(spec); }
  std::unique_ptr<Kernel> operator()(const Random& spec) const { return make_random(spec); }
  std::unique_ptr<Kernel> operator()(const Copy& spec) const { return make_copy(spec); }
  std::unique_ptr<Kernel> operator()(const Concatenate& spec) const { return make_concatenate(spec); }
  std::unique_ptr<Kernel> operator()(const AllReduce&) const { return nullptr; }  // refused before
};

int lanes(VectorSet vectors) {
  switch (vectors) {
    case VectorSet::avx512:
      return 16;
    case VectorSet::avx2:
      return 8;
    case VectorSet::baseline:
      return 1;
  }
  return 1;
}

}  // namespace

CpuBackend::CpuBackend(int threads) : vectors_(vector_set()) {
  GANNET_CHECK(threads >= 0, "the number of threads is {}; it must be at least 1, or 0 for all", threads);
  if (threads > 0) omp_set_num_threads(threads);
  threads_ = omp_get_max_threads();
  match_vector_set();
}

std::string CpuBackend::name() const {
  return fmt::format("cpu ({}, {} thread{})", name_of(vectors_), threads_, threads_ == 1 ? "" : "s");
}

std::unique_ptr<Kernel> CpuBackend::create(const KernelSpec& spec) {
  check_preconditions(spec);
  return std::visit(Maker{}, spec);
}

// Measured over the layers of a DCGAN at 64x64 (ms, one thread, batch 64, the sum of the triple over 64->128->256->512):
//   AVX-512  f32: blocked16 276, plain 296, blocked8 435
//   AVX2     f32: blocked8 and plain within 1 %, but the filters of blocked8 need no reordering
//   AMX     bf16: plain 3 to 8 times as fast as blocked16, which the library does not compute on tiles
Layout CpuBackend::picture_layout(const Shape& nhwc, DType type) const {
  if (nhwc.rank() != 4 || type != DType::f32) return Layout::plain;
  if (vectors_ == VectorSet::baseline || nhwc[3] % lanes(vectors_) != 0) return Layout::plain;
  if (nhwc[1] == 1 && nhwc[2] == 1) return Layout::plain;
  return vectors_ == VectorSet::avx512 ? Layout::blocked16 : Layout::blocked8;
}

// The layout in which wgrad leaves a filter, and fprop takes it where pictures are blocked.
Layout CpuBackend::filter_layout(const Shape& krsc, DType) const {
  if (krsc.rank() != 4 || vectors_ == VectorSet::baseline) return Layout::plain;
  if (krsc[0] % lanes(vectors_) != 0 || krsc[3] % lanes(vectors_) != 0) return Layout::plain;
  return vectors_ == VectorSet::avx512 ? Layout::filter16 : Layout::filter8;
}

bool CpuBackend::supports(DType compute) const { return compute == DType::f32 || (compute == DType::bf16 && native_bf16()); }

void* CpuBackend::allocate(std::size_t bytes) {
  void* memory = ::operator new(bytes == 0 ? 1 : bytes, alignment, std::nothrow);
  if (memory == nullptr)
    throw RuntimeError(fmt::format("not enough memory: {:.1f} MiB more are needed", std::ldexp(bytes, -20)));
  return memory;
}

void CpuBackend::release(void* memory) noexcept { ::operator delete(memory, alignment); }

void CpuBackend::upload(void* device, const void* host, std::size_t bytes) { std::memcpy(device, host, bytes); }

void CpuBackend::download(void* host, const void* device, std::size_t bytes) { std::memcpy(host, device, bytes); }

}  // namespace gannet::kernels::cpu

namespace gannet::kernels {

std::unique_ptr<Backend> make_cpu_backend(int threads) { return std::make_unique<cpu::CpuBackend>(threads); }

}  // namespace gannet::kernels
