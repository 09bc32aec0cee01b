#include "kernels/cpu/box_copy.h"

#include <algorithm>
#include <optional>

#include "kernels/cpu/parallel.h"

namespace gannet::kernels::cpu {
namespace {

constexpr std::int64_t task_elements = 16384;

// What index `i` of a dimension adds to an element's place in memory.
std::int64_t offset_of(const std::vector<PhysicalAxis>& axes, int dimension, std::int64_t i) {
  std::int64_t offset = 0, stride = 1;
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    if (axis->dim == dimension) offset += i / axis->step % axis->extent * stride;
    stride *= axis->extent;
  }
  return offset;
}

// The offsets of `extent` indices from `start` on, from that of the first.
std::vector<std::int64_t> offsets(const std::vector<PhysicalAxis>& axes, int dimension, std::int64_t start,
                                  std::int64_t extent) {
  std::vector<std::int64_t> result;
  for (std::int64_t i = 0; i < extent; ++i) {
    result.push_back(offset_of(axes, dimension, start + i) - offset_of(axes, dimension, start));
  }
  return result;
}

// The steps of loops over pieces of 1, blocks[0], blocks[1], … indices, if such loops give these offsets.
std::optional<std::vector<std::int64_t>> steps_of(const std::vector<std::int64_t>& offsets,
                                                  const std::vector<std::int64_t>& pieces) {
  const auto extent = static_cast<std::int64_t>(offsets.size());
  std::vector<std::int64_t> steps;
  for (std::int64_t piece : pieces) {
    if (extent % piece != 0) return std::nullopt;
    steps.push_back(piece < extent ? offsets[static_cast<std::size_t>(piece)] : 0);
  }
  for (std::int64_t i = 0; i < extent; ++i) {
    std::int64_t rest = i, offset = 0;
    for (std::size_t k = pieces.size(); k-- > 0;) {
      offset += rest / pieces[k] * steps[k];
      rest %= pieces[k];
    }
    if (offset != offsets[static_cast<std::size_t>(i)]) return std::nullopt;
  }
  return steps;
}

}  // namespace

BoxCopy::BoxCopy(const Copy& spec)
    : from_(spec.input.type), to_(spec.output.type), copy_(GANNET_FOR_VECTOR_SET(vector_set(), copy_plane)) {
  for (int d = 0; d < spec.output.shape.rank(); ++d) add_loops(spec, d);
  // In the output's order, so that it is written from front to back; irregular dimensions outermost.
  std::stable_sort(loops_.begin(), loops_.end(), [](const Loop& a, const Loop& b) {
    if (a.output_table.empty() != b.output_table.empty()) return b.output_table.empty();
    return a.output_step > b.output_step;
  });
  merge();
  choose_plane();
  threads_ = threads_for(spec.extent.elements());
}

void BoxCopy::add_loops(const Copy& spec, int dimension) {
  const int from = spec.permutation[static_cast<std::size_t>(dimension)];
  const auto input_axes = physical_axes(spec.input.shape, spec.input.layout);
  const auto output_axes = physical_axes(spec.output.shape, spec.output.layout);
  input_start_ += offset_of(input_axes, from, spec.input_start[from]);
  output_start_ += offset_of(output_axes, dimension, spec.output_start[dimension]);

  const std::int64_t extent = spec.extent[dimension];
  if (extent == 1) return;
  const auto input_offsets = offsets(input_axes, from, spec.input_start[from], extent);
  const auto output_offsets = offsets(output_axes, dimension, spec.output_start[dimension], extent);
  for (const std::vector<std::int64_t>& pieces : {std::vector<std::int64_t>{1}, std::vector<std::int64_t>{1, 8},
                                                  std::vector<std::int64_t>{1, 16}, std::vector<std::int64_t>{1, 8, 16}}) {
    const auto input_steps = steps_of(input_offsets, pieces), output_steps = steps_of(output_offsets, pieces);
    if (!input_steps || !output_steps) continue;
    for (std::size_t k = 0; k < pieces.size(); ++k) {
      const std::int64_t whole = k + 1 < pieces.size() ? pieces[k + 1] : extent;
      if (whole > pieces[k]) loops_.push_back({whole / pieces[k], (*input_steps)[k], (*output_steps)[k], {}, {}});
    }
    return;
  }
  loops_.push_back({extent, 0, 0, input_offsets, output_offsets});
}

void BoxCopy::merge() {
  std::vector<Loop> merged;
  for (Loop& loop : loops_) {
    if (!merged.empty() && merged.back().output_table.empty() && loop.output_table.empty() &&
        merged.back().input_step == loop.input_step * loop.extent &&
        merged.back().output_step == loop.output_step * loop.extent) {
      loop.extent *= merged.back().extent;
      merged.back() = std::move(loop);
    } else {
      merged.push_back(std::move(loop));
    }
  }
  loops_ = std::move(merged);
}

void BoxCopy::choose_plane() {
  plane_ = {1, 1, 0, 1, 0, 1};
  const auto regular = [](const Loop& loop) { return loop.output_table.empty(); };
  if (!loops_.empty() && regular(loops_.back())) {
    plane_.columns = loops_.back().extent;
    plane_.input_column = loops_.back().input_step;
    plane_.output_column = loops_.back().output_step;
    loops_.pop_back();
    // Rows are the next loop, or to transpose the one along which the input lies.
    auto rows = loops_.end();
    if (plane_.input_column != 1)
      rows = std::find_if(loops_.begin(), loops_.end(), [](const Loop& l) { return l.input_step == 1; });
    if (rows == loops_.end() && !loops_.empty()) rows = loops_.end() - 1;
    if (rows != loops_.end() && regular(*rows)) {
      plane_.rows = rows->extent;
      plane_.input_row = rows->input_step;
      plane_.output_row = rows->output_step;
      loops_.erase(rows);
    }
  }
  for (const Loop& loop : loops_) planes_ *= loop.extent;
  if (plane_.rows > 1) {
    const std::int64_t fewest = std::min(plane_.rows, plane_.input_column == 1 ? 1 : transpose_band);
    piece_ = std::clamp(task_elements / plane_.columns / fewest * fewest, fewest, plane_.rows);
    pieces_ = (plane_.rows + piece_ - 1) / piece_;
  } else {
    piece_ = std::min(task_elements, plane_.columns);
    pieces_ = (plane_.columns + piece_ - 1) / piece_;
  }
}

void BoxCopy::run(const void* input, void* output) const {
  const auto* from = static_cast<const std::byte*>(input);
  auto* to = static_cast<std::byte*>(output);
  parallel_for(threads_, planes_ * pieces_, [&](std::int64_t task, int) {
    std::int64_t input_offset = input_start_, output_offset = output_start_;
    std::int64_t rest = task / pieces_;
    for (auto loop = loops_.rbegin(); loop != loops_.rend(); ++loop) {
      input_offset += loop->input_offset(rest % loop->extent);
      output_offset += loop->output_offset(rest % loop->extent);
      rest /= loop->extent;
    }
    const std::int64_t first = task % pieces_ * piece_;
    Plane part = plane_;
    if (plane_.rows > 1) {
      part.rows = std::min(piece_, plane_.rows - first);
      input_offset += first * plane_.input_row;
      output_offset += first * plane_.output_row;
    } else {
      part.columns = std::min(piece_, plane_.columns - first);
      input_offset += first * plane_.input_column;
      output_offset += first * plane_.output_column;
    }
    copy_(from_, to_, part, from + input_offset * static_cast<std::int64_t>(size_of(from_)),
          to + output_offset * static_cast<std::int64_t>(size_of(to_)));
  });
}

}  // namespace gannet::kernels::cpu
