// What several ranks add to a program - buckets, reductions beside other kernels, updates by bucket, batch norm over all ranks
// - with ranks that all see the same samples: each trains what one rank trains alone.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>

#include "engine/parallel/communicator.h"
#include "engine/train/checkpoint.h"
#include "engine/train/model.h"
#include "models/models.h"

namespace gannet {
namespace {

using nlohmann::json;

constexpr int ranks = 2;
constexpr std::int64_t samples = 4;  // of a rank

// What happens, in order: "run 3", "await 3".
using Events = std::vector<std::string>;

// The reduction of equal tensors, done when it is waited for and not before. Until then its result is not a number, and nobody
// may write to what it reads.
class Late final : public kernels::Kernel {
 public:
  Late(const kernels::AllReduce& spec, int number, Events& events) : number_(number), events_(events) {
    EXPECT_EQ(spec.tensors.size(), 1u) << "not a bucket";
    EXPECT_EQ(spec.tensors[0].type, DType::f32);
    factor_ = spec.combine == kernels::AllReduce::Combine::sum ? ranks : 1;
    given_.resize(static_cast<std::size_t>(spec.tensors[0].elements()));
  }

  void run(const kernels::Arguments& arguments) override {
    events_.push_back("run " + std::to_string(number_));
    input_ = static_cast<const float*>(arguments.inputs[0]);
    output_ = static_cast<float*>(arguments.outputs[0]);
    std::memcpy(given_.data(), input_, given_.size() * sizeof(float));
    std::fill_n(output_, given_.size(), std::numeric_limits<float>::quiet_NaN());
  }
  void await() override {
    events_.push_back("await " + std::to_string(number_));
    if (input_ == nullptr) return;
    if (input_ != output_) {
      EXPECT_EQ(std::memcmp(input_, given_.data(), given_.size() * sizeof(float)), 0) << "overwritten meanwhile";
    }
    for (std::size_t i = 0; i < given_.size(); ++i) output_[i] = factor_ * given_[i];
    input_ = nullptr;
  }

 private:
  int number_;
  Events& events_;
  float factor_;
  std::vector<float> given_;
  const float* input_ = nullptr;
  float* output_ = nullptr;
};

class AllAlike final : public Communicator {
 public:
  std::string name() const override { return "ranks that are all alike"; }
  std::unique_ptr<kernels::Kernel> create(const kernels::AllReduce& spec) override {
    return std::make_unique<Late>(spec, made_++, events);
  }
  Events events;

 private:
  int made_ = 0;
};

Config configuration(const std::string& family, bool sync_batch_norm, int ranks_of_it) {
  json given = parse_json(models::ready_configuration(family), family);
  given["model"].update({{"image_size", 16}, {"latent", 8}, {"generator_features", 16}, {"discriminator_features", 16}});
  given["train"].update({{"batch", samples * ranks_of_it}, {"ema", 0.9}, {"sync_batch_norm", sync_batch_norm}});
  if (family == "wgan_gp") given["train"]["n_critic"] = 2;
  return Config(given, all_keys(models::family(family).keys));
}

struct Trained {
  std::map<std::string, std::vector<float>> variables;
  std::vector<std::string> plans;  // of each program
  std::vector<PlanReport> reports;
  std::size_t gradient_bytes = 0;  // of all programs, each once
  Events events;                   // of the last run of the last program
};

// Three steps. communicator: null for one rank alone.
Trained train(const std::string& family, bool sync_batch_norm, AllAlike* communicator, std::size_t bucket_bytes) {
  const int size = communicator == nullptr ? 1 : ranks;
  const Config config = configuration(family, sync_batch_norm, size);
  const auto backend = kernels::make_cpu_backend(2);
  State state(*backend, 1);
  const Model model = models::family(family).trace(config, {.replay = false, .rank = 0, .ranks = size});
  std::vector<Program> programs;
  for (const Phase& phase : model.phases)
    programs.emplace_back(*phase.graph, state,
                          PlanOptions{.guard_bytes = 64, .communicator = communicator, .bucket_bytes = bucket_bytes});
  start_averages(state);
  Trained trained;
  for (std::int32_t run = 0; run < 3; ++run) {
    for (Program& program : programs) {
      for (const std::string& input : program.inputs()) {
        const float rate = 1e-3f;
        if (input == "step") program.write(input, &run, sizeof(run));
        if (input.starts_with("learning_rate")) program.write(input, &rate, sizeof(rate));
        if (input != "real") continue;
        std::vector<std::uint8_t> pixels(static_cast<std::size_t>(program.input_type(input).shape.elements()));
        for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37 + i / 11 + 5 * run);
        program.write(input, pixels.data(), pixels.size());
      }
      if (communicator != nullptr) communicator->events.clear();
      program.run();
      EXPECT_TRUE(program.guards_intact());
    }
  }
  for (const Variable& variable : state.variables()) trained.variables[variable.name] = state.get(variable.name);
  for (const Program& program : programs) {
    trained.plans.push_back(program.describe());
    trained.reports.push_back(program.report());
  }
  for (const auto* names : {&model.generator_parameters, &model.discriminator_parameters})
    for (const std::string& name : *names) trained.gradient_bytes += trained.variables.at(name).size() * sizeof(float);
  if (communicator != nullptr) trained.events = communicator->events;
  return trained;
}

class Reductions : public ::testing::TestWithParam<const char*> {};

TEST_P(Reductions, EqualRanksTrainWhatOneTrains) {
  const Trained alone = train(GetParam(), false, nullptr, 0);
  for (const std::size_t bucket : {std::size_t{1}, std::size_t{8} << 10, std::size_t{1} << 30}) {
    AllAlike communicator;
    const Trained together = train(GetParam(), false, &communicator, bucket);
    EXPECT_EQ(together.variables, alone.variables) << "in buckets of " << bucket;
  }
}

TEST_P(Reductions, GradientsAreReducedOnce) {
  AllAlike communicator;
  const Trained together = train(GetParam(), false, &communicator, std::size_t{8} << 10);
  std::size_t reduced = 0;
  for (const PlanReport& report : together.reports)
    reduced = std::reduce(report.reductions.begin(), report.reductions.end(), reduced);
  EXPECT_GE(reduced, together.gradient_bytes);
  EXPECT_LE(reduced, together.gradient_bytes + 64 * 40) << "more than what aligns them";
}

// Each bucket but a network's last is under way before its last weight gradient is made, and its update waits for it alone.
TEST_P(Reductions, BucketsAreUnderWayDuringTheBackwardPass) {
  AllAlike communicator;
  const Trained together = train(GetParam(), false, &communicator, std::size_t{8} << 10);
  for (const std::string& plan : together.plans) {
    std::vector<std::size_t> reductions, updates, gradients;
    for (std::size_t at = 0, line = 0; at < plan.size(); at = plan.find('\n', at) + 1, ++line) {
      const std::string_view text = std::string_view(plan).substr(at, plan.find('\n', at) - at);
      if (text.starts_with("all reduce")) reductions.push_back(line);
      if (text.starts_with("adam update")) updates.push_back(line);
      if (text.find("wgrad") != text.npos || text.find("backward") != text.npos) gradients.push_back(line);
      if (at + text.size() + 1 >= plan.size()) break;
    }
    ASSERT_GE(reductions.size(), 2u) << plan;
    ASSERT_EQ(updates.size(), reductions.size()) << plan;
    // Of each player: its reductions lie between the updates of the player before and its own.
    std::size_t begin = 0;
    for (std::size_t i = 0; i < reductions.size(); ++i) {
      const bool last_of_player = i + 1 == reductions.size() || reductions[i + 1] > updates[i];
      if (!last_of_player) continue;
      const std::size_t first_update = updates[begin];
      std::size_t last_gradient = 0;
      for (std::size_t line : gradients)
        if (line < first_update) last_gradient = std::max(last_gradient, line);
      for (std::size_t k = begin; k < i; ++k) EXPECT_LT(reductions[k], last_gradient) << plan;
      begin = i + 1;
    }
  }
  // All of the last player's are under way before the first is waited for, in the order of the updates.
  const auto waited = std::find_if(together.events.begin(), together.events.end(),
                                   [](const std::string& event) { return event.starts_with("await"); });
  ASSERT_GE(waited - together.events.begin(), 2);
}

TEST_P(Reductions, BatchNormOverAllRanksIsThatOfOne) {
  const Trained alone = train(GetParam(), false, nullptr, 0);
  AllAlike communicator;
  const Trained together = train(GetParam(), true, &communicator, std::size_t{8} << 10);
  ASSERT_EQ(together.variables.size(), alone.variables.size());
  for (const auto& [name, values] : alone.variables) {
    const std::vector<float>& others = together.variables.at(name);
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      largest = std::max<double>(largest, std::abs(values[i]));
      difference = std::max<double>(difference, std::abs(values[i] - others[i]));
    }
    // The unbiased variance of twice as many values is another.
    const double allowed = name.ends_with("running_var") ? 0.02 : name.ends_with("exp_avg_sq") ? 1e-3 : 2e-4;
    EXPECT_LE(difference, allowed * largest) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Reductions, ::testing::Values("dcgan", "wgan_gp"));

}  // namespace
}  // namespace gannet
