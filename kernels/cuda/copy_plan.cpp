#include "kernels/cuda/copy_plan.h"

#include <algorithm>
#include <array>

namespace gannet::kernels::cuda {
namespace {

constexpr std::uint32_t tile_elements = 1024;

// Words that a warp's lanes have to wait for in the busiest bank, summed over the warps of a tile read along its columns.
template <typename Address>
int wavefronts(std::uint32_t elements, Address address) {
  int total = 0;
  for (std::uint32_t begin = 0; begin < elements; begin += 32) {
    std::array<int, 32> bank{};
    for (std::uint32_t lane = begin; lane < std::min(begin + 32, elements); ++lane) ++bank[address(lane) % 32];
    total += *std::max_element(bank.begin(), bank.end());
  }
  return total;
}

}  // namespace

CopyPlan::CopyPlan(const Copy& spec) {
  const int rank = spec.output.shape.rank();
  std::vector<std::int64_t> stride(static_cast<std::size_t>(rank), 1);
  for (int d = rank - 2; d >= 0; --d) {
    stride[static_cast<std::size_t>(d)] = stride[static_cast<std::size_t>(d) + 1] * spec.input.shape[d + 1];
  }
  for (int d = rank - 1; d >= 0; --d) {
    const int from = spec.permutation[static_cast<std::size_t>(d)];
    const std::int64_t step = stride[static_cast<std::size_t>(from)];
    base += (spec.input_start[from] - spec.output_start[d]) * step;
    const CopyAxis axis{spec.output.shape[d], spec.output_start[d], spec.extent[d], step};
    if (axis.extent == 1) continue;
    CopyAxis* inner = axes.empty() ? nullptr : &axes.back();
    if (inner != nullptr && inner->box == inner->extent && axis.step == inner->step * inner->extent) {
      *inner = {axis.extent * inner->extent, axis.start * inner->extent, axis.box * inner->extent, inner->step};
    } else {
      axes.push_back(axis);
    }
  }
  if (axes.empty()) axes.push_back({1, 0, 1, 1});
  std::reverse(axes.begin(), axes.end());
}

bool CopyPlan::whole() const { return axes.size() == 1 && axes[0].box == axes[0].extent && axes[0].step == 1 && base == 0; }

bool CopyPlan::fits(std::int64_t packet) const {
  if (packet == 1) return true;
  const CopyAxis& inner = axes.back();
  bool result = inner.step == 1 && inner.extent % packet == 0 && inner.start % packet == 0 && inner.box % packet == 0 &&
                base % packet == 0;
  for (std::size_t a = 0; a + 1 < axes.size(); ++a) result = result && axes[a].step % packet == 0;
  return result;
}

CopyTile plan_tile(std::int64_t rows, std::int64_t columns) {
  // The shorter side whole, up to a warp; the longer one in whole warps.
  const auto side = [](std::int64_t extent) { return static_cast<std::uint32_t>(std::min<std::int64_t>(extent, 32)); };
  const auto rest = [](std::int64_t extent, std::uint32_t other) {
    const std::uint32_t most = std::max(32u, tile_elements / other / 32 * 32);
    return static_cast<std::uint32_t>(std::min<std::int64_t>(extent, std::min(most, 512u)));
  };
  CopyTile tile{};
  if (rows <= columns) {
    tile.rows = side(rows);
    tile.columns = rest(columns, tile.rows);
  } else {
    tile.columns = side(columns);
    tile.rows = rest(rows, tile.columns);
  }
  int least = -1;
  for (std::uint32_t pitch = tile.columns; pitch < tile.columns + 32; ++pitch) {
    const std::uint32_t elements = tile.rows * tile.columns;
    const int cost = wavefronts(elements, [&](std::uint32_t i) { return i / tile.columns * pitch + i % tile.columns; }) +
                     wavefronts(elements, [&](std::uint32_t i) { return i % tile.rows * pitch + i / tile.rows; });
    if (least < 0 || cost < least) least = cost, tile.pitch = pitch;
  }
  return tile;
}

}  // namespace gannet::kernels::cuda
