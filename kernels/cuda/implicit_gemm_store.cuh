// How a block's result leaves the registers: bias and activation there, an activation's slope on the way, then
//   fp32 from tensor cores  straight to memory: the 4 lanes of a row write whole sectors
//   bf16                    through shared memory, 16 bytes a thread, whole lines by neighbouring threads
//   fp32 from CUDA cores    likewise
#pragma once

#include "kernels/cuda/implicit_gemm_splits.cuh"

namespace gannet::kernels::cuda {

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

// The result in shared memory: after it where each row begins in c, or -1 where there is no such row.
template <typename Config>
struct Staging {
  static constexpr int element = Config::math == ProductMath::f32 ? 4 : 2;
  static constexpr int table = Config::m * Config::n * element, bytes = table + Config::m * 4;

  // Byte of a pair of bf16: 8 rows by 4 lanes in 32 banks, and 16-byte chunks of a row in a row.
  __device__ static int pair(int row, int column) {
    return row * (Config::n * 2) + ((column >> 3 ^ (row & 7)) << 4) + (column & 7) * 2;
  }
  __device__ static int chunk(int row, int index) { return row * (Config::n * 2) + ((index ^ (row & 7)) << 4); }
  // Index of a float.
  __device__ static int number(int row, int column) { return row * Config::n + (column ^ (row & 3) << 3); }
};

// Columns n … of a line that has `end`; those lie at c + element.
template <int Piece, typename Output>
__device__ __forceinline__ void store_piece(const SlopeOf& slope_of, Output* c, std::int64_t element,
                                            const float (&values)[Piece], int n, int end) {
  if (end % Piece == 0) {
    float whole[Piece];
#pragma unroll
    for (int i = 0; i < Piece; ++i) whole[i] = values[i];
    multiply_by_slope<Output>(slope_of, element, whole);
    store(c + element, whole);
  } else {
#pragma unroll
    for (int i = 0; i < Piece; ++i) {
      if (n + i >= end) break;
      float one[1] = {values[i]};
      multiply_by_slope<Output>(slope_of, element + i, one);
      store(c + (element + i), one);
    }
  }
}

// Whole rows of the staged result, by threads next to each other. result(row, piece, values) gives a thread's part of a row.
template <typename Config, int Piece, typename Store>
__device__ __forceinline__ void store_rows(const int* lines, int columns, Store store) {
  constexpr int threads_per_row = Config::n / Piece, rows_per_pass = Config::threads / threads_per_row;
  const int thread = this_thread(), piece = thread % threads_per_row;
  if (piece * Piece >= columns) return;
#pragma unroll 8
  for (int row = thread / threads_per_row; row < Config::m; row += rows_per_pass) {
    const int line = lines[row];
    if (line >= 0) store(row, piece, line);
  }
}

template <typename Config, typename Product>
__device__ __forceinline__ void store_result(const ImplicitGemm& product, const PixelClass& pixels, Product& warp, char* shared,
                                             int first_row, int first_column, int rows) {
  using Place = Staging<Config>;
  const auto bias = [&](int column) {
    auto index = static_cast<std::uint32_t>(min(first_column + column, product.n - 1));
    product.columns_per_bias.divide(index);
    return __ldg(product.bias + index);
  };
  warp.finish(product.bias != nullptr, bias, product.activation, product.slope);
  auto* numbers = static_cast<float*>(product.c);

  if constexpr (Config::math != ProductMath::f32) {
    if (!product.output_bf16) {
      const bool even = product.n % 2 == 0;
      warp.for_pairs([&](int row, int column, float first, float second) {
        const int n = first_column + column;
        if (first_row + row >= rows || n >= product.n) return;
        const int element = output_line<Config::form>(product, pixels, first_row + row) + n;
        if (even) {
          float values[2] = {first, second};
          multiply_by_slope<float>(product.slope_of, element, values);
          store(numbers + element, values);
        } else {
          store_piece(product.slope_of, numbers, element, {first, second}, n, product.n);
        }
      });
      return;
    }
  }

  int* lines = reinterpret_cast<int*>(shared + Place::table);
  for (int row = this_thread(); row < Config::m; row += Config::threads)
    lines[row] = first_row + row < rows ? output_line<Config::form>(product, pixels, first_row + row) + first_column : -1;
  const int columns = product.n - first_column;
  auto* c = static_cast<__nv_bfloat16*>(product.c);
  if constexpr (Config::math != ProductMath::f32) {
    warp.for_pairs([&](int row, int column, float first, float second) {
      *reinterpret_cast<__nv_bfloat162*>(shared + Place::pair(row, column)) = __floats2bfloat162_rn(first, second);
    });
    __syncthreads();
    using Piece = Packet<__nv_bfloat16, 8>;
    const bool aligned = product.n % 8 == 0;
    store_rows<Config, 8>(lines, columns, [&](int row, int piece, int line) {
      Piece chunk = *reinterpret_cast<const Piece*>(shared + Place::chunk(row, piece));
      const int element = line + piece * 8;
      if (aligned) {
        multiply_by_slope(product.slope_of, element, chunk);
        *reinterpret_cast<Piece*>(c + element) = chunk;
      } else {
        float values[8];
        widen(chunk, values);
        store_piece(product.slope_of, c, element, values, piece * 8, columns);
      }
    });
  } else {
    auto* result = reinterpret_cast<float*>(shared);
    warp.for_each([&](int row, int column, float value) { result[Place::number(row, column)] = value; });
    __syncthreads();
    store_rows<Config, 4>(lines, columns, [&](int row, int piece, int line) {
      const float4 v = *reinterpret_cast<const float4*>(result + Place::number(row, piece * 4));
      const float values[4] = {v.x, v.y, v.z, v.w};
      if (product.output_bf16) {
        store_piece(product.slope_of, c, line + piece * 4, values, first_column + piece * 4, product.n);
      } else {
        store_piece(product.slope_of, numbers, line + piece * 4, values, first_column + piece * 4, product.n);
      }
    });
  }
}

}  // namespace gannet::kernels::cuda
