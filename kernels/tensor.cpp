#include "kernels/tensor.h"

#include <algorithm>

#include "kernels/check.h"

namespace gannet {

std::size_t size_of(DType type) {
  switch (type) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::f64:
      return 8;
    case DType::u8:
      return 1;
  }
  return 0;
}

const char* name_of(DType type) {
  switch (type) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f64:
      return "f64";
    case DType::i32:
      return "i32";
    case DType::u8:
      return "u8";
  }
  return "?";
}

Shape::Shape(std::initializer_list<std::int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const std::int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  GANNET_CHECK(rank_ <= max_rank, "a tensor has at most {} dimensions, not {}", max_rank, rank_);
  std::copy(extents.begin(), extents.end(), extents_.begin());
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (std::int64_t extent : *this) product *= extent;
  return product;
}

std::string to_string(const Shape& shape) { return fmt::format("({})", fmt::join(shape.begin(), shape.end(), ",")); }

const char* name_of(Layout layout) {
  switch (layout) {
    case Layout::plain:
      return "plain";
    case Layout::blocked8:
      return "blocked8";
    case Layout::blocked16:
      return "blocked16";
    case Layout::filter8:
      return "filter8";
    case Layout::filter16:
      return "filter16";
  }
  return "?";
}

std::vector<PhysicalAxis> physical_axes(const Shape& shape, Layout layout) {
  std::vector<PhysicalAxis> axes;
  if (layout == Layout::plain) {
    for (int d = 0; d < shape.rank(); ++d) axes.push_back({d, shape[d], 1});
    return axes;
  }
  const bool filter = layout == Layout::filter8 || layout == Layout::filter16;
  const std::int64_t block = layout == Layout::blocked8 || layout == Layout::filter8 ? 8 : 16;
  GANNET_CHECK(shape.rank() == 4 && shape[3] % block == 0 && (!filter || shape[0] % block == 0),
               "layout {} does not fit shape {}", name_of(layout), to_string(shape));
  if (filter) {
    axes = {{0, shape[0] / block, block},
            {3, shape[3] / block, block},
            {1, shape[1], 1},
            {2, shape[2], 1},
            {3, block, 1},
            {0, block, 1}};
  } else {
    axes = {{0, shape[0], 1}, {3, shape[3] / block, block}, {1, shape[1], 1}, {2, shape[2], 1}, {3, block, 1}};
  }
  return axes;
}

std::string to_string(const TensorDesc& desc) {
  std::string text = fmt::format("{}{}", name_of(desc.type), to_string(desc.shape));
  if (desc.layout != Layout::plain) text += fmt::format("/{}", name_of(desc.layout));
  return text;
}

}  // namespace gannet
