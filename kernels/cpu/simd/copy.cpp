// Moves a plane of elements. No arithmetic but the conversions: the time is that of memory where runs are whole cache lines.
#include "kernels/cpu/copy.h"

#include "kernels/cpu/simd.h"

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {
namespace {

// What is not converted moves as integers, which keep the bits of every NaN.
inline void move(std::uint8_t* to, const std::uint8_t* from) { *to = *from; }
inline void move(std::uint16_t* to, const std::uint16_t* from) { *to = *from; }
inline void move(std::uint32_t* to, const std::uint32_t* from) { *to = *from; }
inline void move(Bf16* to, const float* from) { store_partial(to, load_partial(from, 1), 1); }
inline void move(float* to, const Bf16* from) { store_partial(to, load_partial(from, 1), 1); }

template <class T>
inline void move_run(T* to, const T* from, std::int64_t n) {
  const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(T);
  if (bytes == 64) {  // a block of 16 channels: the commonest short run
    std::memcpy(to, from, 64);
  } else if (bytes == 32) {
    std::memcpy(to, from, 32);
  } else {
    std::memcpy(to, from, bytes);
  }
}

template <class To, class From>
inline void convert_run(To* to, const From* from, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + Float::width <= n; i += Float::width) store(to + i, load(from + i));
  if (i < n) store_partial(to + i, load_partial(from + i, static_cast<int>(n - i)), static_cast<int>(n - i));
}
inline void move_run(Bf16* to, const float* from, std::int64_t n) { convert_run(to, from, n); }
inline void move_run(float* to, const Bf16* from, std::int64_t n) { convert_run(to, from, n); }

// A square of a cache line each way, through a buffer: where strides are powers of two, lines of the input would otherwise
// push each other out of the cache before they are used up.
constexpr std::int64_t square = 16;

template <class To, class From>
inline void transpose_square(const From* from, std::int64_t from_step, To* to, std::int64_t to_step) {
  From buffer[square][square];
  for (std::int64_t c = 0; c < square; ++c) std::memcpy(buffer[c], from + c * from_step, sizeof buffer[c]);
  for (std::int64_t r = 0; r < square; ++r) {
    From line[square];
    for (std::int64_t c = 0; c < square; ++c) line[c] = buffer[c][r];
    move_run(to + r * to_step, line, square);
  }
}

// The input lies along the rows, the output along the columns. Several squares along the rows share the input's pages.
template <class To, class From>
void transpose(const Plane& plane, const From* input, To* output) {
  for (std::int64_t band_start = 0; band_start < plane.rows; band_start += transpose_band) {
    const std::int64_t band_end = plane.rows - band_start < transpose_band ? plane.rows : band_start + transpose_band;
    for (std::int64_t column = 0; column < plane.columns; column += square) {
      const std::int64_t columns = plane.columns - column < square ? plane.columns - column : square;
      for (std::int64_t row = band_start; row < band_end; row += square) {
        const std::int64_t rows = band_end - row < square ? band_end - row : square;
        const From* from = input + row + column * plane.input_column;
        To* to = output + row * plane.output_row + column;
        if (rows == square && columns == square) {
          transpose_square(from, plane.input_column, to, plane.output_row);
        } else {
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t c = 0; c < columns; ++c) move(to + r * plane.output_row + c, from + r + c * plane.input_column);
          }
        }
      }
    }
  }
}

template <class To, class From>
void copy(const Plane& plane, const From* input, To* output) {
  if (plane.input_column == 1 && plane.output_column == 1) {
    for (std::int64_t r = 0; r < plane.rows; ++r) {
      move_run(output + r * plane.output_row, input + r * plane.input_row, plane.columns);
    }
  } else if (plane.input_row == 1 && plane.output_column == 1) {
    transpose(plane, input, output);
  } else {
    for (std::int64_t r = 0; r < plane.rows; ++r) {
      for (std::int64_t c = 0; c < plane.columns; ++c) {
        move(output + r * plane.output_row + c * plane.output_column, input + r * plane.input_row + c * plane.input_column);
      }
    }
  }
}

}  // namespace

void copy_plane(DType from, DType to, const Plane& plane, const void* input, void* output) {
  if (from == DType::f32 && to == DType::bf16) {
    copy(plane, static_cast<const float*>(input), static_cast<Bf16*>(output));
  } else if (from == DType::bf16 && to == DType::f32) {
    copy(plane, static_cast<const Bf16*>(input), static_cast<float*>(output));
  } else if (from == DType::u8) {
    copy(plane, static_cast<const std::uint8_t*>(input), static_cast<std::uint8_t*>(output));
  } else if (from == DType::bf16) {
    copy(plane, static_cast<const std::uint16_t*>(input), static_cast<std::uint16_t*>(output));
  } else {
    copy(plane, static_cast<const std::uint32_t*>(input), static_cast<std::uint32_t*>(output));
  }
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET
