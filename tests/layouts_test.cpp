// Whole training steps with the backend's own layouts against the reference backend, where everything is plain: a wrong
// layout, alias or update in place anywhere between two steps moves some variable elsewhere.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "engine/train/checkpoint.h"
#include "engine/train/step.h"
#include "models/models.h"
#include "tests/worst.h"

namespace gannet {
namespace {

using nlohmann::json;
using testing::Worst;

Config small_configuration(const std::string& family, const std::string& precision) {
  json configuration = parse_json(models::ready_configuration(family), family);
  configuration["model"].update(
      {{"image_size", 32}, {"latent", 16}, {"generator_features", 16}, {"discriminator_features", 16}});
  configuration["train"].update({{"batch", 4}, {"ema", 0.9}, {"precision", precision}});
  if (family == "wgan_gp") configuration["train"]["n_critic"] = 2;
  return Config(configuration, all_keys(models::family(family).keys));
}

// The same pictures for every backend, others for every run.
void feed_pictures(Program& program, std::int64_t run) {
  if (!program.has_input("real")) return;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(program.input_type("real").shape.elements()));
  std::uint32_t number = 12345 + static_cast<std::uint32_t>(run);
  for (std::uint8_t& pixel : pixels) {
    number = number * 1664525 + 1013904223;
    pixel = static_cast<std::uint8_t>(number >> 24);
  }
  program.write("real", pixels.data(), pixels.size());
}

struct Trained {
  std::map<std::string, std::vector<float>> start, end;
  std::map<std::string, double> figures;
  int variables_in_layouts = 0;
};

Trained train_steps(const Config& config, kernels::Backend& backend, int steps) {
  Step step(models::family(config.text("model.family")), config, backend, false);
  start_averages(step.state());
  Trained trained;
  for (const Variable& variable : step.state().variables()) {
    trained.start[variable.name] = step.state().get(variable.name);
    trained.variables_in_layouts += step.state().desc(variable.name).layout != Layout::plain;
  }
  for (int i = 0; i < steps; ++i) step.run(i, feed_pictures);
  for (const Variable& variable : step.state().variables()) trained.end[variable.name] = step.state().get(variable.name);
  for (const Figure& figure : step.figures()) trained.figures[figure.name] = figure.value;
  return trained;
}

// |a - b| over |b|, of vectors; infinite where anything is not finite, or where b is zero and a is not.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double delta = static_cast<double>(a.at(i)) - b[i];
    difference += delta * delta;
    size += static_cast<double>(b[i]) * b[i];
  }
  const double ratio = difference == 0 ? 0 : std::sqrt(difference / size);
  return std::isfinite(ratio) ? ratio : HUGE_VAL;
}

std::vector<float> moved(const Trained& trained, const std::string& name) {
  std::vector<float> movement = trained.end.at(name);
  for (std::size_t i = 0; i < movement.size(); ++i) movement[i] -= trained.start.at(name).at(i);
  return movement;
}

class Layouts : public ::testing::TestWithParam<const char*> {};

TEST_P(Layouts, TrainLikeTheReference) {
  const Config config = small_configuration(GetParam(), "fp32");
  const auto cpu = kernels::make_cpu_backend(), reference = kernels::make_reference_backend();
  const Trained ours = train_steps(config, *cpu, 3), expected = train_steps(config, *reference, 3);
  ASSERT_EQ(ours.end.size(), expected.end.size());
  EXPECT_EQ(expected.variables_in_layouts, 0);
  Worst start, value, movement;
  int still = 0;
  for (const auto& [name, values] : expected.end) {
    ASSERT_EQ(ours.end.at(name).size(), values.size()) << name;
    start.join(distance(ours.start.at(name), expected.start.at(name)), name);
    value.join(distance(ours.end.at(name), values), name);
    movement.join(distance(moved(ours, name), moved(expected, name)), name);
    still += distance(expected.start.at(name), values) == 0;
  }
  fmt::print("{} on {}: {} variables ({} not plain): start within {:.1e} ({}), end {:.1e} ({}), movement {:.1e} ({})\n",
             GetParam(), cpu->name(), ours.end.size(), ours.variables_in_layouts, start.difference, start.where,
             value.difference, value.where, movement.difference, movement.where);
  EXPECT_EQ(still, 0) << "every variable moves, or the comparison says nothing of it";
  EXPECT_LE(start.difference, 1e-5);
  EXPECT_LE(value.difference, 1e-3);
  EXPECT_LE(movement.difference, 1e-2);
  for (const auto& [name, figure] : expected.figures)
    EXPECT_NEAR(ours.figures.at(name), figure, 1e-4 * std::max(1.0, std::abs(figure))) << name;
}

TEST_P(Layouts, TrainInBf16AboutLikeTheReference) {
  const auto cpu = kernels::make_cpu_backend(), reference = kernels::make_reference_backend();
  if (!cpu->supports(DType::bf16)) GTEST_SKIP() << cpu->name() << " has no bf16 arithmetic";
  const Trained ours = train_steps(small_configuration(GetParam(), "bf16"), *cpu, 3);
  const Trained expected = train_steps(small_configuration(GetParam(), "fp32"), *reference, 3);
  ASSERT_EQ(ours.end.size(), expected.end.size());
  Worst value, moment;
  for (const auto& [name, values] : expected.end) {
    const double at = distance(ours.end.at(name), values);
    (name.starts_with("optimizer.") ? moment : value).join(at, name);
  }
  Worst figures;
  for (const auto& [name, figure] : expected.figures)
    figures.join(std::abs(ours.figures.at(name) - figure) / std::max(0.1, std::abs(figure)), name);
  fmt::print("{} in bf16 on {}: figures within {:.1e} ({}), variables {:.1e} ({}), moments {:.1e} ({})\n", GetParam(),
             cpu->name(), figures.difference, figures.where, value.difference, value.where, moment.difference, moment.where);
  EXPECT_LE(figures.difference, 0.05);
  // Adam makes whole steps of gradients whose sign rounding changed. Elements in wrong places would be at a distance of 1 or
  // more.
  EXPECT_LE(value.difference, 0.6);
  EXPECT_LE(moment.difference, 0.6);
}

INSTANTIATE_TEST_SUITE_P(Models, Layouts, ::testing::Values("dcgan", "wgan_gp"), [](const auto& info) { return info.param; });

// Planning alone: pictures change their layout where they come in and go out of the convolutions' chain, and nowhere between.
TEST(LayoutPlan, ReordersPicturesAtTheDoorsAlone) {
  const auto backend = kernels::make_cpu_backend();
  const Family& family = models::family("dcgan");
  Step step(family, Config(parse_json(models::ready_configuration("dcgan"), "dcgan"), all_keys(family.keys)), *backend, false);
  int reorders = 0;
  for (const Step::Part& part : step.parts()) reorders += part.program.report().picture_reorders;
  fmt::print("dcgan on {}: {} picture reorders a step\n", backend->name(), reorders);
  EXPECT_LE(reorders, 5);
}

}  // namespace
}  // namespace gannet
