// Operands for products whose inner index comes in whole pairs of tiles (channels of a gathered picture; pixels of wgrad): no
// piece is a part, a tap begins with a pair, and the second tile of a pair lies 64 bytes from the first. What depends on the
// tap is worked out when it changes; in between a piece costs one addition for two copies.
#pragma once

#include "kernels/cuda/implicit_gemm_operands.cuh"

namespace gannet::kernels::cuda {

// A of fprop and dgrad.
template <typename T, int Lines, int Threads, bool Backwards>
struct GatheredLinePairs {
  using Tile = TilePieces<InnerMajorTile<T, Lines>, 16, Threads>;
  static constexpr int inner = inner_bytes / sizeof(T);

  Tile tile;
  const char* from[Tile::passes];  // of the current tap and channel; may lie outside the picture
  int size[Tile::passes];          // 0 where it does
  std::uint32_t inside[Tile::passes];
  const ImplicitGemm& product;
  int t, u, taps_w, left;       // left: pairs of this tap
  std::int64_t next_u, next_t;  // bytes from a tap's last pair to the next tap's first

  __device__ GatheredLinePairs(const ImplicitGemm& given, const PixelClass& pixels, int first_line, int iteration, int thread)
      : tile(thread), product(given), taps_w(pixels.taps_w) {
    const int pair = iteration / 2, tap = pair / per_tap();
    t = tap / taps_w, u = tap % taps_w;
    left = per_tap() - pair % per_tap();
    constexpr std::int64_t bytes = sizeof(T);
    const std::int64_t pixel = product.channels * bytes, back = 2 * inner_bytes - pixel;
    const int toward = Backwards ? -1 : 1;
    next_u = back + toward * pixel;
    next_t = back + toward * (product.width - taps_w + 1) * pixel;
    const int channel = tile.column + pair % per_tap() * (2 * inner);
#pragma unroll
    for (int i = 0; i < Tile::passes; ++i) {
      const GatheredPixel<Backwards> at(product, pixels, first_line + tile.line + i * Tile::lines_per_pass);
      inside[i] = at.inside;
      from[i] = static_cast<const char*>(product.a) + at.tap(product, t, u) * pixel + channel * bytes;
    }
    find_sizes();
  }

  __device__ int per_tap() const { return product.channels / (2 * inner); }
  __device__ bool begins_tap() const { return left == per_tap(); }

  __device__ void find_sizes() {
    const std::uint32_t bit = tap_bit(t, u);
#pragma unroll
    for (int i = 0; i < Tile::passes; ++i) size[i] = (inside[i] & bit) == bit ? 16 : 0;
  }

  template <int Offset, bool Second>
  __device__ void issue(std::uint32_t shared) {
    unrolled<Tile::passes>([&](auto i) { tile.template copy<i, Offset, Second ? inner_bytes : 0>(shared, from[i], size[i]); });
    if constexpr (Second) {
      std::int64_t step = 2 * inner_bytes;
      if (--left == 0) {
        left = per_tap();
        step = next_u;
        if (++u == taps_w) u = 0, ++t, step = next_t;
        find_sizes();
      }
#pragma unroll
      for (int i = 0; i < Tile::passes; ++i) from[i] += step;
    }
  }
};

// B of fprop.
template <typename T, int Lines, int Threads>
struct MatrixLinePairs {
  using Tile = TilePieces<InnerMajorTile<T, Lines>, 16, Threads>;

  Tile tile;
  const char* from[Tile::passes];  // past the last line that one again: what it gives is not stored

  __device__ MatrixLinePairs(const ImplicitGemm& product, const PixelClass&, int first_line, int iteration, int thread)
      : tile(thread) {
#pragma unroll
    for (int i = 0; i < Tile::passes; ++i) {
      const int line = min(first_line + tile.line + i * Tile::lines_per_pass, product.n - 1);
      from[i] = static_cast<const char*>(product.b) +
                (static_cast<std::int64_t>(line) * product.b_pitch + tile.column) * static_cast<std::int64_t>(sizeof(T)) +
                static_cast<std::int64_t>(iteration) * inner_bytes;
    }
  }

  template <int Offset, bool Second>
  __device__ void issue(std::uint32_t shared) {
    unrolled<Tile::passes>([&](auto i) { tile.template copy<i, Offset, Second ? inner_bytes : 0>(shared, from[i], 16); });
    if constexpr (Second) {
#pragma unroll
      for (int i = 0; i < Tile::passes; ++i) from[i] += 2 * inner_bytes;
    }
  }
};

// A of wgrad.
template <typename T, int Columns, int Threads>
struct MatrixColumnPairs {
  using Tile = TilePieces<OuterMajorTile<T, Columns>, 16, Threads>;

  Tile tile;
  const char* from;
  std::int64_t step;
  int size;

  __device__ MatrixColumnPairs(const ImplicitGemm& product, const PixelClass&, int first_column, int iteration, int thread)
      : tile(thread),
        step(static_cast<std::int64_t>(Tile::lines_per_pass) * product.a_pitch * static_cast<std::int64_t>(sizeof(T))) {
    const int line = iteration * OuterMajorTile<T, Columns>::line_count + tile.line, column = first_column + tile.column;
    size = column < product.m ? 16 : 0;
    from = static_cast<const char*>(product.a) +
           (static_cast<std::int64_t>(line) * product.a_pitch + column) * static_cast<std::int64_t>(sizeof(T));
  }

  template <int Offset, bool Second>
  __device__ void issue(std::uint32_t shared) {
    unrolled<Tile::passes>([&](auto i) {
      tile.template copy<i, Offset>(shared, from, size);
      from += step;
    });
  }
};

// B of dgrad. Its taps are those of A, which has brought its tile before.
template <typename T, int Columns, int Threads>
struct FilterColumnPairs {
  using Tile = TilePieces<OuterMajorTile<T, Columns>, 16, Threads>;
  static constexpr int lines = OuterMajorTile<T, Columns>::line_count;

  Tile tile;
  const char* from;
  std::int64_t step, next_u, next_t;
  int size;

  __device__ FilterColumnPairs(const ImplicitGemm& product, const PixelClass& pixels, int first_column, int iteration,
                               int thread)
      : tile(thread),
        step(static_cast<std::int64_t>(Tile::lines_per_pass) * product.b_pitch * static_cast<std::int64_t>(sizeof(T))) {
    constexpr std::int64_t bytes = sizeof(T);
    const int per_tap = product.inner / (2 * lines), pair = iteration / 2, tap = pair / per_tap, taps_w = pixels.taps_w;
    const int k = pair % per_tap * (2 * lines) + tile.line, t = tap / taps_w, u = tap % taps_w;
    const int column = first_column + tile.column;
    size = column < product.n ? 16 : 0;
    const int r = pixels.first_r + t * product.stride, s = pixels.first_s + u * product.stride;
    from = static_cast<const char*>(product.b) +
           (static_cast<std::int64_t>(k) * product.b_pitch + (r * product.filter_w + s) * product.n + column) * bytes;
    const std::int64_t back = static_cast<std::int64_t>(product.inner) * product.b_pitch;
    next_u = (product.stride * product.n - back) * bytes;
    next_t = (product.stride * (product.filter_w - taps_w + 1) * product.n - back) * bytes;
  }

  template <int Offset, bool Second, typename A>
  __device__ void issue(std::uint32_t shared, const A& a) {
    unrolled<Tile::passes>([&](auto i) {
      tile.template copy<i, Offset>(shared, from, size);
      from += step;
    });
    if constexpr (Second) {
      if (a.begins_tap()) from += a.u == 0 ? next_t : next_u;
    }
  }
};

}  // namespace gannet::kernels::cuda
