// Cases of data movement: copies of boxes through permutations and layouts, and concatenation.
#include <algorithm>

#include "tests/case_table.h"

namespace gannet::tests {
namespace {

using namespace kernels;

Layout draw_layout(Draw& draw, const Shape& shape) {
  return draw.chance(0.5) ? draw_picture_layout(draw, shape) : draw_filter_layout(draw, shape);
}

std::vector<int> draw_permutation(Draw& draw, int rank) {
  std::vector<int> permutation;
  for (int d = 0; d < rank; ++d) permutation.push_back(d);
  if (draw.chance(0.5)) return permutation;
  for (int d = rank - 1; d > 0; --d)
    std::swap(permutation[static_cast<std::size_t>(d)], permutation[static_cast<std::size_t>(draw.between(0, d))]);
  return permutation;
}

// A box of drawn extent; on each side it may stop short of the tensor that it is cut from or put into.
Case copy_case(Draw& draw, bool pictures) {
  Copy spec;
  const int rank = pictures ? 4 : static_cast<int>(draw.between(0, max_rank));
  spec.permutation = draw_permutation(draw, rank);
  spec.extent = pictures ? Shape{draw.pick<std::int64_t>({1, 2, 8, 16}), draw.between(1, 6), draw.between(1, 6),
                                 draw.pick<std::int64_t>({3, 8, 16, 24, 32})}
                         : draw_shape(draw, rank, 2500);
  spec.input.shape = spec.output.shape = spec.input_start = spec.output_start = spec.extent;
  const double slice = draw.pick({0.0, 0.0, 0.4}), pad = draw.pick({0.0, 0.0, 0.4});
  const auto surround = [&](double chance, std::int64_t extent, std::int64_t& start, std::int64_t& total) {
    start = 0, total = extent;
    if (!draw.chance(chance)) return;
    const std::int64_t unit = pictures && extent % 8 == 0 ? 8 : 1;  // channels stay divisible often enough
    start = unit * draw.between(0, 3);
    total = start + extent + unit * draw.between(0, 3);
  };
  for (int d = 0; d < rank; ++d) {
    const int from = spec.permutation[static_cast<std::size_t>(d)];
    surround(slice, spec.extent[d], spec.input_start[from], spec.input.shape[from]);
    surround(pad, spec.extent[d], spec.output_start[d], spec.output.shape[d]);
  }
  spec.input.type = draw.pick({DType::f32, DType::f32, DType::bf16, DType::i32, DType::u8});
  spec.output.type = spec.input.type;
  if (spec.input.type == DType::f32 || spec.input.type == DType::bf16) {
    spec.output.type = draw.pick({spec.input.type, DType::f32, DType::bf16});
  }
  spec.input.layout = draw_layout(draw, spec.input.shape);
  spec.output.layout = draw_layout(draw, spec.output.shape);
  Case result;
  result.fills = {spec.input.type == DType::u8    ? integers(0, 255)
                  : spec.input.type == DType::i32 ? integers(-1000, 1000)
                                                  : normal()};
  result.tolerance = 0;
  result.spec = spec;
  return result;
}

Case concatenate_case(Draw& draw, bool pictures) {
  Concatenate spec;
  const int rank = pictures ? 4 : static_cast<int>(draw.between(1, max_rank));
  spec.axis = static_cast<int>(draw.between(0, rank - 1));
  Shape shape = pictures
                    ? Shape{draw.between(1, 4), draw.between(1, 5), draw.between(1, 5), draw.pick<std::int64_t>({8, 16, 32})}
                    : draw_shape(draw, rank, 1000);
  const DType type = draw.pick({DType::f32, DType::f32, DType::bf16, DType::i32, DType::u8});
  std::int64_t total = 0;
  for (std::int64_t count = draw.between(1, 4); count > 0; --count) {
    shape[spec.axis] = pictures && spec.axis == 3 ? draw.pick<std::int64_t>({8, 16, 24}) : draw.between(1, 9);
    total += shape[spec.axis];
    spec.inputs.push_back({type, shape, draw_picture_layout(draw, shape)});
  }
  shape[spec.axis] = total;
  spec.output = {type, shape, draw_picture_layout(draw, shape)};
  Case result;
  result.fills.assign(spec.inputs.size(), type == DType::u8    ? integers(0, 255)
                                          : type == DType::i32 ? integers(-1000, 1000)
                                                               : normal());
  result.tolerance = 0;
  result.spec = spec;
  return result;
}

}  // namespace

std::vector<Case> copy_cases() {
  CaseTable table("copy", 424242);
  table.add(250, [](Draw& draw) { return copy_case(draw, false); });
  table.add(250, [](Draw& draw) { return copy_case(draw, true); });
  return table.take();
}

std::vector<Case> concatenate_cases() {
  CaseTable table("concatenate", 777);
  table.add(100, [](Draw& draw) { return concatenate_case(draw, false); });
  table.add(100, [](Draw& draw) { return concatenate_case(draw, true); });
  return table.take();
}

}  // namespace gannet::tests
