// How a block brings the tiles of its operands to shared memory.
//
// An operand whose inner index is contiguous makes a tile of lines of 64 bytes ("inner-major"); the others make a tile with a
// line for each inner index ("outer-major"). 16-byte chunks are exchanged within and between lines by exclusive or, so that
// neither the copies nor the matrix loads have bank conflicts and nothing is padded.
//
// An operand's issue<Offset, Second>(shared) brings the next tile to shared + Offset. Second: every other one, for those that
// work in pairs (implicit_gemm_pairs.cuh).
#pragma once

#include "kernels/cuda/implicit_gemm.h"
#include "kernels/cuda/tensor_core.cuh"

namespace gannet::kernels::cuda {

inline constexpr int inner_bytes = 64;  // of a tile along the inner index
inline constexpr std::uint32_t no_tap = 1u << largest_filter_extent;

// Which of `taps` neighbours of a pixel lie inside [0, extent), as bits; neighbour t is at origin + t or origin - t.
__device__ __forceinline__ std::uint32_t taps_inside(int origin, int taps, int extent, bool backwards) {
  const int low = max(0, backwards ? origin - extent + 1 : -origin);
  const int high = min(taps, backwards ? origin + 1 : extent - origin);
  return low < high ? (1u << high) - (1u << low) : 0u;
}
__device__ __forceinline__ std::uint32_t tap_bit(int t, int u) { return 1u << t | 1u << (16 + u); }

// Where a row of the product reads the gathered picture, and which taps of it lie inside; none of rows that are not there.
template <bool Backwards>
struct GatheredPixel {
  int sample, h, w;  // the first tap's, which may lie outside the picture
  std::uint32_t inside;

  __device__ GatheredPixel(const ImplicitGemm& product, const PixelClass& pixels, int row) {
    auto index = static_cast<std::uint32_t>(row);
    sample = static_cast<int>(pixels.pixels.divide(index));
    const int line = static_cast<int>(pixels.line.divide(index)), step = Backwards ? 1 : product.stride;
    h = line * step + pixels.origin_h;
    w = static_cast<int>(index) * step + pixels.origin_w;
    inside = row < pixels.rows ? taps_inside(h, pixels.taps_h, product.height, Backwards) |
                                     taps_inside(w, pixels.taps_w, product.width, Backwards) << 16
                               : 0u;
  }
  // The number of tap (t,u) among the picture's pixels.
  __device__ int tap(const ImplicitGemm& product, int t, int u) const {
    constexpr int toward = Backwards ? -1 : 1;
    return (sample * product.height + h + toward * t) * product.width + w + toward * u;
  }
};

// The pieces of a tile that `Threads` threads bring, `lines_per_pass` lines at a time. Tile gives `line_count`, `line_size` in
// bytes, and `swizzle`, which repeats after `period` lines.
template <typename Tile, int Bytes, int Threads>
struct TilePieces {
  static constexpr int columns = Tile::line_size / Bytes, lines_per_pass = Threads / columns;
  static constexpr int passes = Tile::line_count / lines_per_pass;
  static_assert(Threads % columns == 0 && Tile::line_count % lines_per_pass == 0);
  // Where a pass has fewer lines than a period, its neighbours have offsets of their own.
  static constexpr int offsets = lines_per_pass < Tile::period ? Tile::period / lines_per_pass : 1;

  int line, column;  // of this thread's first piece; column in elements
  int first[offsets];

  __device__ explicit TilePieces(int thread) : line(thread / columns), column(thread % columns * Bytes / Tile::element) {
#pragma unroll
    for (int i = 0; i < offsets; ++i) first[i] = Tile::offset(line + i * lines_per_pass, thread % columns * Bytes);
  }
  // To shared + Offset; from + Displacement where size isn't 0.
  template <int Pass, int Offset = 0, int Displacement = 0>
  __device__ void copy(std::uint32_t shared, const char* from, int size) const {
    constexpr int down = Pass / offsets * offsets * lines_per_pass * Tile::line_size;
    copy_to_shared<Bytes, Offset + down, Displacement>(shared + first[Pass % offsets], from, size);
  }
};

template <typename T, int Lines>
struct InnerMajorTile {
  static constexpr int element = sizeof(T), line_count = Lines, line_size = inner_bytes, period = 8;

  // Lines 0, 2, 4, 6 share banks, and 1, 3, 5, 7.
  __device__ static int swizzle(int line) { return line >> 1 & 3; }
  __device__ static int offset(int line, int byte) {
    return line * inner_bytes + ((byte >> 4 ^ swizzle(line)) << 4) + (byte & 15);
  }
};

template <typename T, int Columns>
struct OuterMajorTile {
  static constexpr int element = sizeof(T), line_count = inner_bytes / sizeof(T), line_size = Columns * sizeof(T);
  static constexpr int period = sizeof(T) == 2 ? 8 : 4;

  // 16 bits: a matrix load reads 8 lines at one column. 32 bits: a warp reads 4 lines at two chunks.
  __device__ static int swizzle(int line) { return sizeof(T) == 2 ? line & 7 : (line & 3) << 1; }
  __device__ static int offset(int line, int byte) {
    return line * line_size + ((byte >> 4 ^ swizzle(line)) << 4) + (byte & 15);
  }
};

// A of fprop and dgrad: pixels of a picture with their neighbours, a line for each pixel.
template <typename T, int Lines, int Bytes, int Threads, bool Backwards>
struct GatheredLines {
  using Tile = TilePieces<InnerMajorTile<T, Lines>, Bytes, Threads>;
  static constexpr int inner = inner_bytes / sizeof(T);

  Tile tile;
  const char* pixel[Tile::passes];  // the first tap's, which may lie outside the picture
  std::uint32_t inside[Tile::passes];
  std::int64_t displacement = 0;  // bytes from there to the current tap and channel
  std::uint32_t bit = 0;          // of the current tap; no_tap where there is nothing left to read
  int channel, t, u, channels, taps_h, taps_w, width;

  __device__ GatheredLines(const ImplicitGemm& product, const PixelClass& pixels, int first_line, int iteration, int thread)
      : tile(thread), channels(product.channels), taps_h(pixels.taps_h), taps_w(pixels.taps_w), width(product.width) {
#pragma unroll
    for (int i = 0; i < Tile::passes; ++i) {
      const GatheredPixel<Backwards> at(product, pixels, first_line + tile.line + i * Tile::lines_per_pass);
      inside[i] = at.inside;
      pixel[i] = static_cast<const char*>(product.a) + at.tap(product, 0, 0) * channels * static_cast<std::int64_t>(sizeof(T));
    }
    int tap;
    if constexpr (Backwards) {
      const int per_tap = (channels + inner - 1) / inner;
      tap = iteration / per_tap;
      channel = tile.column + iteration % per_tap * inner;
    } else {
      tap = (tile.column + iteration * inner) / channels;
      channel = (tile.column + iteration * inner) % channels;
    }
    t = tap / taps_w;
    u = tap % taps_w;
    locate();
  }

  __device__ void locate() {
    const int steps = t * width + u;
    displacement =
        (static_cast<std::int64_t>(Backwards ? -steps : steps) * channels + channel) * static_cast<std::int64_t>(sizeof(T));
    bit = t < taps_h && channel < channels ? tap_bit(t, u) : no_tap;
  }

  __device__ void next_tap() {
    if (++u == taps_w) u = 0, ++t;
  }

  // fprop's inner index runs on from tap to tap; dgrad begins each tap with a new tile.
  __device__ void advance() {
    channel += inner;
    if (Backwards ? channel - tile.column < channels : channel < channels) {
      displacement += inner_bytes;
      if (Backwards && channel >= channels) bit = no_tap;
      return;
    }
    if constexpr (Backwards) {
      channel = tile.column;
      next_tap();
    } else {
      do {
        channel -= channels;
        next_tap();
      } while (channel >= channels);
    }
    locate();
  }

  template <int Offset, bool Second>
  __device__ void issue(std::uint32_t shared) {
    unrolled<Tile::passes>(
        [&](auto i) { tile.template copy<i, Offset>(shared, pixel[i] + displacement, (inside[i] & bit) == bit ? Bytes : 0); });
    advance();
  }
};

// B of fprop: the filters; of `transposed`: a matrix (n, inner).
template <typename T, int Lines, int Bytes, int Threads>
struct MatrixLines {
  using Tile = TilePieces<InnerMajorTile<T, Lines>, Bytes, Threads>;
  static constexpr int inner = inner_bytes / sizeof(T);

  Tile tile;
  const char* from;                 // of the first line
  std::int64_t line[Tile::passes];  // bytes from there; past the last line that one again: what it gives is not stored
  int column, columns;              // columns: the inner extent

  __device__ MatrixLines(const ImplicitGemm& product, const PixelClass&, int first_line, int iteration, int thread)
      : tile(thread), column(tile.column + iteration * inner), columns(product.inner) {
    from = static_cast<const char*>(product.b) + column * static_cast<std::int64_t>(sizeof(T));
#pragma unroll
    for (int i = 0; i < Tile::passes; ++i) {
      line[i] = static_cast<std::int64_t>(min(first_line + tile.line + i * Tile::lines_per_pass, product.n - 1)) *
                product.b_pitch * static_cast<std::int64_t>(sizeof(T));
    }
  }

  template <int Offset, bool Second>
  __device__ void issue(std::uint32_t shared) {
    const bool valid = column < columns;
    unrolled<Tile::passes>([&](auto i) { tile.template copy<i, Offset>(shared, from + line[i], valid ? Bytes : 0); });
    from += inner_bytes;
    column += inner;
  }
};

// A of wgrad: the picture y; of `transposed`: a matrix (inner, m).
template <typename T, int Columns, int Bytes, int Threads>
struct MatrixColumns {
  using Tile = TilePieces<OuterMajorTile<T, Columns>, Bytes, Threads>;
  static constexpr int lines = OuterMajorTile<T, Columns>::line_count;

  Tile tile;
  const char* from;
  std::int64_t step;
  int lines_left;

  __device__ MatrixColumns(const ImplicitGemm& product, const PixelClass&, int first_column, int iteration, int thread)
      : tile(thread),
        step(static_cast<std::int64_t>(Tile::lines_per_pass) * product.a_pitch * static_cast<std::int64_t>(sizeof(T))) {
    const int line = iteration * lines + tile.line, column = first_column + tile.column;
    lines_left = column < product.m ? product.inner - line : 0;
    from = static_cast<const char*>(product.a) +
           (static_cast<std::int64_t>(line) * product.a_pitch + column) * static_cast<std::int64_t>(sizeof(T));
  }

  template <int Offset, bool Second>
  __device__ void issue(std::uint32_t shared) {
    if (lines_left > lines - Tile::lines_per_pass) {
      unrolled<Tile::passes>([&](auto i) { tile.template copy<i, Offset>(shared, from + i * step, Bytes); });
    } else {
      unrolled<Tile::passes>([&](auto i) {
        tile.template copy<i, Offset>(shared, from + i * step, i * Tile::lines_per_pass < lines_left ? Bytes : 0);
      });
    }
    from += Tile::passes * step;
    lines_left -= lines;
  }
};

// B of dgrad: of each tap the matrix (k, c), which lies spread over the filters.
template <typename T, int Columns, int Bytes, int Threads>
struct FilterColumns {
  using Tile = TilePieces<OuterMajorTile<T, Columns>, Bytes, Threads>;
  static constexpr int lines = OuterMajorTile<T, Columns>::line_count;

  Tile tile;
  const char *base, *from;
  std::int64_t step;
  int k, filters, t, u, taps_w, first_r, first_s, filter_w, stride, channels, pitch;
  bool inside;

  __device__ FilterColumns(const ImplicitGemm& product, const PixelClass& pixels, int first_column, int iteration, int thread)
      : tile(thread),
        step(static_cast<std::int64_t>(Tile::lines_per_pass) * product.b_pitch * static_cast<std::int64_t>(sizeof(T))),
        filters(product.inner),
        taps_w(pixels.taps_w),
        first_r(pixels.first_r),
        first_s(pixels.first_s),
        filter_w(product.filter_w),
        stride(product.stride),
        channels(product.n),
        pitch(product.b_pitch) {
    const int per_tap = (filters + lines - 1) / lines, tap = iteration / per_tap;
    k = iteration % per_tap * lines + tile.line;
    t = tap / taps_w;
    u = tap % taps_w;
    inside = first_column + tile.column < channels;
    base = static_cast<const char*>(product.b) + (first_column + tile.column) * static_cast<std::int64_t>(sizeof(T));
    locate();
  }

  __device__ void locate() {
    const int r = first_r + t * stride, s = first_s + u * stride;
    from = base + (static_cast<std::int64_t>(k) * pitch + (r * filter_w + s) * channels) * static_cast<std::int64_t>(sizeof(T));
  }

  template <int Offset, bool Second>
  __device__ void issue(std::uint32_t shared) {
    const int lines_left = inside ? filters - k : 0;
    if (lines_left > lines - Tile::lines_per_pass) {
      unrolled<Tile::passes>([&](auto i) { tile.template copy<i, Offset>(shared, from + i * step, Bytes); });
    } else {
      unrolled<Tile::passes>([&](auto i) {
        tile.template copy<i, Offset>(shared, from + i * step, i * Tile::lines_per_pass < lines_left ? Bytes : 0);
      });
    }
    k += lines;
    if (k - tile.line < filters) {
      from += Tile::passes * step;
      return;
    }
    k = tile.line;
    if (++u == taps_w) u = 0, ++t;
    locate();
  }
};

// B of wgrad: a line for each output pixel, a column for each (r,s,c) of the neighbourhood in x. Where the pixels lie and which
// of their neighbours exist is worked out once for 128 lines, one a thread, and kept in shared memory.
template <typename T, int Columns, int Bytes, int Threads>
struct GatheredColumns {
  using Tile = TilePieces<OuterMajorTile<T, Columns>, Bytes, Threads>;
  static constexpr int lines = OuterMajorTile<T, Columns>::line_count;
  static constexpr int iterations_per_group = Threads / lines;
  struct Entry {
    int offset;  // of the first tap, in pieces that 32 bits can count: elements
    std::uint32_t inside;
  };
  static constexpr int table_bytes = 2 * Threads * sizeof(Entry);

  const ImplicitGemm& product;
  const PixelClass& pixels;
  Tile tile;
  Entry* table;
  const char* base;
  std::uint32_t bit = no_tap;
  // Shared address of this thread's first entry; bytes from there to that for the first pass of the next tile.
  std::uint32_t entries, position = 0;
  int next_line, until_fill = iterations_per_group + 1;  // next_line: of the next group of the table

  __device__ GatheredColumns(const ImplicitGemm& given, const PixelClass& rows, int first_column, int iteration, int thread,
                             char* shared)
      : product(given), pixels(rows), tile(thread), table(reinterpret_cast<Entry*>(shared)) {
    const int column = first_column + tile.column, tap = column / product.channels, channel = column % product.channels;
    const int r = tap / product.filter_w, s = tap % product.filter_w;
    if (column < product.n) bit = tap_bit(r, s);
    base = static_cast<const char*>(product.b) +
           ((static_cast<std::int64_t>(r) * product.width + s) * product.channels + channel) *
               static_cast<std::int64_t>(sizeof(T));
    next_line = iteration * lines + thread;
    entries = shared_address(table + tile.line);
    fill(0);
    fill(1);
  }

  __device__ void fill(int half) {
    const GatheredPixel<false> at(product, pixels, next_line);
    const Entry entry{at.tap(product, 0, 0) * product.channels, at.inside};
    table[half * Threads + threadIdx.x] = entry;
    next_line += Threads;
  }

  // Between the last read of a group and its replacement, and between that and its first read, lies a barrier of the main loop.
  template <int Offset, bool Second>
  __device__ void issue(std::uint32_t shared) {
    constexpr std::uint32_t tile_bytes = lines * sizeof(Entry), half_bytes = Threads * sizeof(Entry);
    if (--until_fill == 0) {
      until_fill = iterations_per_group;
      fill((position & half_bytes) == 0);
    }
    unrolled<Tile::passes>([&](auto i) {
      int offset;
      std::uint32_t inside;
      load_shared_pair<i * Tile::lines_per_pass* static_cast<int>(sizeof(Entry))>(offset, inside, entries + position);
      tile.template copy<i, Offset>(shared, advanced<sizeof(T)>(base, offset), (inside & bit) == bit ? Bytes : 0);
    });
    position = (position + tile_bytes) & (2 * half_bytes - 1);
  }
};

}  // namespace gannet::kernels::cuda
