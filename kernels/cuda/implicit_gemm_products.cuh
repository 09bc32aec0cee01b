// What the warps of a block do with two tiles in shared memory: each has a part of the block's tile in registers.
#pragma once

#include "kernels/cuda/epilogue.cuh"
#include "kernels/cuda/implicit_gemm_pairs.cuh"

namespace gannet::kernels::cuda {

// The thread's number, read anew: what was worked out of it before the main loop isn't kept in a register for what follows.
__device__ __forceinline__ int this_thread() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}

// On tensor cores. T: __nv_bfloat16 or float (as tf32).
template <typename T, bool InnerMajorA, bool InnerMajorB, int BM, int BN, int WM, int WN>
struct TensorProduct {
  static constexpr int a_parts = WM / 16, b_parts = WN / 16, steps = 2;
  static constexpr bool narrow = sizeof(T) == 2;
  static constexpr int depth = narrow ? 16 : 8;  // inner indices a step

  float sums[a_parts][2 * b_parts][4] = {};
  // A thread's lane, and where its warp's part of the tile begins.
  struct Place {
    int lane, warp_m, warp_n;
    __device__ static Place of(int thread) {
      const int warp = thread / 32;
      return {thread % 32, warp % (BM / WM) * WM, warp / (BM / WM) * WN};
    }
  };
  // Addresses of what this lane loads: one for each step where lines are inner-major, else one for each part.
  std::uint32_t a_address[InnerMajorA ? steps : a_parts * (narrow ? 1 : 2)];
  std::uint32_t b_address[InnerMajorB ? steps : b_parts * (narrow ? 1 : 2)];

  // a_tile, b_tile: of the first stage.
  __device__ TensorProduct(int thread, std::uint32_t a_tile, std::uint32_t b_tile) {
    const auto [lane, warp_m, warp_n] = Place::of(thread);
    if constexpr (InnerMajorA) {
#pragma unroll
      for (int step = 0; step < steps; ++step)
        a_address[step] = a_tile + InnerMajorTile<T, BM>::offset(warp_m + lane % 16, (step * 2 + lane / 16) * 16);
    } else {
      outer_addresses<BM>(a_address, a_tile, lane, warp_m, lane / 16 * 8 + lane % 8, lane / 8 % 2);
    }
    if constexpr (InnerMajorB) {
#pragma unroll
      for (int step = 0; step < steps; ++step)
        b_address[step] =
            b_tile + InnerMajorTile<T, BN>::offset(warp_n + lane / 16 * 8 + lane % 8, (step * 2 + lane / 8 % 2) * 16);
    } else {
      outer_addresses<BN>(b_address, b_tile, lane, warp_n, lane % 16, lane / 16);
    }
  }

  // bf16: `line` and `chunk` are of this lane's row in a load of four matrices. tf32: the lane reads column lane / 4 of line
  // lane % 4, of both halves of the part.
  template <int Columns, int Count>
  __device__ static void outer_addresses(std::uint32_t (&addresses)[Count], std::uint32_t tile, int lane, int first, int line,
                                         int chunk) {
#pragma unroll
    for (int part = 0; part < Count; ++part) {
      if constexpr (narrow) {
        addresses[part] = tile + OuterMajorTile<T, Columns>::offset(line, (first / 8 + part * 2 + chunk) * 16);
      } else {
        addresses[part] = tile + OuterMajorTile<T, Columns>::offset(lane % 4, (first + part * 8 + lane / 4) * 4);
      }
    }
  }

  template <int Step, int Stage>
  __device__ void load_a(std::uint32_t (&values)[a_parts][4], std::uint32_t shift) const {
    unrolled<a_parts>([&](auto part) {
      if constexpr (InnerMajorA) {
        load_matrices<Stage + part * 16 * inner_bytes>(values[part], a_address[Step] + shift);
      } else {
        constexpr int line_size = OuterMajorTile<T, BM>::line_size, lines = Stage + Step * depth * line_size;
        if constexpr (narrow) {
          load_transposed_matrices<lines>(values[part], a_address[part] + shift);
        } else {
          unrolled<4>([&](auto i) {
            values[part][i] = load_shared_word<lines + i / 2 * 4 * line_size>(a_address[part * 2 + i % 2] + shift);
          });
        }
      }
    });
  }

  // Of each part: inner indices 0..7 and 8..15 (0..3 and 4..7) of 8 columns, then of the next 8.
  template <int Step, int Stage>
  __device__ void load_b(std::uint32_t (&values)[b_parts][4], std::uint32_t shift) const {
    unrolled<b_parts>([&](auto part) {
      if constexpr (InnerMajorB) {
        load_matrices<Stage + part * 16 * inner_bytes>(values[part], b_address[Step] + shift);
      } else {
        constexpr int line_size = OuterMajorTile<T, BN>::line_size, lines = Stage + Step * depth * line_size;
        if constexpr (narrow) {
          load_transposed_matrices<lines>(values[part], b_address[part] + shift);
        } else {
          unrolled<4>([&](auto i) {
            values[part][i] = load_shared_word<lines + i % 2 * 4 * line_size>(b_address[part * 2 + i / 2] + shift);
          });
        }
      }
    });
  }

  template <int Count>
  __device__ static void round(std::uint32_t (&values)[Count][4]) {
    if constexpr (!narrow) {
#pragma unroll
      for (int part = 0; part < Count; ++part)
#pragma unroll
        for (int i = 0; i < 4; ++i) values[part][i] = rounded_to_tf32(values[part][i]);
    }
  }

  // Of the tiles Stage + shift bytes after the first ones.
  template <int Stage>
  __device__ void multiply(std::uint32_t shift) {
    unrolled<steps>([&](auto step) {
      std::uint32_t a[a_parts][4], b[b_parts][4];
      load_a<step, Stage>(a, shift);
      load_b<step, Stage>(b, shift);
      round(a);
      round(b);
#pragma unroll
      for (int i = 0; i < a_parts; ++i)
#pragma unroll
        for (int j = 0; j < b_parts; ++j) {
          if constexpr (narrow) {
            multiply_bf16(sums[i][2 * j], a[i], b[j][0], b[j][1]);
            multiply_bf16(sums[i][2 * j + 1], a[i], b[j][2], b[j][3]);
          } else {
            multiply_tf32(sums[i][2 * j], a[i], b[j][0], b[j][1]);
            multiply_tf32(sums[i][2 * j + 1], a[i], b[j][2], b[j][3]);
          }
        }
    });
  }

  // Adds bias(column) to each column, then applies the activation.
  template <typename Bias>
  __device__ __forceinline__ void finish(bool has_bias, Bias bias, Activation::Kind kind, float slope) {
    if (has_bias) {
      const auto [lane, warp_m, warp_n] = Place::of(this_thread());
#pragma unroll
      for (int j = 0; j < 2 * b_parts; ++j) {
        const float even = bias(warp_n + j * 8 + lane % 4 * 2), odd = bias(warp_n + j * 8 + lane % 4 * 2 + 1);
#pragma unroll
        for (int i = 0; i < a_parts; ++i)
          sums[i][j][0] += even, sums[i][j][1] += odd, sums[i][j][2] += even, sums[i][j][3] += odd;
      }
    }
    if (kind == Activation::Kind::none) return;
#pragma unroll
    for (int i = 0; i < a_parts; ++i)
#pragma unroll
      for (int j = 0; j < 2 * b_parts; ++j) activate(kind, slope, sums[i][j]);
  }

  // function(index, number, number, number, number) for all that this thread has, in fours.
  template <typename Function>
  __device__ __forceinline__ void for_fours(Function function) {
#pragma unroll
    for (int i = 0; i < a_parts; ++i)
#pragma unroll
      for (int j = 0; j < 2 * b_parts; ++j)
        function(i * 2 * b_parts + j, sums[i][j][0], sums[i][j][1], sums[i][j][2], sums[i][j][3]);
  }

  // function(row, column, value, value of the next column) for the pairs of columns that this thread has.
  template <typename Function>
  __device__ __forceinline__ void for_pairs(Function function) const {
    const auto [lane, warp_m, warp_n] = Place::of(this_thread());
#pragma unroll
    for (int i = 0; i < a_parts; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int j = 0; j < 2 * b_parts; ++j)
          function(warp_m + i * 16 + half * 8 + lane / 4, warp_n + j * 8 + lane % 4 * 2, sums[i][j][half * 2],
                   sums[i][j][half * 2 + 1]);
  }
};

// fp32 on CUDA cores: 8x4 lanes, each with WM/8 rows and WN/4 columns.
template <bool InnerMajorA, bool InnerMajorB, int BM, int BN, int WM, int WN>
struct FloatProduct {
  static constexpr int rows = WM / 8, columns = WN / 4, quads = inner_bytes / 16;
  static_assert(rows % 4 == 0 && columns % 4 == 0);

  float sums[rows][columns] = {};
  std::uint32_t a_first, b_first;
  int warp_m, warp_n, lane_m, lane_n;

  __device__ FloatProduct(int thread, std::uint32_t a_tile, std::uint32_t b_tile)
      : a_first(a_tile), b_first(b_tile), lane_m(thread % 8), lane_n(thread % 32 / 8) {
    const int warp = thread / 32;
    warp_m = warp % (BM / WM) * WM;
    warp_n = warp / (BM / WM) * WN;
  }

  __device__ int row_of(int i) const { return warp_m + (InnerMajorA ? lane_m + 8 * i : lane_m * 4 + i / 4 * 32 + i % 4); }
  __device__ int column_of(int j) const { return warp_n + (InnerMajorB ? lane_n + 4 * j : lane_n * 4 + j / 4 * 16 + j % 4); }

  // Four neighbouring inner indices of each row.
  template <bool InnerMajor, int Extent, int Count, typename Index>
  __device__ static void load(float (&values)[4][Count], std::uint32_t shared, int quad, Index index) {
    if constexpr (InnerMajor) {
#pragma unroll
      for (int i = 0; i < Count; ++i) {
        const float4 v = load_shared_vector(shared + InnerMajorTile<float, Extent>::offset(index(i), quad * 16));
        values[0][i] = v.x, values[1][i] = v.y, values[2][i] = v.z, values[3][i] = v.w;
      }
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int i = 0; i < Count; i += 4) {
          const float4 v = load_shared_vector(shared + OuterMajorTile<float, Extent>::offset(quad * 4 + k, index(i) * 4));
          values[k][i] = v.x, values[k][i + 1] = v.y, values[k][i + 2] = v.z, values[k][i + 3] = v.w;
        }
    }
  }

  template <int Stage>
  __device__ void multiply(std::uint32_t shift) {
    const std::uint32_t a_tile = a_first + Stage + shift, b_tile = b_first + Stage + shift;
#pragma unroll
    for (int quad = 0; quad < quads; ++quad) {
      float a[4][rows], b[4][columns];
      load<InnerMajorA, BM>(a, a_tile, quad, [&](int i) { return row_of(i); });
      load<InnerMajorB, BN>(b, b_tile, quad, [&](int j) { return column_of(j); });
#pragma unroll
      for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int i = 0; i < rows; ++i)
#pragma unroll
          for (int j = 0; j < columns; ++j) sums[i][j] = fmaf(a[k][i], b[k][j], sums[i][j]);
    }
  }

  template <typename Bias>
  __device__ __forceinline__ void finish(bool has_bias, Bias bias, Activation::Kind kind, float slope) {
    if (has_bias) {
#pragma unroll
      for (int j = 0; j < columns; ++j) {
        const float value = bias(column_of(j));
#pragma unroll
        for (int i = 0; i < rows; ++i) sums[i][j] += value;
      }
    }
#pragma unroll
    for (int i = 0; i < rows; ++i) activate(kind, slope, sums[i]);
  }

  // function(index, number, number, number, number) for all that this thread has, in fours.
  template <typename Function>
  __device__ __forceinline__ void for_fours(Function function) {
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; j += 4)
        function((i * columns + j) / 4, sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]);
  }

  // function(row, column, value)
  template <typename Function>
  __device__ __forceinline__ void for_each(Function function) const {
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j) function(row_of(i), column_of(j), sums[i][j]);
  }
};

}  // namespace gannet::kernels::cuda
