// Whole trainings on the CUDA backend, judged by PyTorch's goldens and by the CPU backend; on a device or under gannet-sim.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>

#include "engine/data/safetensors.h"
#include "engine/train/run_folder.h"
#include "kernels/cuda/backend.h"
#include "tests/goldens.h"
#include "tests/training.h"
#include "tests/worst.h"

namespace gannet::tests {
namespace {

namespace fs = std::filesystem;
using testing::Folder, testing::Worst;

void train_on(kernels::Backend& backend, const testing::Train& train) {
  StopSignal stop;
  EXPECT_EQ(train(stop, backend), 0);
}

std::vector<nlohmann::json> metrics_of(const fs::path& run) {
  std::ifstream file(run / "metrics.jsonl");
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// Relative difference of every figure of every step.
Worst compare_figures(const fs::path& run, const fs::path& expected) {
  const auto ours = metrics_of(run), theirs = metrics_of(expected);
  EXPECT_EQ(ours.size(), theirs.size());
  Worst worst;
  for (std::size_t step = 0; step < theirs.size(); ++step)
    for (const auto& [name, value] : theirs[step].items()) {
      if (name == "images_per_s") continue;
      const double a = ours.at(step).at(name).get<double>(), b = value.get<double>();
      worst.join(std::abs(a - b) / std::max(std::abs(b), 1e-3), fmt::format("{} of step {}: {} for {}", name, step + 1, a, b));
    }
  return worst;
}

// Of every tensor of the newest checkpoint: the largest difference over the tensor's largest value.
Worst compare_checkpoints(const fs::path& run, const fs::path& expected) {
  const SafetensorsFile ours(find_checkpoint(run)), theirs(find_checkpoint(expected));
  EXPECT_EQ(ours.names(), theirs.names());
  Worst worst;
  for (const std::string& name : theirs.names()) {
    const std::vector<float> a = ours.values(name), b = theirs.values(name);
    double difference = 0, largest = 1e-6;
    for (std::size_t i = 0; i < b.size(); ++i) {
      difference = std::max(difference, std::abs(static_cast<double>(a.at(i)) - b[i]));
      largest = std::max(largest, std::abs(static_cast<double>(b[i])));
    }
    worst.join(difference / largest, name);
  }
  return worst;
}

// Trains on both and compares.
void expect_as_cpu(nlohmann::json configuration, double figures, double weights) {
  const Folder folder;
  testing::write_dataset(folder / "data.safetensors");
  if (configuration["data"].contains("file")) configuration["data"]["file"] = (folder / "data.safetensors").string();
  const bool tf32 = configuration["train"].value("precision", "fp32") == "tf32";
  train_on(*kernels::make_cuda_backend({.tf32 = tf32}), {configuration, folder / "cuda"});
  if (configuration["train"].value("precision", "fp32") != "fp32") configuration["train"]["precision"] = "fp32";
  train_on(*kernels::make_cpu_backend(), {configuration, folder / "cpu"});
  const Worst figure = compare_figures(folder / "cuda", folder / "cpu");
  const Worst weight = compare_checkpoints(folder / "cuda", folder / "cpu");
  fmt::print("figures within {:.1e} ({}), weights within {:.1e} ({})\n", figure.difference, figure.where, weight.difference,
             weight.where);
  EXPECT_LE(figure.difference, figures);
  EXPECT_LE(weight.difference, weights);
}

class CudaGoldens : public ::testing::TestWithParam<Golden> {};
TEST_P(CudaGoldens, EqualPyTorch) { expect_golden(GetParam(), *kernels::make_cuda_backend()); }
INSTANTIATE_TEST_SUITE_P(Models, CudaGoldens, ::testing::ValuesIn(all_goldens),
                         [](const auto& info) { return info.param.family + "_" + info.param.name; });

TEST(CudaModels, DcganFollowsTheCpuFor100Steps) { expect_as_cpu(testing::tiny("dcgan", "data", 100), 1e-3, 1e-3); }

// Plain gradients: Adam's first step would show no more of them than their signs.
void descend_plainly(nlohmann::json& configuration) {
  for (const char* player : {"generator_optimizer", "discriminator_optimizer"})
    configuration[player] = {{"kind", "sgd"}, {"learning_rate", 0.01}};
}

void write_noise(const fs::path& file, const Shape& shape) {
  std::mt19937 random(1);
  std::vector<std::uint8_t> images(static_cast<std::size_t>(shape.elements()));
  std::generate(images.begin(), images.end(), [&] { return static_cast<std::uint8_t>(random()); });
  write_safetensors(file, {{"images", {DType::u8, shape, std::as_bytes(std::span(images))}}});
}

// As the paper's, at a batch of 16: 64x64 pictures, 64 features.
TEST(CudaModels, AWholeStepOfDcgan64) {
  const Folder folder;
  write_noise(folder / "data.safetensors", {16, 64, 64, 3});
  nlohmann::json configuration = testing::tiny("dcgan", folder / "data.safetensors", 1);
  configuration["model"].update(
      {{"image_size", 64}, {"channels", 3}, {"latent", 100}, {"generator_features", 64}, {"discriminator_features", 64}});
  configuration["train"]["batch"] = 16;
  descend_plainly(configuration);
  train_on(*kernels::make_cuda_backend(), {configuration, folder / "cuda"});
  train_on(*kernels::make_cpu_backend(), {configuration, folder / "cpu"});
  const Worst figure = compare_figures(folder / "cuda", folder / "cpu");
  const Worst weight = compare_checkpoints(folder / "cuda", folder / "cpu");
  fmt::print("figures within {:.1e} ({}), weights within {:.1e} ({})\n", figure.difference, figure.where, weight.difference,
             weight.where);
  EXPECT_LE(figure.difference, 1e-4);
  EXPECT_LE(weight.difference, 1e-3);
}

TEST(CudaModels, LowerPrecisionStaysNear) {
  struct Bounds {
    const char* precision;
    double figures, weights;
  };
  for (const auto& [precision, figures, weights] : {Bounds{"tf32", 1e-3, 0.05}, {"bf16", 1e-2, 0.1}}) {
    nlohmann::json configuration = testing::tiny("dcgan", "data", 1);
    configuration["train"]["precision"] = precision;
    descend_plainly(configuration);
    expect_as_cpu(configuration, figures, weights);
  }
}

TEST(CudaModels, WganGpAsTheCpu) { expect_as_cpu(testing::tiny("wgan_gp", "data", 3), 1e-3, 1e-2); }

TEST(CudaModels, ResumesToTheBit) {
  const Folder folder;
  testing::write_dataset(folder / "data.safetensors");
  const auto backend = kernels::make_cuda_backend();
  for (const char* family : {"dcgan", "vanilla"}) {
    nlohmann::json configuration = testing::tiny(family, folder / "data.safetensors", 6);
    const fs::path whole = folder / (std::string(family) + ".whole"), parts = folder / (std::string(family) + ".parts");
    train_on(*backend, {configuration, whole});
    configuration["train"]["steps"] = 3;
    train_on(*backend, {configuration, parts});
    configuration["train"]["steps"] = 6;
    train_on(*backend, {.configuration = configuration, .out = parts, .resume = true});
    EXPECT_EQ(compare_checkpoints(parts, whole).difference, 0);
    EXPECT_EQ(compare_figures(parts, whole).difference, 0);
  }
}

// Seen a step late, and said as if it had not been.
TEST(CudaModels, NamesWhatIsNotFinite) {
  const Folder folder;
  write_noise(folder / "data.safetensors", {64, 16, 16, 1});
  nlohmann::json configuration = testing::tiny("vanilla", folder / "data.safetensors", 60);
  for (const char* player : {"generator_optimizer", "discriminator_optimizer"})
    configuration[player] = {{"kind", "sgd"}, {"learning_rate", 100}};
  const auto message = [&](kernels::Backend& backend, const fs::path& out) {
    return testing::runtime_error([&] {
      StopSignal stop;
      testing::Train{configuration, out}(stop, backend);
    });
  };
  const std::string cuda = message(*kernels::make_cuda_backend(), folder / "cuda");
  EXPECT_NE(cuda.find("not finite"), cuda.npos) << cuda;
  EXPECT_EQ(cuda.find("none when run again"), cuda.npos) << cuda;
  const std::string cpu = message(*kernels::make_cpu_backend(), folder / "cpu");  // may overflow a layer later
  EXPECT_EQ(cuda.substr(0, cuda.find("; the first tensor")), cpu.substr(0, cpu.find("; the first tensor")));
  EXPECT_EQ(metrics_of(folder / "cuda").size(), metrics_of(folder / "cpu").size());
}

}  // namespace
}  // namespace gannet::tests
