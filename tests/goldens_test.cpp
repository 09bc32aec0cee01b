// Gannet against PyTorch: the same weights and inputs, 20 steps through the trainer, number by number (tests/goldens).
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "engine/data/safetensors.h"
#include "engine/train/run_folder.h"
#include "engine/train/trainer.h"
#include "models/models.h"
#include "tests/worst.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;
using testing::Worst;

constexpr double scalar_tolerance = 1e-4, weight_tolerance = 1e-3;

struct Golden {
  std::string family, name;
};

const fs::path goldens = GOLDENS;

// Trains as `gannet train CONFIG --init --replay` does.
fs::path reproduce(const Golden& golden, const SafetensorsFile& expected, kernels::Backend& backend) {
  const fs::path out = fs::path(::testing::TempDir()) / fmt::format("goldens_{}_{}_{}", golden.family, golden.name,
                                                                    backend.name().substr(0, backend.name().find(' ')));
  fs::remove_all(out);
  const Family& family = models::family(golden.family);
  TrainOptions options{
      family, Config(parse_json(expected.metadata().at("config"), "config"), all_keys(family.keys)), out, {}, {}};
  options.init = goldens / (golden.family + ".init.safetensors");
  options.replay = goldens / (golden.family + ".replay.safetensors");
  options.terminal = nullptr;
  StopSignal stop;
  EXPECT_EQ(train(options, backend, stop), 0);
  return out;
}

Worst compare_scalars(const fs::path& run, const SafetensorsFile& expected) {
  Worst worst;
  std::ifstream metrics(run / "metrics.jsonl");
  std::size_t step = 0;
  for (std::string line; std::getline(metrics, line); ++step) {
    const auto figures = nlohmann::json::parse(line);
    for (const std::string name : {"loss_d", "loss_g", "d_real", "d_fake"}) {
      const double ours = figures.at(name).get<double>(), theirs = expected.values(name).at(step);
      worst.join(std::abs(ours - theirs) / std::abs(theirs),
                 fmt::format("{} of step {}: {} for {}", name, step + 1, ours, theirs));
    }
  }
  EXPECT_EQ(step, expected.values("loss_d").size());
  return worst;
}

// Of a tensor: the largest absolute difference over the largest absolute value.
Worst compare_weights(const SafetensorsFile& ours, const SafetensorsFile& expected, int& tensors) {
  Worst worst;
  for (const std::string& name : expected.names()) {
    if (name.find('.') == name.npos) continue;  // a scalar
    ++tensors;
    EXPECT_EQ(ours.entries().find(name)->second.shape, expected.entries().find(name)->second.shape) << name;
    const std::vector<float> a = ours.values(name), b = expected.values(name);
    Worst difference;
    double largest = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
      difference.join(std::abs(static_cast<double>(a.at(i)) - b[i]), "");
      largest = std::max(largest, std::abs(static_cast<double>(b[i])));
    }
    if (difference.difference > 0) worst.join(difference.difference / largest, name);
  }
  return worst;
}

TEST(Worst, KeepsWhatIsNotFinite) {
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    Worst worst;
    worst.join(0.5, "before");
    worst.join(bad, "bad");
    worst.join(0.25, "after");
    EXPECT_EQ(worst.difference, HUGE_VAL);
    EXPECT_EQ(worst.where, "bad");
  }
}

class Goldens : public ::testing::TestWithParam<std::tuple<Golden, bool>> {};

TEST_P(Goldens, EqualPyTorch) {
  const auto& [golden, reference] = GetParam();
  const auto backend = reference ? kernels::make_reference_backend() : kernels::make_cpu_backend();
  const SafetensorsFile expected(goldens / fmt::format("{}.{}.expected.safetensors", golden.family, golden.name));
  const fs::path run = reproduce(golden, expected, *backend);
  int tensors = 0;
  const Worst scalar = compare_scalars(run, expected);
  const Worst weight = compare_weights(SafetensorsFile(find_checkpoint(run)), expected, tensors);
  fmt::print("{} {} on {}: scalars within {:.1e} ({}), {} weight tensors within {:.1e} ({})\n", golden.family, golden.name,
             backend->name(), scalar.difference, scalar.where, tensors, weight.difference, weight.where);
  EXPECT_LE(scalar.difference, scalar_tolerance);
  EXPECT_LE(weight.difference, weight_tolerance);
  fs::remove_all(run);
}

const Golden all_goldens[] = {{"dcgan", "non_saturating"}, {"dcgan", "minimax"}, {"dcgan", "label_smoothing"},
                              {"vanilla", "sgd"},          {"vanilla", "adam"},  {"vanilla", "rmsprop"},
                              {"wgan_gp", "adam"}};

std::string name_of(const ::testing::TestParamInfo<std::tuple<Golden, bool>>& info) {
  const auto& [golden, reference] = info.param;
  return golden.family + "_" + golden.name + (reference ? "_reference" : "_cpu");
}

INSTANTIATE_TEST_SUITE_P(Models, Goldens, ::testing::Combine(::testing::ValuesIn(all_goldens), ::testing::Bool()), name_of);

}  // namespace
}  // namespace gannet
