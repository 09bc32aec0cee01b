// The main loop: tiles of both operands are on their way to shared memory by cp.async while the warps multiply earlier ones.
// One barrier an iteration. With 64x64 a warp, 64 mma.sync stand against 16 matrix loads and 8 copies; what limits it is the
// tensor core (bf16, tf32) or the FMA pipe (f32), except where the picture is small.
#pragma once

#include "kernels/cuda/epilogue.cuh"
#include "kernels/cuda/implicit_gemm_products.cuh"

namespace gannet::kernels::cuda {

template <ProductForm Form, typename T, int Columns, int Bytes>
struct OperandB;
template <typename T, int N, int Bytes>
struct OperandB<ProductForm::fprop, T, N, Bytes> : MatrixLines<T, N, Bytes> {
  using MatrixLines<T, N, Bytes>::MatrixLines;
};
template <typename T, int N, int Bytes>
struct OperandB<ProductForm::transposed, T, N, Bytes> : MatrixLines<T, N, Bytes> {
  using MatrixLines<T, N, Bytes>::MatrixLines;
};
template <typename T, int N, int Bytes>
struct OperandB<ProductForm::dgrad, T, N, Bytes> : FilterColumns<T, N, Bytes> {
  using FilterColumns<T, N, Bytes>::FilterColumns;
};
template <typename T, int N, int Bytes>
struct OperandB<ProductForm::wgrad, T, N, Bytes> : GatheredColumns<T, N, Bytes> {
  using GatheredColumns<T, N, Bytes>::GatheredColumns;
};

template <ProductForm Form, ProductMath Math, int BytesA, int BytesB, int M, int N, int WarpM, int WarpN, int Stages,
          int Blocks>
struct ProductConfig {
  using Element = std::conditional_t<Math == ProductMath::bf16, __nv_bfloat16, float>;
  static constexpr ProductForm form = Form;
  static constexpr int m = M, n = N, stages = Stages, blocks = Blocks, inner = inner_bytes / sizeof(Element);
  static constexpr bool inner_major_a = Form == ProductForm::fprop || Form == ProductForm::dgrad;
  static constexpr bool inner_major_b = Form == ProductForm::fprop || Form == ProductForm::transposed;
  static_assert(M / WarpM * (N / WarpN) * 32 == product_threads);

  using A = std::conditional_t<inner_major_a, GatheredLines<Element, M, BytesA, Form == ProductForm::dgrad>,
                               MatrixColumns<Element, M, BytesA>>;
  using B = OperandB<Form, Element, N, BytesB>;
  using Product = std::conditional_t<Math == ProductMath::f32, FloatProduct<inner_major_a, inner_major_b, M, N, WarpM, WarpN>,
                                     TensorProduct<Element, inner_major_a, inner_major_b, M, N, WarpM, WarpN>>;

  static constexpr int a_bytes = M * inner_bytes, stage_bytes = (M + N) * inner_bytes;
  static constexpr int table_bytes = Form == ProductForm::wgrad ? 2 * product_threads * 8 : 0;
  static constexpr int staging_bytes = M * N * 4;
  static constexpr int shared_bytes =
      (Stages * stage_bytes > staging_bytes ? Stages * stage_bytes : staging_bytes) + table_bytes;
};

// Where row `row` of the product begins in c, which has fewer than 2^31 elements.
template <ProductForm Form>
__device__ __forceinline__ int output_line(const ImplicitGemm& product, const PixelClass& pixels, int row) {
  if constexpr (Form == ProductForm::dgrad) {
    auto index = static_cast<std::uint32_t>(row);
    const int sample = static_cast<int>(pixels.pixels.divide(index)), line = static_cast<int>(pixels.line.divide(index));
    const int h = line * product.stride + pixels.output_h, w = static_cast<int>(index) * product.stride + pixels.output_w;
    return ((sample * product.output_height + h) * product.output_width + w) * product.n;
  }
  return row * product.n;
}

// Stores the staged tile: 16 bytes a thread, whole lines by neighbouring threads.
template <typename Config, typename Output>
__device__ __forceinline__ void store_tile(const ImplicitGemm& product, const PixelClass& pixels, const float* result,
                                           Output* output, bool finish, int first_row, int first_column, int rows) {
  constexpr int piece = 16 / sizeof(Output), threads_per_row = Config::n / piece;
  constexpr int rows_per_pass = product_threads / threads_per_row;
  const int column = static_cast<int>(threadIdx.x) % threads_per_row * piece, n = first_column + column;
  if (n >= product.n) return;
  const bool whole = product.n % piece == 0;
  float bias[piece] = {};
  if (finish && product.bias != nullptr) {
#pragma unroll
    for (int i = 0; i < piece; ++i) {
      auto index = static_cast<std::uint32_t>(n + i);
      product.columns_per_bias.divide(index);
      bias[i] = __ldg(product.bias + index);
    }
  }
  for (int row = static_cast<int>(threadIdx.x) / threads_per_row; row < Config::m && first_row + row < rows;
       row += rows_per_pass) {
    float values[piece];
#pragma unroll
    for (int i = 0; i < piece / 4; ++i) {
      // Lanes 4..7 of a phase read the other half: no two in one bank.
      const int half = piece == 8 ? i ^ (static_cast<int>(threadIdx.x) >> 2 & 1) : 0;
      const float4 v = *reinterpret_cast<const float4*>(result + staged<Config::n>(row, column + half * 4));
      const float part[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if constexpr (piece == 8) {
          // A choice rather than an index: an array that is indexed at run time would live in memory.
          if (i == 0) {
            values[j] = part[j], values[4 + j] = part[j];
          } else if (half == 0) {
            values[j] = part[j];
          } else {
            values[4 + j] = part[j];
          }
        } else {
          values[j] = part[j];
        }
      }
    }
    if (finish) {
#pragma unroll
      for (int i = 0; i < piece; ++i) values[i] += bias[i];
      activate(product.activation, product.slope, values);
    }
    Output* to = output + (output_line<Config::form>(product, pixels, first_row + row) + n);
    if (whole) {
      store(to, values);
    } else {
#pragma unroll
      for (int i = 0; i < piece; ++i) {
        if (n + i < product.n) to[i] = narrowed<Output>(values[i]);
      }
    }
  }
}

template <typename Config>
__global__ void __launch_bounds__(product_threads, Config::blocks)
    multiply_tiles(const __grid_constant__ ImplicitGemm product) {
  extern __shared__ __align__(128) char shared[];
  constexpr ProductForm form = Config::form;
  const int split = static_cast<int>(blockIdx.z) % product.splits;
  const PixelClass& pixels = product.pixel_class[blockIdx.z / product.splits];
  const int first_row = static_cast<int>(blockIdx.x) * Config::m, first_column = static_cast<int>(blockIdx.y) * Config::n;
  const int rows = form == ProductForm::fprop || form == ProductForm::dgrad ? pixels.rows : product.m;
  if (first_row >= rows) return;  // a class with fewer pixels than the largest

  int iterations = (product.inner + Config::inner - 1) / Config::inner;
  if constexpr (form == ProductForm::dgrad) iterations *= pixels.taps_h * pixels.taps_w;
  const int share = (iterations + product.splits - 1) / product.splits, begin = split * share;
  iterations = max(0, min(share, iterations - begin));

  const int thread = static_cast<int>(threadIdx.x);
  typename Config::A a(product, pixels, first_row, begin, thread);
  auto b = [&] {
    if constexpr (form == ProductForm::wgrad) {
      return
          typename Config::B(product, pixels, first_column, begin, thread, shared + Config::shared_bytes - Config::table_bytes);
    } else {
      return typename Config::B(product, pixels, first_column, begin, thread);
    }
  }();
  if constexpr (form == ProductForm::wgrad) __syncthreads();

  const std::uint32_t base = shared_address(shared);
  std::uint32_t write = base, read = base;
  constexpr int end = Config::stages * Config::stage_bytes;
#pragma unroll
  for (int stage = 0; stage < Config::stages - 1; ++stage) {
    if (stage < iterations) {
      a.issue(write);
      b.issue(write + Config::a_bytes);
    }
    commit_copies();
    write += Config::stage_bytes;
  }

  typename Config::Product warp(thread);
#pragma unroll 1
  for (int iteration = 0; iteration < iterations; ++iteration) {
    wait_for_copies<Config::stages - 2>();
    __syncthreads();  // this iteration's tiles are there, and nobody reads those of the last any more
    if (iteration + Config::stages - 1 < iterations) {
      a.issue(write);
      b.issue(write + Config::a_bytes);
    }
    commit_copies();
    write += Config::stage_bytes;
    if (write == base + end) write = base;
    warp.multiply(read, read + Config::a_bytes);
    read += Config::stage_bytes;
    if (read == base + end) read = base;
  }
  wait_for_copies<0>();
  __syncthreads();

  auto* result = reinterpret_cast<float*>(shared);
  warp.stage(result);
  __syncthreads();
  if (product.splits > 1) {
    store_tile<Config>(product, pixels, result, product.partial + split * product.elements, false, first_row, first_column,
                       rows);
  } else if (product.output_bf16) {
    store_tile<Config>(product, pixels, result, static_cast<__nv_bfloat16*>(product.c), true, first_row, first_column, rows);
  } else {
    store_tile<Config>(product, pixels, result, static_cast<float*>(product.c), true, first_row, first_column, rows);
  }
}

template <typename Config>
ProductKernel prepare() {
  const auto* function = reinterpret_cast<const void*>(&multiply_tiles<Config>);
  GANNET_CUDA(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, Config::shared_bytes));
  return {function, Config::shared_bytes};
}

// find<Form>() for the form that is known only now.
template <typename Find>
ProductKernel with_form(ProductForm form, const Find& find) {
  switch (form) {
    case ProductForm::fprop:
      return find.template operator()<ProductForm::fprop>();
    case ProductForm::dgrad:
      return find.template operator()<ProductForm::dgrad>();
    case ProductForm::wgrad:
      return find.template operator()<ProductForm::wgrad>();
    case ProductForm::transposed:
      return find.template operator()<ProductForm::transposed>();
  }
  return {};
}

}  // namespace gannet::kernels::cuda
