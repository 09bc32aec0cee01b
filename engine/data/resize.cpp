// Separable antialiased resampling. An output sample at x is the weighted mean of the inputs within support * scale of its
// centre (x + 1/2) * scale, where scale = input size / output size, and the filter is stretched by max(scale, 1).
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "engine/data/image.h"
#include "kernels/check.h"

namespace gannet {

namespace {

constexpr std::array<ResizeFilterName, 4> filters = {{{"lanczos", ResizeFilter::lanczos},
                                                      {"bicubic", ResizeFilter::bicubic},
                                                      {"bilinear", ResizeFilter::bilinear},
                                                      {"box", ResizeFilter::box}}};

double sinc(double x) { return x == 0 ? 1 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x); }

double support(ResizeFilter filter) {
  switch (filter) {
    case ResizeFilter::lanczos:
      return 3;
    case ResizeFilter::bicubic:
      return 2;
    case ResizeFilter::bilinear:
      return 1;
    case ResizeFilter::box:
      return 0.5;
  }
  return 0;
}

double weight(ResizeFilter filter, double x) {
  switch (filter) {
    case ResizeFilter::lanczos:
      return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
    case ResizeFilter::bicubic: {  // Keys 1981 with a = -1/2
      const double a = -0.5;
      x = std::abs(x);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
      return 0;
    }
    case ResizeFilter::bilinear:
      return std::max(0.0, 1 - std::abs(x));
    case ResizeFilter::box:
      return x > -0.5 && x <= 0.5 ? 1 : 0;
  }
  return 0;
}

// Weights are integers in units of 2^-22: eight bits of pixel and two of headroom for a filter's lobes fill 32.
constexpr int fraction_bits = 22;

// For every output sample the first input it sees and its weights, `taps` of them (zeros at the end).
struct Weights {
  int taps = 0;
  std::vector<int> first;
  std::vector<std::int32_t> values;  // (outputs, taps)
};

Weights weights_of(ResizeFilter filter, int input, int output) {
  const double scale = static_cast<double>(input) / output;
  const double stretch = std::max(scale, 1.0);
  const double reach = support(filter) * stretch;
  Weights weights;
  weights.taps = static_cast<int>(std::ceil(reach)) * 2 + 1;
  weights.first.resize(std::size_t(output));
  weights.values.resize(std::size_t(output) * std::size_t(weights.taps));
  std::vector<double> row(std::size_t(weights.taps));
  for (int x = 0; x < output; ++x) {
    const double centre = (x + 0.5) * scale;
    const int first = std::max(static_cast<int>(std::floor(centre - reach + 0.5)), 0);
    const int count = std::min(static_cast<int>(std::floor(centre + reach + 0.5)), input) - first;
    double sum = 0;
    for (int i = 0; i < count; ++i) {
      row[std::size_t(i)] = weight(filter, (first + i - centre + 0.5) * (1 / stretch));
      sum += row[std::size_t(i)];
    }
    weights.first[std::size_t(x)] = first;
    for (int i = 0; i < count; ++i) {
      const double value = (sum != 0 ? row[std::size_t(i)] / sum : row[std::size_t(i)]) * (1 << fraction_bits);
      weights.values[std::size_t(x) * std::size_t(weights.taps) + std::size_t(i)] =
          static_cast<std::int32_t>(value < 0 ? value - 0.5 : value + 0.5);
    }
  }
  return weights;
}

// Resamples the middle axis of (outer, axis, inner). The weights of a sample add up to one and their absolute values to less
// than two, so that the sums of 8-bit pixels fit 32 bits.
std::vector<std::uint8_t> resample(const std::vector<std::uint8_t>& input, int outer, int axis, int inner, int output,
                                   ResizeFilter filter) {
  const Weights weights = weights_of(filter, axis, output);
  const std::size_t stride = std::size_t(inner);
  std::vector<std::int32_t> sums(stride);
  std::vector<std::uint8_t> result(std::size_t(outer) * std::size_t(output) * stride);
  std::uint8_t* out = result.data();
  for (int o = 0; o < outer; ++o) {
    const std::uint8_t* plane = input.data() + std::size_t(o) * std::size_t(axis) * stride;
    for (int x = 0; x < output; ++x) {
      const int first = weights.first[std::size_t(x)];
      const int count = std::min(weights.taps, axis - first);
      const std::int32_t* values = weights.values.data() + std::size_t(x) * std::size_t(weights.taps);
      const std::uint8_t* source = plane + std::size_t(first) * stride;
      std::fill(sums.begin(), sums.end(), 1 << (fraction_bits - 1));  // rounds to nearest
      for (int tap = 0; tap < count; ++tap, source += stride) {
        for (std::size_t i = 0; i < stride; ++i) sums[i] += values[tap] * source[i];
      }
      for (const std::int32_t sum : sums) *out++ = static_cast<std::uint8_t>(std::clamp(sum >> fraction_bits, 0, 255));
    }
  }
  return result;
}

}  // namespace

std::span<const ResizeFilterName> resize_filters() { return filters; }

ResizeFilter resize_filter(std::string_view name) {
  std::string names;
  for (const ResizeFilterName& known : filters) {
    if (known.name == name) return known.filter;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
  }
  throw InputError(fmt::format("no resize filter '{}'; there are {}", name, names));
}

Image resize(const Image& image, int height, int width, ResizeFilter filter) {
  GANNET_CHECK(height > 0 && width > 0 && image.height > 0 && image.width > 0, "cannot resize a picture of {} x {} to {} x {}",
               image.width, image.height, width, height);
  Image result = image;
  if (width != result.width) {
    result.pixels = resample(result.pixels, result.height, result.width, result.channels, width, filter);
    result.width = width;
  }
  if (height != result.height) {
    result.pixels = resample(result.pixels, 1, result.height, result.width * result.channels, height, filter);
    result.height = height;
  }
  return result;
}

}  // namespace gannet
