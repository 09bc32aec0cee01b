// The second pass of a product that was split along its inner index: sums what the splits left, always in the same order, and
// applies the epilogue. Reads each partial product once; limited by memory.
#include "kernels/cuda/epilogue.cuh"
#include "kernels/cuda/implicit_gemm.h"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 256;

template <typename Output, int Piece>
__global__ void __launch_bounds__(threads) sum_of_splits(const __grid_constant__ ImplicitGemm product) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * Piece;
  if (first >= product.elements) return;
  float sums[Piece] = {};
#pragma unroll 4
  for (int split = 0; split < product.splits; ++split) {
    float values[Piece];
    load(product.partial + split * product.elements + first, values);
#pragma unroll
    for (int i = 0; i < Piece; ++i) sums[i] += values[i];
  }
#pragma unroll
  for (int i = 0; i < Piece; ++i) {
    if (product.bias != nullptr) {
      auto column = static_cast<std::uint32_t>(first + i);
      product.columns_per_bias.divide(column);
      sums[i] += __ldg(product.bias + column);
    }
  }
  activate(product.activation, product.slope, sums);
  store(static_cast<Output*>(product.c) + first, sums);
}

template <typename Output, int Piece>
void launch(const ImplicitGemm& product, cudaStream_t stream) {
  const std::int64_t pieces = product.elements / Piece;
  sum_of_splits<Output, Piece><<<static_cast<unsigned>((pieces + threads - 1) / threads), threads, 0, stream>>>(product);
  GANNET_CUDA(cudaGetLastError());
}

}  // namespace

void launch_sum_of_splits(const ImplicitGemm& product, cudaStream_t stream) {
  const bool whole = product.elements % 4 == 0;
  if (product.output_bf16) {
    whole ? launch<__nv_bfloat16, 4>(product, stream) : launch<__nv_bfloat16, 1>(product, stream);
  } else {
    whole ? launch<float, 4>(product, stream) : launch<float, 1>(product, stream);
  }
}

}  // namespace gannet::kernels::cuda
