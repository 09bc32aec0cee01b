// What the warps of a block do with two tiles in shared memory: 4 warps, each a part of the block's tile in registers.
#pragma once

#include "kernels/cuda/implicit_gemm_operands.cuh"

namespace gannet::kernels::cuda {

// Where element (row, column) of a block's result is kept before it is stored: no bank conflicts for pairs of a fragment.
template <int Columns>
__device__ __forceinline__ int staged(int row, int column) {
  return row * Columns + (column ^ (row & 3) << 3);
}

// On tensor cores. T: __nv_bfloat16 or float (as tf32).
template <typename T, bool InnerMajorA, bool InnerMajorB, int BM, int BN, int WM, int WN>
struct TensorProduct {
  static constexpr int a_parts = WM / 16, b_parts = WN / 16, steps = 2;
  static constexpr bool narrow = sizeof(T) == 2;
  static constexpr int depth = narrow ? 16 : 8;  // inner indices a step

  float sums[a_parts][2 * b_parts][4] = {};
  int lane, warp_m, warp_n;
  // Byte offsets of what this lane loads: one for each step where lines are inner-major, else one for each part.
  int a_offset[InnerMajorA ? steps : a_parts * (narrow ? 1 : 2)];
  int b_offset[InnerMajorB ? steps : b_parts * (narrow ? 1 : 2)];

  __device__ explicit TensorProduct(int thread) : lane(thread % 32) {
    const int warp = thread / 32;
    warp_m = warp % (BM / WM) * WM;
    warp_n = warp / (BM / WM) * WN;
    if constexpr (InnerMajorA) {
#pragma unroll
      for (int step = 0; step < steps; ++step)
        a_offset[step] = InnerMajorTile<T, BM, 16>::offset(warp_m + lane % 16, (step * 2 + lane / 16) * 16);
    } else {
      outer_offsets<BM>(a_offset, warp_m, lane / 16 * 8 + lane % 8, lane / 8 % 2);
    }
    if constexpr (InnerMajorB) {
#pragma unroll
      for (int step = 0; step < steps; ++step)
        b_offset[step] = InnerMajorTile<T, BN, 16>::offset(warp_n + lane / 16 * 8 + lane % 8, (step * 2 + lane / 8 % 2) * 16);
    } else {
      outer_offsets<BN>(b_offset, warp_n, lane % 16, lane / 16);
    }
  }

  // bf16: `line` and `chunk` are of this lane's row in a load of four matrices. tf32: the lane reads column lane / 4 of line
  // lane % 4, of both halves of the part.
  template <int Columns, int Count>
  __device__ void outer_offsets(int (&offsets)[Count], int first, int line, int chunk) {
#pragma unroll
    for (int part = 0; part < Count; ++part) {
      if constexpr (narrow) {
        offsets[part] = OuterMajorTile<T, Columns, 16>::offset(line, (first / 8 + part * 2 + chunk) * 16);
      } else {
        offsets[part] = OuterMajorTile<T, Columns, 16>::offset(lane % 4, (first + part * 8 + lane / 4) * 4);
      }
    }
  }

  template <int Step>
  __device__ void load_a(std::uint32_t (&values)[a_parts][4], std::uint32_t shared) const {
    unrolled<a_parts>([&](auto part) {
      if constexpr (InnerMajorA) {
        load_matrices<part * 16 * inner_bytes>(values[part], shared + a_offset[Step]);
      } else {
        constexpr int line_bytes = OuterMajorTile<T, BM, 16>::line_bytes, lines = Step * depth * line_bytes;
        if constexpr (narrow) {
          load_transposed_matrices<lines>(values[part], shared + a_offset[part]);
        } else {
          unrolled<4>([&](auto i) {
            values[part][i] = load_shared_word<lines + i / 2 * 4 * line_bytes>(shared + a_offset[part * 2 + i % 2]);
          });
        }
      }
    });
  }

  // Of each part: inner indices 0..7 and 8..15 (0..3 and 4..7) of 8 columns, then of the next 8.
  template <int Step>
  __device__ void load_b(std::uint32_t (&values)[b_parts][4], std::uint32_t shared) const {
    unrolled<b_parts>([&](auto part) {
      if constexpr (InnerMajorB) {
        load_matrices<part * 16 * inner_bytes>(values[part], shared + b_offset[Step]);
      } else {
        constexpr int line_bytes = OuterMajorTile<T, BN, 16>::line_bytes, lines = Step * depth * line_bytes;
        if constexpr (narrow) {
          load_transposed_matrices<lines>(values[part], shared + b_offset[part]);
        } else {
          unrolled<4>([&](auto i) {
            values[part][i] = load_shared_word<lines + i % 2 * 4 * line_bytes>(shared + b_offset[part * 2 + i / 2]);
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

  __device__ void multiply(std::uint32_t a_tile, std::uint32_t b_tile) {
    unrolled<steps>([&](auto step) {
      std::uint32_t a[a_parts][4], b[b_parts][4];
      load_a<step>(a, a_tile);
      load_b<step>(b, b_tile);
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

  __device__ void stage(float* result) const {
#pragma unroll
    for (int i = 0; i < a_parts; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int j = 0; j < 2 * b_parts; ++j) {
          const int row = warp_m + i * 16 + half * 8 + lane / 4, column = warp_n + j * 8 + lane % 4 * 2;
          *reinterpret_cast<float2*>(result + staged<BN>(row, column)) =
              make_float2(sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
        }
  }
};

// fp32 on CUDA cores: 8x4 lanes, each with WM/8 rows and WN/4 columns.
template <bool InnerMajorA, bool InnerMajorB, int BM, int BN, int WM, int WN>
struct FloatProduct {
  static constexpr int rows = WM / 8, columns = WN / 4, quads = inner_bytes / 16;
  static_assert(rows % 4 == 0 && columns % 4 == 0);

  float sums[rows][columns] = {};
  int warp_m, warp_n, lane_m, lane_n;

  __device__ explicit FloatProduct(int thread) : lane_m(thread % 8), lane_n(thread % 32 / 8) {
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
        const float4 v = load_shared_vector(shared + InnerMajorTile<float, Extent, 16>::offset(index(i), quad * 16));
        values[0][i] = v.x, values[1][i] = v.y, values[2][i] = v.z, values[3][i] = v.w;
      }
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int i = 0; i < Count; i += 4) {
          const float4 v = load_shared_vector(shared + OuterMajorTile<float, Extent, 16>::offset(quad * 4 + k, index(i) * 4));
          values[k][i] = v.x, values[k][i + 1] = v.y, values[k][i + 2] = v.z, values[k][i + 3] = v.w;
        }
    }
  }

  __device__ void multiply(std::uint32_t a_tile, std::uint32_t b_tile) {
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

  __device__ void stage(float* result) const {
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j) result[staged<BN>(row_of(i), column_of(j))] = sums[i][j];
  }
};

}  // namespace gannet::kernels::cuda
