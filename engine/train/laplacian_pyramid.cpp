#include "engine/train/laplacian_pyramid.h"

#include <algorithm>
#include <array>

namespace gannet {
namespace {

constexpr std::array<float, 5> binomial = {1 / 16.f, 4 / 16.f, 6 / 16.f, 4 / 16.f, 1 / 16.f};

std::int64_t mirrored(std::int64_t i, std::int64_t extent) {
  if (i < 0) i = -i;
  return i < extent ? i : 2 * extent - 2 - i;
}

// A picture's axis as the middle one of (outer, extent, inner).
struct Axis {
  std::int64_t outer, extent, inner;
};

// Position i of the result is the weighted sum of five positions around 2i.
std::vector<float> reduce_axis(const std::vector<float>& values, const Axis& axis) {
  const std::int64_t half = (axis.extent + 1) / 2;
  std::vector<float> result(static_cast<std::size_t>(axis.outer * half * axis.inner), 0.0f);
  for (std::int64_t o = 0; o < axis.outer; ++o)
    for (std::int64_t i = 0; i < half; ++i)
      for (std::int64_t tap = 0; tap < 5; ++tap) {
        const float* from = values.data() + (o * axis.extent + mirrored(2 * i + tap - 2, axis.extent)) * axis.inner;
        float* to = result.data() + (o * half + i) * axis.inner;
        for (std::int64_t k = 0; k < axis.inner; ++k) to[k] += binomial[static_cast<std::size_t>(tap)] * from[k];
      }
  return result;
}

// Zeros between the samples, blurred by twice the filter: even positions take (1,6,1)/8, odd ones (1,1)/2.
std::vector<float> expand_axis(const std::vector<float>& values, const Axis& axis, std::int64_t extent) {
  std::vector<float> result(static_cast<std::size_t>(axis.outer * extent * axis.inner));
  for (std::int64_t o = 0; o < axis.outer; ++o)
    for (std::int64_t i = 0; i < extent; ++i) {
      const auto row = [&](std::int64_t at) {
        return values.data() + (o * axis.extent + mirrored(at, axis.extent)) * axis.inner;
      };
      const float *before = row(i / 2 - 1), *here = row(i / 2), *after = row(i / 2 + 1);
      float* to = result.data() + (o * extent + i) * axis.inner;
      for (std::int64_t k = 0; k < axis.inner; ++k)
        to[k] = i % 2 == 0 ? (before[k] + 6 * here[k] + after[k]) / 8 : (here[k] + after[k]) / 2;
    }
  return result;
}

}  // namespace

PyramidLevel reduce(const PyramidLevel& image) {
  PyramidLevel result{(image.height + 1) / 2, (image.width + 1) / 2, image.channels, {}};
  const std::vector<float> rows = reduce_axis(image.values, {1, image.height, image.width * image.channels});
  result.values = reduce_axis(rows, {result.height, image.width, image.channels});
  return result;
}

PyramidLevel expand(const PyramidLevel& image, std::int64_t height, std::int64_t width) {
  const std::vector<float> rows = expand_axis(image.values, {1, image.height, image.width * image.channels}, height);
  return {height, width, image.channels, expand_axis(rows, {height, image.width, image.channels}, width)};
}

std::vector<PyramidLevel> laplacian_pyramid(PyramidLevel image, std::int64_t smallest_side) {
  std::vector<PyramidLevel> levels = {std::move(image)};
  while (std::min(levels.back().height, levels.back().width) / 2 >= smallest_side) {
    PyramidLevel& level = levels.back();
    PyramidLevel half = reduce(level);
    const PyramidLevel predicted = expand(half, level.height, level.width);
    std::transform(level.values.begin(), level.values.end(), predicted.values.begin(), level.values.begin(), std::minus<>());
    levels.push_back(std::move(half));
  }
  return levels;
}

}  // namespace gannet
