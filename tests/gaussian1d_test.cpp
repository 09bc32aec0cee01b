// The generator on a line: its figures against closed forms, and its pictures across a resumption.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/gaussian1d_picture.h"
#include "models/models.h"
#include "tests/training.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;
using models::Gaussian;
using models::LineFunction;
using models::LineMeasurement;

double quantile(const Gaussian& gaussian, double probability) {
  double low = gaussian.mean - 8 * gaussian.deviation, high = gaussian.mean + 8 * gaussian.deviation;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (gaussian.cumulative(middle) < probability ? low : high) = middle;
  }
  return low;
}

LineFunction pointwise(std::function<double(double)> function) {
  return [function = std::move(function)](std::span<const double> points) {
    std::vector<double> values;
    for (const double point : points) values.push_back(function(point));
    return values;
  };
}

// Turns the uniform z into the Gaussian exactly (its ends, at infinity, are cut off).
LineFunction generator_of(const Gaussian& gaussian) {
  return pointwise([gaussian](double z) { return quantile(gaussian, std::clamp((z + 1) / 2, 1e-6, 1 - 1e-6)); });
}

constexpr Gaussian data{1, 0.5};

TEST(Gaussian, HasTheDensityAndTheCumulativeDistribution) {
  EXPECT_NEAR(data.density(1), 0.7978845608, 1e-9);
  EXPECT_NEAR(data.density(1.5), 0.4839414490, 1e-9);
  EXPECT_NEAR(data.cumulative(1), 0.5, 1e-12);
  EXPECT_NEAR(data.cumulative(1.5), 0.8413447461, 1e-9);
  EXPECT_NEAR(data.cumulative(0), 0.0227501319, 1e-9);
}

TEST(LineFigures, AreZeroAtThePerfectEnd) {
  const LineMeasurement m = measure_line(data, generator_of(data), pointwise([](double) { return 0.5; }));
  EXPECT_LT(m.figures.ks, 3e-4);
  EXPECT_LT(m.figures.d_from_optimum, 5e-3);
  EXPECT_EQ(m.figures.d_from_half, 0);
}

TEST(LineFigures, MeasureAConstantDiscriminator) {
  const LineMeasurement m = measure_line(data, generator_of(data), pointwise([](double) { return 0.7; }));
  EXPECT_NEAR(m.figures.d_from_half, 0.2, 1e-12);
  EXPECT_NEAR(m.figures.d_from_optimum, 0.2, 5e-3);
}

// Two Gaussians of one deviation, `shift` deviations apart: sup |F - G| = 2 Phi(shift / 2) - 1, half way between them.
TEST(LineFigures, KolmogorovSmirnovOfAShiftIsTheClosedForm) {
  for (const double shift : {-2.0, -0.5, 0.1, 1.0, 3.0}) {
    const Gaussian moved{data.mean + shift * data.deviation, data.deviation};
    const LineMeasurement m = measure_line(data, generator_of(moved), pointwise([](double) { return 0.5; }));
    EXPECT_NEAR(m.figures.ks, std::erf(std::abs(shift) / 2 / std::sqrt(2.0)), 3e-4) << shift;
  }
}

TEST(LineFigures, KolmogorovSmirnovOfAPointIsTheLargerSide) {
  for (const double point : {1.0, 1.5, -1.0}) {
    const LineMeasurement m =
        measure_line(data, pointwise([&](double) { return point; }), pointwise([](double) { return 0.5; }));
    const double below = data.cumulative(point);
    EXPECT_NEAR(m.figures.ks, std::max(below, 1 - below), 1e-9) << point;
  }
}

TEST(LineFigures, OptimalDiscriminatorIsTheShareOfTheData) {
  const Gaussian moved{0.25, 0.4};
  const auto optimum = [&](double x) { return data.density(x) / (data.density(x) + moved.density(x)); };
  const LineMeasurement m = measure_line(data, generator_of(moved), pointwise(optimum));
  EXPECT_LT(m.figures.d_from_optimum, 5e-3);
  double mass = 0;
  for (std::size_t i = 0; i < m.x.size(); ++i) {
    mass += m.p_g[i] * (m.x[1] - m.x[0]);
    EXPECT_NEAR(m.p_data[i], data.density(m.x[i]), 1e-12);
    if (std::abs(m.x[i] - moved.mean) > 3 * moved.deviation) continue;  // beyond, few latents fall into a cell
    EXPECT_NEAR(m.p_g[i], moved.density(m.x[i]), 0.02 * moved.density(moved.mean)) << m.x[i];
    EXPECT_NEAR(m.d_star[i], optimum(m.x[i]), 0.02) << m.x[i];
  }
  EXPECT_NEAR(mass, 1, 1e-6);
  // The other way round it is far off: |D - D*| weighs (p_data + p_g) / 2.
  const LineMeasurement wrong = measure_line(data, generator_of(moved), pointwise([&](double x) { return 1 - optimum(x); }));
  double expected = 0;
  for (const double x : m.x)
    expected += (m.x[1] - m.x[0]) * (data.density(x) + moved.density(x)) / 2 * std::abs(1 - 2 * optimum(x));
  EXPECT_NEAR(wrong.figures.d_from_optimum, expected, 5e-3);
}

nlohmann::json short_run(int steps) {
  nlohmann::json configuration = parse_json(models::ready_configuration("gaussian1d"), "gaussian1d");
  configuration["train"].update({{"batch", 64},
                                 {"steps", steps},
                                 {"head_start", 8},
                                 {"sample_every", 8},
                                 {"checkpoint_every", 16},
                                 {"keep_last", 4},
                                 {"log_every", 8}});
  return configuration;
}

TEST(Gaussian1d, DrawsTheSameStagesWhenResumed) {
  const testing::Folder folder;
  const fs::path whole = folder / "whole", parts = folder / "parts", lost = folder / "lost";
  ASSERT_EQ((testing::Train{short_run(40), whole}()), 0);
  const auto expected = testing::contents(whole / "samples");
  ASSERT_TRUE(expected.contains("stages.json"));
  ASSERT_TRUE(expected.contains("strip.png"));
  const auto stages = nlohmann::json::parse(expected.at("stages.json"));
  ASSERT_EQ(stages.size(), 6u);
  for (std::size_t i = 0; i < stages.size(); ++i) EXPECT_EQ(stages[i].at("step"), 8 * i);
  EXPECT_NE(stages[0].at("ks"), stages[5].at("ks"));

  ASSERT_EQ((testing::Train{short_run(16), parts}()), 0);
  EXPECT_NE(testing::contents(parts / "samples"), expected);
  ASSERT_EQ((testing::Train{.configuration = short_run(40), .out = parts, .resume = true}()), 0);
  EXPECT_EQ(testing::contents(parts / "samples"), expected);

  // Stages that were drawn after the checkpoint are drawn again, once.
  fs::copy(whole, lost, fs::copy_options::recursive);
  for (const char* step : {"32", "40"}) fs::remove(lost / fmt::format("checkpoints/step_000000{}.safetensors", step));
  ASSERT_EQ((testing::Train{.configuration = short_run(40), .out = lost, .resume = true}()), 0);
  EXPECT_EQ(testing::contents(lost / "samples"), expected);
}

}  // namespace
}  // namespace gannet
