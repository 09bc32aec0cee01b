// dgrad to few channels: for a tile of output pixels, the product of their K channels with all R * S * C taps in registers
// (few channels alone would leave most lanes of a vector empty), then added row by row into the padded picture, which stays in
// the second-level cache. Bias and activation are applied as the picture leaves it. Limited by arithmetic: 2 K flops for each
// of the R * S * C products of a pixel, whose K channels are read once.
#include "kernels/cpu/narrow_dgrad.h"

#include "kernels/cpu/simd_math.h"

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {
namespace {

// Accumulators, so that they and a row of the filter fit the registers.
constexpr int accumulators = Float::width == 16 ? 24 : 12;
constexpr int most_vectors = 4;

template <int pixels, int vectors>
inline void multiply_tile(const NarrowDgrad& problem, const float* y, const float* w, float* tile) {
  Float sums[pixels][vectors];
#pragma GCC unroll 24
  for (int i = 0; i < pixels; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sums[i][v] = Float(0.0f);
  }
  const std::int64_t plane = problem.P * problem.Q * problem.block;
  for (std::int64_t first = 0; first < problem.K; first += problem.block, y += plane) {
    for (std::int64_t k = 0; k < problem.block; ++k, w += problem.columns) {
      Float row[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) row[v] = load(w + v * Float::width);
#pragma GCC unroll 24
      for (int i = 0; i < pixels; ++i) {
        const Float value(y[i * problem.block + k]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) sums[i][v] = fma(value, row[v], sums[i][v]);
      }
    }
  }
#pragma GCC unroll 24
  for (int i = 0; i < pixels; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) store(tile + i * problem.columns + v * Float::width, sums[i][v]);
  }
}

// One pixel's products, as rows of the picture: each to the line of its row and class. Lanes past the S * C of a row are zero.
inline void place(const NarrowDgrad& problem, const float* products, float* line) {
  const std::int64_t length = problem.S * problem.C, next_row = problem.classes * problem.line;
  for (std::int64_t r = 0; r < problem.R; ++r, products += length, line += next_row) {
    for (std::int64_t i = 0; i < length; i += Float::width) {
      Float value = load(products + i);
      if (i + Float::width > length) value = select(first(static_cast<int>(length - i)), value, Float(0.0f));
      store(line + i, value);
    }
  }
}

// Neighbouring pixels reach the same places. Adding them one by one would wait each time for the store just made, so that
// pixels whose vectors overlap have lines of their own, which are added up when the row of pixels is done.
template <int vectors>
void accumulate(const NarrowDgrad& problem, const float* y, const float* w, float* padded, float* lines, float* tile) {
  constexpr int tile_pixels = accumulators / vectors;
  static_assert(tile_pixels <= widest_narrow_tile);
  const std::int64_t group = vectors * Float::width, row = problem.padded_row, step = problem.stride * problem.C;
  for (std::int64_t p = 0; p < problem.P; ++p) {
    const float* const y_row = y + p * problem.Q * problem.block;
    for (std::int64_t q = 0; q < problem.Q;) {
      const bool whole = problem.Q >= tile_pixels;
      if (whole && q + tile_pixels > problem.Q) q = problem.Q - tile_pixels;  // some pixels again: nothing is added yet
      const int pixels = whole ? tile_pixels : 1;
      for (std::int64_t column = 0; column < problem.columns; column += group) {
        const float* from = y_row + q * problem.block;
        if (whole) {
          multiply_tile<tile_pixels, vectors>(problem, from, w + column, tile + column);
        } else {
          multiply_tile<1, vectors>(problem, from, w + column, tile + column);
        }
      }
      std::int64_t member = q % problem.classes;
      for (int i = 0; i < pixels; ++i, ++q) {
        place(problem, tile + i * problem.columns, lines + member * problem.line + q * step);
        if (++member == problem.classes) member = 0;
      }
    }
    float* sum = padded + p * problem.stride * row;
    const float* from = lines;
    for (std::int64_t r = 0; r < problem.R; ++r, sum += row, from += problem.classes * problem.line) {
      for (std::int64_t i = 0; i < row; i += Float::width) {
        Float total = load(sum + i);
        for (std::int64_t j = 0; j < problem.classes; ++j) total = total + load(from + j * problem.line + i);
        // The vector may reach into the next row, where the lines hold no more than what whole vectors put there: zeros.
        store(sum + i, total);
      }
    }
  }
}

template <Activation::Kind kind>
void finish(const NarrowDgrad& problem, const float* padded, const float* bias, float* x) {
  const std::int64_t length = problem.W * problem.C, row = problem.padded_row;
  const Float slope(problem.activation.slope);
  padded += problem.pad * (row + problem.C);
  for (std::int64_t h = 0; h < problem.H; ++h, padded += row, x += length) {
    std::int64_t i = 0;
    for (; i + Float::width <= length; i += Float::width)
      store(x + i, activate<kind>(load(padded + i) + load(bias + i), slope));
    if (i < length)
      store_partial(x + i, activate<kind>(load(padded + i) + load(bias + i), slope), static_cast<int>(length - i));
  }
}

}  // namespace

void complete(NarrowDgrad& problem) {
  const auto vectors_for = [](std::int64_t floats) { return (floats + Float::width - 1) / Float::width; };
  const std::int64_t vectors = vectors_for(problem.R * problem.S * problem.C);
  const std::int64_t groups = (vectors + most_vectors - 1) / most_vectors;
  problem.columns = groups * ((vectors + groups - 1) / groups) * Float::width;
  const std::int64_t reach = vectors_for(problem.S * problem.C) * Float::width, step = problem.stride * problem.C;
  problem.classes = (reach + step - 1) / step;
  const auto larger = [](std::int64_t a, std::int64_t b) { return a > b ? a : b; };
  const std::int64_t padded_height = larger(problem.H + problem.pad, (problem.P - 1) * problem.stride + problem.R);
  problem.padded_row = larger(problem.W + problem.pad, (problem.Q - 1) * problem.stride + problem.S) * problem.C;
  problem.line = problem.padded_row + narrow_slack;
  problem.padded_floats = padded_height * problem.padded_row + narrow_slack;
  problem.line_floats = problem.R * problem.classes * problem.line;
  problem.tile_floats = widest_narrow_tile * problem.columns + narrow_slack;
}

void narrow_dgrad(const NarrowDgrad& problem, const float* y, const float* w, const float* bias, float* scratch, float* x) {
  float* const padded = scratch;
  float* const lines = padded + problem.padded_floats;
  float* const tile = lines + problem.line_floats;
  for (float* p = scratch; p != tile; ++p) *p = 0;
  const std::int64_t vectors = problem.columns / Float::width;
  switch (vectors / ((vectors + most_vectors - 1) / most_vectors)) {
    case 1:
      accumulate<1>(problem, y, w, padded, lines, tile);
      break;
    case 2:
      accumulate<2>(problem, y, w, padded, lines, tile);
      break;
    case 3:
      accumulate<3>(problem, y, w, padded, lines, tile);
      break;
    case 4:
      accumulate<4>(problem, y, w, padded, lines, tile);
      break;
  }
  switch (problem.activation.kind) {
    case Activation::Kind::none:
      return finish<Activation::Kind::none>(problem, padded, bias, x);
    case Activation::Kind::leaky_relu:
      return finish<Activation::Kind::leaky_relu>(problem, padded, bias, x);
    case Activation::Kind::tanh:
      return finish<Activation::Kind::tanh>(problem, padded, bias, x);
    case Activation::Kind::sigmoid:
      return finish<Activation::Kind::sigmoid>(problem, padded, bias, x);
  }
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET
