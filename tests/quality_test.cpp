// Sampling and the sliced Wasserstein distance.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/train/laplacian_pyramid.h"
#include "engine/train/sampler.h"
#include "engine/train/sliced_wasserstein.h"
#include "kernels/check.h"

namespace gannet {
namespace {

std::vector<std::uint8_t> noise(const Shape& shape, unsigned seed, int low, int high) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(shape.elements()));
  for (auto& byte : bytes)
    byte = static_cast<std::uint8_t>(low + static_cast<int>(random() % static_cast<unsigned>(high - low)));
  return bytes;
}

TEST(LaplacianPyramid, AddsUpToThePicture) {
  PyramidLevel image{37, 64, 3, {}};
  std::mt19937 random(1);
  for (int i = 0; i < 37 * 64 * 3; ++i) image.values.push_back(static_cast<float>(random() % 256));
  const auto levels = laplacian_pyramid(image, 8);
  ASSERT_EQ(levels.size(), 3u);
  EXPECT_EQ(levels[1].height, 19);
  EXPECT_EQ(levels[2].width, 16);
  PyramidLevel sum = levels.back();
  for (std::size_t l = levels.size() - 1; l-- > 0;) {
    PyramidLevel larger = expand(sum, levels[l].height, levels[l].width);
    for (std::size_t i = 0; i < larger.values.size(); ++i) larger.values[i] += levels[l].values[i];
    sum = larger;
  }
  for (std::size_t i = 0; i < image.values.size(); ++i) ASSERT_NEAR(sum.values[i], image.values[i], 1e-3);
}

TEST(LaplacianPyramid, KeepsConstantsInTheLastLevel) {
  const auto levels = laplacian_pyramid({32, 32, 1, std::vector<float>(1024, 5.0f)}, 16);
  ASSERT_EQ(levels.size(), 2u);
  for (const float value : levels[0].values) EXPECT_NEAR(value, 0, 1e-5);
  for (const float value : levels[1].values) EXPECT_NEAR(value, 5, 1e-5);
}

SlicedWassersteinOptions small(int threads = 1) { return {.patches = 32, .projections = 40, .seed = 3, .threads = threads}; }

TEST(SlicedWasserstein, IsZeroForTheSameSetAndGrowsWithDifference) {
  const Shape shape{40, 32, 32, 3};
  const auto a = noise(shape, 1, 0, 255), b = noise(shape, 2, 0, 255);
  auto stripes = a;  // every second row black: other texture
  for (std::size_t i = 0; i < stripes.size(); ++i)
    if (i / (32 * 3) % 2 == 0) stripes[i] = 0;
  EXPECT_EQ(sliced_wasserstein(a, a, shape, small()).mean, 0);
  const auto near = sliced_wasserstein(a, b, shape, small()), far = sliced_wasserstein(a, stripes, shape, small());
  EXPECT_EQ(near.sides, (std::vector<std::int64_t>{32, 16}));
  EXPECT_GT(near.mean, 0);
  EXPECT_GT(far.distances[0], 5 * near.distances[0]);
}

TEST(SlicedWasserstein, DependsOnNeitherOrderNorThreads) {
  const Shape shape{20, 20, 24, 1};
  const auto a = noise(shape, 1, 0, 255), b = noise(shape, 2, 100, 120);
  const auto one = sliced_wasserstein(a, b, shape, small());
  EXPECT_EQ(one.distances, sliced_wasserstein(b, a, shape, small()).distances);
  EXPECT_EQ(one.distances, sliced_wasserstein(a, b, shape, small(3)).distances);
}

// On one dimension the distance has a closed form: patches of constant pictures that differ by channel shift vanish in the
// normalisation, so two sets of black pictures are at distance 0, whatever their grey.
TEST(SlicedWasserstein, IgnoresBrightnessAndContrast) {
  const Shape shape{30, 16, 16, 1};
  const auto a = noise(shape, 1, 0, 100);
  auto brighter = a;
  for (auto& byte : brighter) byte = static_cast<std::uint8_t>(20 + 2 * byte);
  EXPECT_NEAR(sliced_wasserstein(a, brighter, shape, small()).mean, 0, 1e-3);
}

TEST(SlicedWasserstein, RefusesWhatCannotBeCompared) {
  const std::vector<std::uint8_t> few(10), many(1000);
  EXPECT_THROW(sliced_wasserstein(few, many, {1, 10, 10, 1}), InputError);
  EXPECT_THROW(sliced_wasserstein(few, few, {2, 5, 1, 1}), InputError);
}

TEST(DrawLatents, DependOnSeedAndNumberAlone) {
  const auto backend = kernels::make_reference_backend();
  const Latent latent{{5}, kernels::Random::Distribution::normal};
  const auto few = draw_latents(*backend, latent, 3, 9), many = draw_latents(*backend, latent, 200, 9);
  EXPECT_EQ(few.size(), 15u);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), many.begin()));
  EXPECT_NE(few, draw_latents(*backend, latent, 3, 10));
  EXPECT_FALSE(std::equal(few.begin(), few.end(), many.begin() + 64 * 5)) << "the second run of 64 is another draw";
}

TEST(Interpolate, KeepsTheNormAlongTheArc) {
  const std::vector<float> a = {2, 0, 0}, b = {0, 2, 0};
  const auto arc = interpolate(a, b, 5);
  ASSERT_EQ(arc.size(), 15u);
  for (int i = 0; i < 5; ++i) {
    const double angle = i * M_PI / 8;
    EXPECT_NEAR(arc[static_cast<std::size_t>(3 * i)], 2 * std::cos(angle), 1e-6);
    EXPECT_NEAR(arc[static_cast<std::size_t>(3 * i + 1)], 2 * std::sin(angle), 1e-6);
  }
  EXPECT_EQ(interpolate(a, a, 2), (std::vector<float>{2, 0, 0, 2, 0, 0}));
  EXPECT_EQ(interpolate(a, b, 1), a);
}

TEST(ToBytes, RoundsAndClamps) {
  const std::vector<float> values = {-2, -1, 0, 1, 3, std::nanf("")};
  EXPECT_EQ(to_bytes(values), (std::vector<std::uint8_t>{0, 0, 128, 255, 255, 0}));
}

TEST(Spread, IsTheMeanDeviationAcrossSamples) {
  const std::vector<float> samples = {1, 5, 3, 5};  // two samples of two elements
  EXPECT_DOUBLE_EQ(spread(samples, 2), 0.5);
}

}  // namespace
}  // namespace gannet
