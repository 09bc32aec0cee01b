#include "engine/train/sliced_wasserstein.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <exception>
#include <functional>
#include <numbers>
#include <numeric>
#include <thread>

#include "engine/train/laplacian_pyramid.h"
#include "kernels/check.h"

namespace gannet {
namespace {

constexpr std::int64_t patch_side = 7, smallest_side = 16;
constexpr std::int64_t directions_at_once = 16;  // the patches are read once for so many

// SplitMix64: the same numbers on every machine.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    std::uint64_t value = state_ += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
  }
  std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>((bits() >> 32) * static_cast<std::uint64_t>(bound) >> 32);
  }
  double normal() {
    const double u = static_cast<double>((bits() >> 11) + 1) * 0x1p-53, v = static_cast<double>(bits() >> 11) * 0x1p-53;
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
  }

 private:
  std::uint64_t state_;
};

// Runs body(i) for i in [0,count) on several threads.
void parallel_for(std::int64_t count, int threads, const std::function<void(std::int64_t)>& body) {
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(std::max(threads, 1)));
  {
    std::vector<std::jthread> workers;
    for (std::size_t t = 0; t < failures.size(); ++t)
      workers.emplace_back([&, t] {
        try {
          for (auto i = static_cast<std::int64_t>(t); i < count; i += static_cast<std::int64_t>(failures.size())) body(i);
        } catch (...) {
          failures[t] = std::current_exception();
        }
      });
  }
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

// The patches of every level of a set of pictures: level -> (pictures * patches, 7*7*C). Where they lie depends on the seed and
// the picture's number.
std::vector<std::vector<float>> extract_patches(std::span<const std::uint8_t> pictures, const Shape& shape,
                                                const SlicedWassersteinOptions& options, std::vector<std::int64_t>& sides) {
  const std::int64_t count = shape[0], channels = shape[3];
  const auto picture_size = static_cast<std::size_t>(shape[1] * shape[2] * channels);
  const std::int64_t patch_size = patch_side * patch_side * channels;
  const auto pyramid_of = [&](std::int64_t n) {
    const auto bytes = pictures.subspan(static_cast<std::size_t>(n) * picture_size, picture_size);
    return laplacian_pyramid({shape[1], shape[2], channels, {bytes.begin(), bytes.end()}}, smallest_side);
  };
  sides.clear();
  for (const PyramidLevel& level : pyramid_of(0)) sides.push_back(level.height);
  std::vector<std::vector<float>> patches(sides.size());
  for (auto& level : patches) level.resize(static_cast<std::size_t>(count * options.patches * patch_size));
  parallel_for(count, options.threads, [&](std::int64_t n) {
    const std::vector<PyramidLevel> pyramid = pyramid_of(n);
    Draws draws(options.seed * 0x100000001b3u + static_cast<std::uint64_t>(n));
    for (std::size_t l = 0; l < pyramid.size(); ++l) {
      const PyramidLevel& level = pyramid[l];
      float* to = patches[l].data() + n * options.patches * patch_size;
      for (std::int64_t p = 0; p < options.patches; ++p) {
        const std::int64_t top = draws.below(level.height - patch_side + 1), left = draws.below(level.width - patch_side + 1);
        for (std::int64_t y = 0; y < patch_side; ++y)
          to = std::copy_n(level.values.data() + ((top + y) * level.width + left) * channels, patch_side * channels, to);
      }
    }
  });
  return patches;
}

// Each channel to mean 0 and deviation 1 over the whole set. A channel that is constant stays 0.
void normalise(std::vector<float>& patches, std::int64_t channels) {
  const auto stride = static_cast<std::size_t>(channels);
  for (std::size_t c = 0; c < stride; ++c) {
    double sum = 0, squares = 0;
    for (std::size_t i = c; i < patches.size(); i += stride) {
      sum += patches[i];
      squares += double{patches[i]} * patches[i];
    }
    const double count = static_cast<double>(patches.size()) / static_cast<double>(channels), mean = sum / count;
    const double variance = squares / count - mean * mean;
    const double scale = variance > 1e-12 ? 1 / std::sqrt(variance) : 0;
    for (std::size_t i = c; i < patches.size(); i += stride) patches[i] = static_cast<float>((patches[i] - mean) * scale);
  }
}

// Radix sort, least digit first: a projection has hundreds of thousands of values, and there are a thousand projections.
void sort_floats(std::span<float> values, std::vector<std::uint32_t>& keys, std::vector<std::uint32_t>& swap) {
  constexpr std::uint32_t sign = 0x80000000u;
  keys.resize(values.size());
  swap.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(values[i]);
    keys[i] = bits & sign ? ~bits : bits | sign;  // ordered as the numbers are
  }
  for (int shift = 0; shift < 33; shift += 11) {
    std::array<std::size_t, 2048> begin{};
    for (const std::uint32_t key : keys) ++begin[(key >> shift) & 2047];
    std::exclusive_scan(begin.begin(), begin.end(), begin.begin(), std::size_t{0});
    for (const std::uint32_t key : keys) swap[begin[(key >> shift) & 2047]++] = key;
    keys.swap(swap);
  }
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::bit_cast<float>(keys[i] & sign ? keys[i] & ~sign : ~keys[i]);
}

// projected[d] gets the products of all patches with direction d; directions (size, directions_at_once).
void project(std::span<const float> patches, std::span<const float> directions, std::vector<std::vector<float>>& projected) {
  constexpr auto width = static_cast<std::size_t>(directions_at_once);
  const std::size_t size = directions.size() / width, count = patches.size() / size;
  projected.assign(width, std::vector<float>(count));
  for (std::size_t p = 0; p < count; ++p) {
    std::array<float, width> sums{};
    const float* patch = patches.data() + p * size;
    for (std::size_t k = 0; k < size; ++k)
      for (std::size_t d = 0; d < width; ++d) sums[d] += patch[k] * directions[k * width + d];
    for (std::size_t d = 0; d < width; ++d) projected[d][p] = sums[d];
  }
}

std::vector<float> random_directions(std::size_t size, std::uint64_t seed) {
  constexpr auto width = static_cast<std::size_t>(directions_at_once);
  Draws draws(seed);
  std::vector<float> directions(size * width);
  for (std::size_t d = 0; d < width; ++d) {
    std::vector<double> direction(size);
    double squares = 0;
    for (double& value : direction) {
      value = draws.normal();
      squares += value * value;
    }
    for (std::size_t k = 0; k < size; ++k) directions[k * width + d] = static_cast<float>(direction[k] / std::sqrt(squares));
  }
  return directions;
}

double distance(std::span<const float> a, std::span<const float> b, std::int64_t patch_size,
                const SlicedWassersteinOptions& options) {
  const std::int64_t groups = (options.projections + directions_at_once - 1) / directions_at_once;
  std::vector<double> distances(static_cast<std::size_t>(groups * directions_at_once));
  parallel_for(groups, options.threads, [&](std::int64_t group) {
    const auto directions =
        random_directions(static_cast<std::size_t>(patch_size), ~options.seed + static_cast<std::uint64_t>(group) * 0x9e37u);
    std::vector<std::vector<float>> of_a, of_b;
    std::vector<std::uint32_t> keys, swap;
    project(a, directions, of_a);
    project(b, directions, of_b);
    for (std::size_t d = 0; d < of_a.size(); ++d) {
      sort_floats(of_a[d], keys, swap);
      sort_floats(of_b[d], keys, swap);
      double sum = 0;
      for (std::size_t i = 0; i < of_a[d].size(); ++i) sum += std::abs(double{of_a[d][i]} - of_b[d][i]);
      distances[static_cast<std::size_t>(group * directions_at_once) + d] = sum / static_cast<double>(of_a[d].size());
    }
  });
  distances.resize(static_cast<std::size_t>(options.projections));
  return std::accumulate(distances.begin(), distances.end(), 0.0) / static_cast<double>(distances.size());
}

}  // namespace

SlicedWasserstein sliced_wasserstein(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, const Shape& shape,
                                     const SlicedWassersteinOptions& options) {
  const auto bytes = static_cast<std::size_t>(shape.elements());
  GANNET_CHECK(shape.rank() == 4 && shape[0] > 0 && a.size() == bytes && b.size() == bytes,
               "sliced Wasserstein distance: two sets of as many pictures of one shape are compared");
  GANNET_CHECK(std::min(shape[1], shape[2]) >= patch_side, "sliced Wasserstein distance: pictures of {}x{} hold no 7x7 patch",
               shape[1], shape[2]);
  SlicedWasserstein result;
  auto patches_a = extract_patches(a, shape, options, result.sides);
  auto patches_b = extract_patches(b, shape, options, result.sides);
  for (std::size_t level = 0; level < result.sides.size(); ++level) {
    normalise(patches_a[level], shape[3]);
    normalise(patches_b[level], shape[3]);
    result.distances.push_back(1000 *
                               distance(patches_a[level], patches_b[level], patch_side * patch_side * shape[3], options));
  }
  result.mean =
      std::accumulate(result.distances.begin(), result.distances.end(), 0.0) / static_cast<double>(result.distances.size());
  return result;
}

std::string protocol_of(const SlicedWassersteinOptions& options, std::int64_t pictures) {
  return fmt::format(
      "sliced Wasserstein distance x1000 (Karras et al. 2018): {} pictures of each set, Laplacian pyramid down to {} pixels, "
      "{} patches "
      "of 7x7 a picture and level, each channel normalised, {} projections, seed {}",
      pictures, smallest_side, options.patches, options.projections, options.seed);
}

}  // namespace gannet
