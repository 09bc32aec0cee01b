// A pointwise chain prepared to run tile by tile: a tile is a run of consecutive elements in memory order whose registers all
// stay in the first-level cache. Plain data, for the SIMD sources; kernels/cpu/chain_plan.h makes it.
#pragma once

#include <cstdint>

#include "kernels/cpu/vector_set.h"
#include "kernels/pointwise.h"

namespace gannet::kernels::cpu {

inline constexpr int max_tile = 512;               // elements
inline constexpr int chain_arena = 64 * max_tile;  // elements of all buffers together
inline constexpr int max_chain_registers = 1024;
inline constexpr int max_chain_inputs = 64;

// How an input meets the elements of the chain in memory order: axes of the full shape, outermost first, merged where they
// can be, with the input's step along each (0: broadcast). All extents are greater than 1 but that of a lone axis.
struct ChainInput {
  DType type;
  std::int64_t element_bytes;
  bool full;    // the element of the same index
  bool direct;  // f32 and full: read where it lies
  int buffer;   // where tiles of all others go
  int axes;
  std::int64_t extent[max_rank];
  std::int64_t step[max_rank];
};

struct ChainStep {
  PointwiseOp op;
  std::int16_t a, b;    // registers
  std::int16_t output;  // written straight to this output; -1: to the buffer
  std::int16_t buffer;
  float alpha, beta;
};

struct ChainOutput {
  DType type;
  std::int16_t result;  // register
  bool written;         // by a step
};

// Register i is input i, or step i - inputs.
struct Chain {
  int inputs, steps, outputs, buffers;
  int tile;  // elements; rows of broadcast inputs fit it wherever possible
  const ChainInput* input;
  const ChainStep* step;
  const ChainOutput* output;
};

// The sum of a chain's one result. In memory order the elements are: outer axes, kept or summed; `rows` that are summed; and
// `columns` that are kept. A task sums one strip of columns over some of the rows of one result of the kept outer axes.
struct Sum {
  int outer;  // axes, outermost first
  std::int64_t extent[max_rank];
  std::int64_t flat_step[max_rank];    // elements of the chain
  std::int64_t result_step[max_rank];  // elements of the result; 0 where summed
  bool kept[max_rank];
  std::int64_t rows, columns, column_step;  // column_step: elements of the result
  std::int64_t outer_kept, outer_summed;    // products of extents
  std::int64_t strip;                       // columns of a task
  std::int64_t tile_rows;
  std::int64_t task_rows;       // of outer_summed * rows
  std::int64_t strips, chunks;  // tasks: outer_kept * strips * chunks
  float scale;
};

// clang-format off
GANNET_PER_VECTOR_SET(
  // Elements [begin, end); begin is a multiple of the tile.
  void run_chain(const Chain& chain, const void* const* inputs, void* const* outputs, std::int64_t begin, std::int64_t end);
  // The sums of a task into partial[0 … strip).
  void sum_task(const Chain& chain, const Sum& sum, const void* const* inputs, std::int64_t task, double* partial);
  // Rows [begin, end) of columns == 1 and no other summed axis, many to a tile; result is the whole result.
  void sum_short_rows(const Chain& chain, const Sum& sum, const void* const* inputs, float* result, std::int64_t begin,
                      std::int64_t end);
)
// clang-format on

}  // namespace gannet::kernels::cpu
