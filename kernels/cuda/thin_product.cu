// Products with a thin side (implicit_gemm.h): the last layer of a discriminator, whose output is one number a sample.
//   fprop with n <= 4:     each row of A against each row of B, a warp or four a row
//   dgrad with inner <= 4: each element of C from 4 products or fewer, a piece of a line a thread
//   wgrad with m <= 4:     sums down the columns of B, a piece of the columns a thread, lines shared among 8 warps
// Each reads the long operand once, in pieces of up to 16 bytes by neighbouring threads; limited by memory.
#include "kernels/cuda/epilogue.cuh"
#include "kernels/cuda/implicit_gemm.h"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 256, warps = threads / 32;
constexpr int thin = 4;

template <typename Output, int N>
__device__ void finish(const ImplicitGemm& g, int row, int column, float (&values)[N]) {
  if (g.bias != nullptr) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      auto index = static_cast<std::uint32_t>(column + i);
      g.columns_per_bias.divide(index);
      values[i] += __ldg(g.bias + index);
    }
  }
  activate(g.activation, g.slope, values);
  const std::int64_t element = static_cast<std::int64_t>(row) * g.n + column;
  multiply_by_slope<Output>(g.slope_of, element, values);
  store(static_cast<Output*>(g.c) + element, values);
}

// `Together` warps share a row.
template <typename T, typename Output, int Piece, int Together>
__global__ void __launch_bounds__(threads) multiply_rows(const __grid_constant__ ImplicitGemm g) {
  __shared__ float partial[warps][thin];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int row = static_cast<int>(blockIdx.x) * (warps / Together) + warp / Together;
  const int rows = g.pixel_class[0].rows;
  float sums[thin] = {};
  if (row < rows) {
    const T* a = static_cast<const T*>(g.a) + static_cast<std::int64_t>(row) * g.inner;
#pragma unroll 4
    for (int i = (warp % Together * 32 + lane) * Piece; i < g.inner; i += Together * 32 * Piece) {
      float x[Piece];
      load(a + i, x);
#pragma unroll
      for (int n = 0; n < thin; ++n) {
        if (n >= g.n) break;
        float w[Piece];
        load(static_cast<const T*>(g.b) + static_cast<std::int64_t>(n) * g.inner + i, w);
#pragma unroll
        for (int j = 0; j < Piece; ++j) sums[n] = fmaf(x[j], w[j], sums[n]);
      }
    }
  }
#pragma unroll
  for (int n = 0; n < thin; ++n) {
    for (int distance = 16; distance > 0; distance /= 2) sums[n] += __shfl_xor_sync(0xffffffffu, sums[n], distance);
    if (lane == 0) partial[warp][n] = sums[n];
  }
  __syncthreads();
  if (warp % Together != 0 || row >= rows || lane >= g.n) return;
  float value[1] = {};
#pragma unroll
  for (int i = 0; i < Together; ++i) value[0] += partial[warp + i][lane];
  finish<Output>(g, row, lane, value);
}

template <typename T, typename Output, int Piece>
__global__ void __launch_bounds__(threads) multiply_outer(const __grid_constant__ ImplicitGemm g, Divider pieces) {
  auto piece = blockIdx.x * threads + threadIdx.x;
  if (piece >= g.elements / Piece) return;
  const int row = static_cast<int>(pieces.divide(piece)), column = static_cast<int>(piece) * Piece;
  float sums[Piece] = {};
#pragma unroll
  for (int k = 0; k < thin; ++k) {
    if (k >= g.inner) break;
    const float a = widened(static_cast<const T*>(g.a)[static_cast<std::int64_t>(row) * g.inner + k]);
    float b[Piece];
    load(static_cast<const T*>(g.b) + static_cast<std::int64_t>(k) * g.n + column, b);
#pragma unroll
    for (int i = 0; i < Piece; ++i) sums[i] = fmaf(a, b[i], sums[i]);
  }
  finish<Output>(g, row, column, sums);
}

template <typename T, typename Output, int Piece>
__global__ void __launch_bounds__(threads) sum_columns(const __grid_constant__ ImplicitGemm g) {
  __shared__ float partial[warps][32 * Piece];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int column = (static_cast<int>(blockIdx.x) * 32 + lane) * Piece, row = static_cast<int>(blockIdx.y);
  float sums[Piece] = {};
  if (column < g.n) {
#pragma unroll 4
    for (int i = warp; i < g.inner; i += warps) {
      const float a = widened(static_cast<const T*>(g.a)[static_cast<std::int64_t>(i) * g.m + row]);
      float b[Piece];
      load(static_cast<const T*>(g.b) + static_cast<std::int64_t>(i) * g.n + column, b);
#pragma unroll
      for (int j = 0; j < Piece; ++j) sums[j] = fmaf(a, b[j], sums[j]);
    }
  }
#pragma unroll
  for (int j = 0; j < Piece; ++j) partial[warp][j * 32 + lane] = sums[j];
  __syncthreads();
  if (warp != 0 || column >= g.n) return;
#pragma unroll
  for (int j = 0; j < Piece; ++j) {
    for (int other = 1; other < warps; ++other) sums[j] += partial[other][j * 32 + lane];
  }
  finish<Output>(g, row, column, sums);
}

unsigned ceil_divide(std::int64_t a, std::int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

template <typename T, typename Output, int Piece>
void launch_form(ProductForm form, const ImplicitGemm& g, cudaStream_t stream) {
  if (form == ProductForm::fprop) {
    constexpr int together = 4;
    const int rows = g.pixel_class[0].rows;
    if (g.inner >= 1024) {
      multiply_rows<T, Output, Piece, together><<<ceil_divide(rows, warps / together), threads, 0, stream>>>(g);
    } else {
      multiply_rows<T, Output, Piece, 1><<<ceil_divide(rows, warps), threads, 0, stream>>>(g);
    }
  } else if (form == ProductForm::dgrad) {
    multiply_outer<T, Output, Piece>
        <<<ceil_divide(g.elements / Piece, threads), threads, 0, stream>>>(g, Divider(static_cast<std::uint32_t>(g.n / Piece)));
  } else {
    sum_columns<T, Output, Piece><<<dim3(ceil_divide(g.n, 32 * Piece), static_cast<unsigned>(g.m)), threads, 0, stream>>>(g);
  }
  GANNET_CUDA(cudaGetLastError());
}

template <typename T, typename Output>
void launch_piece(ProductForm form, const ImplicitGemm& g, cudaStream_t stream) {
  const int contiguous = form == ProductForm::fprop ? g.inner : g.n;
  contiguous % 4 == 0 ? launch_form<T, Output, 4>(form, g, stream) : launch_form<T, Output, 1>(form, g, stream);
}

class ThinProduct final : public Kernel {
 public:
  ThinProduct(ProductForm form, DType input, const ImplicitGemm& product, OperandOrder order, const Device& device)
      : form_(form), input_(input), product_(product), order_(order), stream_(device.stream) {}

  void run(const Arguments& arguments) override {
    ImplicitGemm g = product_;
    g.a = arguments.inputs[order_.a];
    g.b = arguments.inputs[order_.b];
    const void* const* last = arguments.inputs + 2;
    if (g.has_bias) g.bias = static_cast<const float*>(*last++);
    if (g.slope_of.kind != Activation::Kind::none) g.slope_of.activated = *last;
    g.c = arguments.outputs[0];
    if (input_ == DType::bf16) {
      g.output_bf16 ? launch_piece<__nv_bfloat16, __nv_bfloat16>(form_, g, stream_)
                    : launch_piece<__nv_bfloat16, float>(form_, g, stream_);
    } else {
      g.output_bf16 ? launch_piece<float, __nv_bfloat16>(form_, g, stream_) : launch_piece<float, float>(form_, g, stream_);
    }
  }

 private:
  ProductForm form_;
  DType input_;
  ImplicitGemm product_;
  OperandOrder order_;
  cudaStream_t stream_;
};

}  // namespace

bool can_implement_thin(ProductForm form, const ImplicitGemm& product) {
  // Of matrices alone: pictures of one pixel.
  if (product.height != 1 || product.width != 1 || product.filter_h != 1 || product.filter_w != 1) return false;
  if (product.classes != 1 || product.pixel_class[0].origin_h != 0 || product.pixel_class[0].origin_w != 0) return false;
  return (form == ProductForm::fprop && product.n <= thin) || (form == ProductForm::dgrad && product.inner <= thin) ||
         (form == ProductForm::wgrad && product.m <= thin);
}

std::unique_ptr<Kernel> make_thin_product(ProductForm form, DType input, const ImplicitGemm& product, OperandOrder order,
                                          const Device& device) {
  return std::make_unique<ThinProduct>(form, input, product, order, device);
}

}  // namespace gannet::kernels::cuda
