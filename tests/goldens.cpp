#include "tests/goldens.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include "engine/data/safetensors.h"
#include "engine/train/run_folder.h"
#include "engine/train/trainer.h"
#include "models/models.h"
#include "tests/worst.h"

namespace gannet::tests {
namespace {

namespace fs = std::filesystem;
using testing::Worst;

constexpr double scalar_tolerance = 1e-4, weight_tolerance = 1e-3;

const fs::path goldens = GOLDENS;

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

}  // namespace

void expect_golden(const Golden& golden, kernels::Backend& backend) {
  const SafetensorsFile expected(goldens / fmt::format("{}.{}.expected.safetensors", golden.family, golden.name));
  const fs::path run = reproduce(golden, expected, backend);
  int tensors = 0;
  const Worst scalar = compare_scalars(run, expected);
  const Worst weight = compare_weights(SafetensorsFile(find_checkpoint(run)), expected, tensors);
  fmt::print("{} {} on {}: scalars within {:.1e} ({}), {} weight tensors within {:.1e} ({})\n", golden.family, golden.name,
             backend.name(), scalar.difference, scalar.where, tensors, weight.difference, weight.where);
  EXPECT_LE(scalar.difference, scalar_tolerance);
  EXPECT_LE(weight.difference, weight_tolerance);
  fs::remove_all(run);
}

}  // namespace gannet::tests
