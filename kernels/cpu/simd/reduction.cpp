// Sums of pointwise chains. Tiles are added to fp32 lanes, a lane to a double every few tiles: the error does not grow with
// the number of elements, and the order of additions depends on shapes alone.
#include "kernels/cpu/simd/chain_tile.h"

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {
namespace {

constexpr int tiles_of_a_lane = 32;

void add(float* sums, const float* values, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + Float::width <= n; i += Float::width) store(sums + i, load(sums + i) + load(values + i));
  for (; i < n; ++i) sums[i] += values[i];
}

// Adds rows of `width` lanes to their columns' totals and clears them.
void drain(float* lanes, std::int64_t rows, std::int64_t width, double* totals) {
  if (width == 1) {
    std::int64_t i = 0;
    for (; i + Float::width <= rows; i += Float::width) totals[0] += sum_lanes(load(lanes + i));
    for (; i < rows; ++i) totals[0] += static_cast<double>(lanes[i]);
  } else {
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* from = lanes + row * width;
      std::int64_t i = 0;
      for (; i + Float::width <= width; i += Float::width) add_lanes(totals + i, load(from + i));
      for (; i < width; ++i) totals[i] += static_cast<double>(from[i]);
    }
  }
  fill(lanes, 0.0f, rows * width);
}

// The first element of an index into the outer axes that are kept, or into those that are summed.
std::int64_t flat_start(const Sum& sum, bool kept, std::int64_t index) {
  std::int64_t start = 0;
  for (int d = sum.outer - 1; d >= 0; --d) {
    if (sum.kept[d] != kept) continue;
    start += index % sum.extent[d] * sum.flat_step[d];
    index /= sum.extent[d];
  }
  return start;
}

}  // namespace

void sum_task(const Chain& chain, const Sum& sum, const void* const* inputs, std::int64_t task, double* partial) {
  const std::int64_t chunk = task % sum.chunks;
  const std::int64_t strip = task / sum.chunks % sum.strips;
  const std::int64_t result = task / sum.chunks / sum.strips;
  const std::int64_t column = strip * sum.strip;
  const std::int64_t width = sum.columns - column < sum.strip ? sum.columns - column : sum.strip;
  const std::int64_t all_rows = sum.outer_summed * sum.rows;
  const std::int64_t begin = chunk * sum.task_rows;
  const std::int64_t end = all_rows - begin < sum.task_rows ? all_rows : begin + sum.task_rows;
  const std::int64_t base = flat_start(sum, true, result) + column;

  ChainTile tile(chain, inputs, nullptr);
  const int index = chain.output[0].result;
  alignas(64) float lanes[max_tile];
  fill(lanes, 0.0f, max_tile);
  for (std::int64_t i = 0; i < width; ++i) partial[i] = 0;
  int tiles = 0;
  for (std::int64_t row = begin; row < end;) {
    const std::int64_t outer = row / sum.rows, inner = row % sum.rows;
    std::int64_t rows = sum.rows - inner < end - row ? sum.rows - inner : end - row;
    const std::int64_t segment = base + flat_start(sum, false, outer) + inner * sum.columns;
    row += rows;
    for (std::int64_t done = 0; done < rows; done += sum.tile_rows) {
      const std::int64_t n = (rows - done < sum.tile_rows ? rows - done : sum.tile_rows) * width;
      tile.evaluate(segment + done * sum.columns, n);
      add(lanes, tile.values(index), n);
      if (++tiles == tiles_of_a_lane) {
        drain(lanes, sum.tile_rows, width, partial);
        tiles = 0;
      }
    }
  }
  drain(lanes, sum.tile_rows, width, partial);
}

void sum_short_rows(const Chain& chain, const Sum& sum, const void* const* inputs, float* result, std::int64_t begin,
                    std::int64_t end) {
  ChainTile tile(chain, inputs, nullptr);
  const int index = chain.output[0].result;
  for (std::int64_t row = begin; row < end;) {
    const std::int64_t rows = end - row < sum.tile_rows ? end - row : sum.tile_rows;
    tile.evaluate(row * sum.rows, rows * sum.rows);
    for (std::int64_t r = 0; r < rows; ++r, ++row) {
      const float* values = tile.values(index) + r * sum.rows;
      Float lanes(0.0f);
      std::int64_t i = 0;
      for (; i + Float::width <= sum.rows; i += Float::width) lanes = lanes + load(values + i);
      if (i < sum.rows) lanes = lanes + load_partial(values + i, static_cast<int>(sum.rows - i));
      std::int64_t at = 0;
      for (std::int64_t d = sum.outer - 1, rest = row; d >= 0; --d) {
        at += rest % sum.extent[d] * sum.result_step[d];
        rest /= sum.extent[d];
      }
      result[at] = static_cast<float>(sum_lanes(lanes) * static_cast<double>(sum.scale));
    }
  }
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET
