// A copy of a box as a kernel walks it: the axes of the output that can not be merged.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/copy.h"

namespace gannet::kernels::cuda {

struct CopyAxis {
  std::int64_t extent;      // of the output
  std::int64_t start, box;  // what comes from the input; zeros elsewhere
  std::int64_t step;        // elements of the input
};

struct CopyPlan {
  std::vector<CopyAxis> axes;  // outermost first, at least one
  std::int64_t base = 0;       // element of the input that output element 0 would come from; may be negative

  explicit CopyPlan(const Copy& spec);
  bool whole() const;  // every output element comes from the input, in order and from its start
  // Do `packet` neighbours come from neighbours, or are zeros, wherever a packet begins in either tensor?
  bool fits(std::int64_t packet) const;
};

// A tile of a transposition in shared memory: `rows` along the output's innermost axis, `columns` along the input's.
struct CopyTile {
  std::uint32_t rows, columns, pitch;  // pitch: words from row to row, for the least bank conflicts
};
CopyTile plan_tile(std::int64_t rows, std::int64_t columns);

}  // namespace gannet::kernels::cuda
