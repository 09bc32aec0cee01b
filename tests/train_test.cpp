// Whole trainings: resuming bit for bit, stopping, refusing, warning, and what a run leaves behind.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <fstream>
#include <sstream>

#include "engine/data/image.h"
#include "engine/data/safetensors.h"
#include "engine/train/checkpoint.h"
#include "engine/train/run_folder.h"
#include "tests/training.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;
using testing::contents;
using testing::Folder;
using testing::input_error;
using testing::read_file;
using testing::runtime_error;
using testing::tiny;
using testing::Train;

class Training : public ::testing::Test {
 protected:
  void SetUp() override { testing::write_dataset(data); }

  Folder folder;
  fs::path data = folder / "data.safetensors";
};

std::string checkpoint_name(int step) { return fmt::format("checkpoints/step_{:08}.safetensors", step); }

std::vector<nlohmann::json> metrics_of(const fs::path& run) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

int occurrences(const std::string& text, const std::string& words) {
  int count = 0;
  for (auto at = text.find(words); at != text.npos; at = text.find(words, at + 1)) ++count;
  return count;
}

class Resume : public Training, public ::testing::WithParamInterface<const char*> {};

TEST_P(Resume, GivesTheSameBytes) {
  const std::string family = GetParam();
  nlohmann::json whole = tiny(family, data, 12), half = tiny(family, data, 6);
  for (auto* configuration : {&whole, &half}) {
    (*configuration)["train"]["ema"] = 0.9;
    (*configuration)["data"]["flip"] = true;
  }
  ASSERT_EQ((Train{whole, folder / "whole"}()), 0);
  ASSERT_EQ((Train{half, folder / "parts"}()), 0);
  ASSERT_NE(read_file(folder / "parts" / checkpoint_name(6)), read_file(folder / "whole" / checkpoint_name(12)));
  ASSERT_EQ((Train{.configuration = whole, .out = folder / "parts", .resume = true}()), 0);
  EXPECT_EQ(read_file(folder / "parts" / checkpoint_name(12)), read_file(folder / "whole" / checkpoint_name(12)));
  EXPECT_EQ(read_file(folder / "parts/samples/step_00000012.png"), read_file(folder / "whole/samples/step_00000012.png"));

  const auto of_whole = metrics_of(folder / "whole"), of_parts = metrics_of(folder / "parts");
  ASSERT_EQ(of_whole.size(), 12u);
  ASSERT_EQ(of_parts.size(), 12u);
  for (std::size_t i = 0; i < of_whole.size(); ++i) {
    EXPECT_EQ(of_parts[i]["step"], i + 1);
    for (const char* figure : {"loss_d", "loss_g", "d_real", "d_fake"})
      EXPECT_EQ(of_parts[i][figure], of_whole[i][figure]) << figure;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Resume, ::testing::Values("dcgan", "wgan_gp", "vanilla"),
                         [](const auto& info) { return info.param; });

// A run that was killed after step 9 has metrics of steps that it will make again.
TEST_F(Training, ResumesFromTheNewestCheckpointAndDropsWhatFollowsIt) {
  nlohmann::json configuration = tiny("dcgan", data, 9);
  configuration["train"]["checkpoint_every"] = 6;
  const fs::path run = folder / "run";
  ASSERT_EQ((Train{configuration, run}()), 0);
  const std::string uninterrupted = read_file(run / checkpoint_name(9));
  fs::remove(run / checkpoint_name(9));
  testing::write_file(run / "checkpoints/.step_00000009.safetensors.partial", "half a checkpoint");
  testing::write_file(run / "metrics.jsonl", read_file(run / "metrics.jsonl") + "{\"step\":10,\"lo");
  ASSERT_EQ((Train{.configuration = configuration, .out = run, .resume = true}()), 0);
  EXPECT_EQ(read_file(run / checkpoint_name(9)), uninterrupted);
  EXPECT_FALSE(fs::exists(run / "checkpoints/.step_00000009.safetensors.partial"));
  const auto metrics = metrics_of(run);
  ASSERT_EQ(metrics.size(), 9u);
  for (std::size_t i = 0; i < metrics.size(); ++i) EXPECT_EQ(metrics[i]["step"], i + 1);
}

TEST_F(Training, LeavesACompleteRunFolder) {
  nlohmann::json configuration = tiny("dcgan", data, 7);
  configuration["train"].update({{"sample_every", 3}, {"checkpoint_every", 2}, {"keep_last", 2}});
  const fs::path run = folder / "run";
  ASSERT_EQ((Train{configuration, run}()), 0);
  for (const char* file : {"config.json", "log.txt", "samples/step_00000000.png", "samples/step_00000003.png",
                           "samples/step_00000006.png", "samples/step_00000007.png"})
    EXPECT_TRUE(fs::exists(run / file)) << file;
  const auto checkpoints = checkpoints_of(run);
  ASSERT_EQ(checkpoints.size(), 2u);
  EXPECT_EQ(checkpoints[0].first, 6);
  EXPECT_EQ(checkpoints[1].first, 7);
  const std::string png = read_file(run / "samples/step_00000007.png");
  const Image grid = decode_image(std::as_bytes(std::span(png)));
  EXPECT_EQ(grid.width, 2 * 16 + 3 * 2) << "four samples, two a row, two pixels between and around";
  EXPECT_TRUE(run_configuration(run)["train"]["steps"] == 7);
}

TEST_F(Training, StopsAtASignalAndGoesOnAsIfNothingHadBeen) {
  const nlohmann::json configuration = tiny("dcgan", data, 8);
  ASSERT_EQ((Train{configuration, folder / "whole"}()), 0);
  ::signal(SIGHUP, SIG_DFL);  // whatever started the tests
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    const fs::path run = folder / fmt::format("stopped-{}", signal);
    {
      StopSignal stop;
      ASSERT_EQ(::kill(::getpid(), signal), 0);
      EXPECT_EQ((Train{configuration, run}(stop)), 128 + signal);
    }
    EXPECT_TRUE(fs::exists(run / checkpoint_name(1))) << "the step is finished and saved";
    EXPECT_EQ((Train{.configuration = configuration, .out = run, .resume = true}()), 0);
    EXPECT_EQ(read_file(run / checkpoint_name(8)), read_file(folder / "whole" / checkpoint_name(8)));
  }
}

// So does nohup start it.
TEST_F(Training, GoesOnAfterAHangUpThatIsIgnored) {
  ::signal(SIGHUP, SIG_IGN);
  StopSignal stop;
  ASSERT_EQ(::kill(::getpid(), SIGHUP), 0);
  EXPECT_EQ((Train{tiny("dcgan", data, 2), folder / "run"}(stop)), 0);
  ::signal(SIGHUP, SIG_DFL);
}

TEST_F(Training, StopsAtWhatIsNotFinite) {
  nlohmann::json configuration = tiny("vanilla", data, 4);
  configuration["generator_optimizer"]["kind"] = configuration["discriminator_optimizer"]["kind"] = "sgd";
  const fs::path run = folder / "run";
  ASSERT_EQ((Train{configuration, run}()), 0);
  const auto before = contents(run / "checkpoints");
  configuration["train"]["steps"] = 500;
  configuration["generator_optimizer"]["learning_rate"] = configuration["discriminator_optimizer"]["learning_rate"] = 100;
  const std::string message = runtime_error([&] { Train{.configuration = configuration, .out = run, .resume = true}(); });
  EXPECT_NE(message.find("not finite"), message.npos) << message;
  EXPECT_NE(read_file(run / "log.txt").find("error: " + message), std::string::npos);
  EXPECT_EQ(contents(run / "checkpoints"), before);
}

// A limit on the size of files does to a run what a full disk does.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
};

TEST_F(Training, AFullDiskLeavesEarlierCheckpointsWhole) {
  nlohmann::json configuration = tiny("dcgan", data, 4);
  const fs::path run = folder / "run";
  ASSERT_EQ((Train{configuration, run}()), 0);
  const auto before = contents(run / "checkpoints");
  configuration["train"].update({{"steps", 8}, {"checkpoint_every", 2}});
  const Train resume{.configuration = configuration, .out = run, .resume = true};
  {
    const FileSizeLimit limit(fs::file_size(run / checkpoint_name(4)) / 2);
    const std::string message = runtime_error([&] { resume(); });
    EXPECT_NE(message.find("step_00000006.safetensors"), message.npos) << message;
    EXPECT_NE(message.find("File too large"), message.npos) << message;
  }
  EXPECT_EQ(contents(run / "checkpoints"), before) << "nor is there half a file";
  EXPECT_EQ(resume(), 0) << "and with more space the run goes on";
  EXPECT_EQ(metrics_of(run).size(), 8u);
}

// Weights with one NaN: the first step must say where it is, before any optimizer has spread it.
TEST_F(Training, NamesTheTensorThatIsNotFinite) {
  const nlohmann::json configuration = tiny("dcgan", data, 3);
  ASSERT_EQ((Train{configuration, folder / "good"}()), 0);
  const SafetensorsFile good(folder / "good" / checkpoint_name(0));
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, TensorView> tensors;
  for (const std::string& name : good.names()) {
    if (!name.starts_with("generator.") && !name.starts_with("discriminator.")) continue;
    values[name] = good.values(name);
    if (name == "discriminator.main.2.weight") values[name][5] = std::numeric_limits<float>::quiet_NaN();
    tensors[name] = {DType::f32, good.tensor(name).shape, std::as_bytes(std::span(values[name]))};
  }
  write_safetensors(folder / "bad.safetensors", tensors);
  const std::string message = runtime_error(
      [&] { Train{.configuration = configuration, .out = folder / "run", .init = folder / "bad.safetensors"}(); });
  EXPECT_NE(message.find("step 1:"), message.npos) << message;
  EXPECT_NE(message.find("loss_d"), message.npos) << message;
  EXPECT_NE(message.find("the first tensor at fault: discriminator.main.2"), message.npos) << message;
  EXPECT_TRUE(metrics_of(folder / "run").empty()) << "a figure that is not finite is not JSON";
}

TEST_F(Training, WarnsOnceOfASaturatedDiscriminator) {
  nlohmann::json configuration = tiny("vanilla", data, 400);
  configuration["generator_optimizer"]["learning_rate"] = 0;
  configuration["discriminator_optimizer"]["learning_rate"] = 0.01;
  ASSERT_EQ((Train{configuration, folder / "run"}()), 0);
  EXPECT_EQ(occurrences(read_file(folder / "run/log.txt"), "warning: the discriminator is saturated"), 1);
}

TEST_F(Training, WarnsOnceOfACollapsedGenerator) {
  nlohmann::json configuration = tiny("vanilla", data, 1);
  ASSERT_EQ((Train{configuration, folder / "start"}()), 0);
  const SafetensorsFile start(folder / "start" / checkpoint_name(0));
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, TensorView> tensors;
  for (const std::string& name : start.names()) {
    if (!name.starts_with("generator.") && !name.starts_with("discriminator.")) continue;
    values[name] = start.values(name);
    if (name == "generator.main.0.weight") std::fill(values[name].begin(), values[name].end(), 0.0f);  // deaf to z
    tensors[name] = {DType::f32, start.tensor(name).shape, std::as_bytes(std::span(values[name]))};
  }
  write_safetensors(folder / "deaf.safetensors", tensors);
  configuration["train"]["steps"] = 250;
  configuration["generator_optimizer"]["learning_rate"] = 0;
  ASSERT_EQ((Train{.configuration = configuration, .out = folder / "run", .init = folder / "deaf.safetensors"}()), 0);
  EXPECT_EQ(occurrences(read_file(folder / "run/log.txt"), "warning: the generator has collapsed"), 1);
}

TEST_F(Training, InitTakesWeightsAndStartsAveragesFromThem) {
  nlohmann::json configuration = tiny("dcgan", data, 3);
  configuration["train"]["ema"] = 0.9;
  ASSERT_EQ((Train{configuration, folder / "first"}()), 0);
  const fs::path weights = folder / "first" / checkpoint_name(3);
  ASSERT_EQ((Train{.configuration = configuration, .out = folder / "second", .init = weights}()), 0);
  const SafetensorsFile source(weights), start(folder / "second" / checkpoint_name(0));
  for (const std::string& name : start.names()) {
    if (name.starts_with("optimizer.")) continue;
    const std::string origin = name.starts_with("ema.") ? name.substr(4) : name;
    EXPECT_EQ(start.values(name), source.values(origin)) << name;
  }
}

// Parameters are averaged; batch norm's running statistics, which are averages already, are the generator's own.
TEST_F(Training, AveragesParametersAndCopiesStatistics) {
  constexpr double decay = 0.9;
  for (const char* family : {"dcgan", "wgan_gp"}) {
    SCOPED_TRACE(family);
    nlohmann::json configuration = tiny(family, data, 2);
    configuration["train"].update({{"ema", decay}, {"checkpoint_every", 1}});
    const fs::path run = folder / family;
    ASSERT_EQ((Train{configuration, run}()), 0);
    const SafetensorsFile before(run / checkpoint_name(1)), after(run / checkpoint_name(2));
    int parameters = 0, statistics = 0;
    for (const std::string& name : after.names()) {
      if (!name.starts_with("ema.")) continue;
      const std::vector<float> average = after.values(name), present = after.values(name.substr(4)), old = before.values(name);
      if (name.find(".running_") != name.npos) {
        ++statistics;
        EXPECT_EQ(average, present) << name;
        EXPECT_NE(average, old) << name;
        continue;
      }
      ++parameters;
      for (std::size_t i = 0; i < average.size(); ++i)
        ASSERT_NEAR(average[i], decay * old[i] + (1 - decay) * present[i], 1e-6) << name << " " << i;
    }
    EXPECT_GT(parameters, 0);
    EXPECT_EQ(statistics % 2, 0);
    EXPECT_GT(statistics, 0);
  }
}

TEST_F(Training, RefusesAndChangesNothing) {
  const nlohmann::json configuration = tiny("dcgan", data, 3);
  const fs::path run = folder / "run";
  ASSERT_EQ((Train{configuration, run}()), 0);
  nlohmann::json wider = configuration, other_family = tiny("vanilla", data, 3), no_data = configuration, fewer = configuration;
  wider["model"]["generator_features"] = 16;
  no_data["data"]["file"] = "";
  fewer["train"]["steps"] = 2;
  nlohmann::json larger = configuration;
  larger["model"]["image_size"] = 32;
  const auto before = contents(run);
  const auto refusal = [&](const nlohmann::json& given, bool resume, const fs::path& out) {
    return input_error([&] { Train{.configuration = given, .out = out, .resume = resume}(); });
  };
  const fs::path none = folder / "none";
  EXPECT_NE(refusal(configuration, false, run).find("--resume"), std::string::npos);
  EXPECT_NE(refusal(wider, true, run).find("model.generator_features: 8, now 16"), std::string::npos);
  EXPECT_NE(refusal(other_family, true, run), "");
  EXPECT_NE(refusal(fewer, true, run).find("has made 3 steps already"), std::string::npos);
  EXPECT_NE(refusal(no_data, false, none).find("no data"), std::string::npos);
  EXPECT_NE(refusal(larger, false, none).find("pictures are 16x16 with 1 channels; the model needs 32x32"), std::string::npos);
  EXPECT_NE(refusal(configuration, true, none).find("no such run folder"), std::string::npos);
  EXPECT_EQ(contents(run), before);
  EXPECT_FALSE(fs::exists(none));
}

TEST_F(Training, RefusesACheckpointOfAnotherModel) {
  const nlohmann::json configuration = tiny("dcgan", data, 2);
  nlohmann::json wider = configuration;
  wider["model"]["generator_features"] = 16;
  ASSERT_EQ((Train{configuration, folder / "narrow"}()), 0);
  ASSERT_EQ((Train{wider, folder / "wide"}()), 0);
  fs::copy_file(folder / "wide" / checkpoint_name(2), folder / "narrow" / checkpoint_name(2),
                fs::copy_options::overwrite_existing);
  const std::string message =
      input_error([&] { Train{.configuration = configuration, .out = folder / "narrow", .resume = true}(); });
  EXPECT_NE(message.find("checkpoint of another model"), message.npos) << message;
  EXPECT_NE(message.find("generator.main.0.weight"), message.npos) << message;
  EXPECT_NE(message.find("F32 (8,32,4,4)"), message.npos) << message;
  EXPECT_NE(message.find("F32 (8,16,4,4)"), message.npos) << message;
}

TEST_F(Training, RefusesInitThatDoesNotFit) {
  const nlohmann::json configuration = tiny("dcgan", data, 2);
  ASSERT_EQ((Train{configuration, folder / "source"}()), 0);
  const SafetensorsFile source(folder / "source" / checkpoint_name(0));
  const std::vector<float> number(1);
  // What is changed in a file of weights that fits, and what the message must name.
  const auto refusal = [&](const std::function<void(std::map<std::string, TensorView>&)>& change) {
    std::map<std::string, TensorView> tensors;
    for (const std::string& name : source.names())
      if (name.starts_with("generator.") || name.starts_with("discriminator.")) tensors[name] = source.tensor(name);
    change(tensors);
    write_safetensors(folder / "init.safetensors", tensors);
    return input_error(
        [&] { Train{.configuration = configuration, .out = folder / "run", .init = folder / "init.safetensors"}(); });
  };
  const TensorView one{DType::f32, {1}, std::as_bytes(std::span(number))};
  EXPECT_NE(refusal([](auto& t) { t.erase("discriminator.main.2.weight"); }).find("no tensor 'discriminator.main.2.weight'"),
            std::string::npos);
  EXPECT_NE(refusal([&](auto& t) { t["generator.main.99.weight"] = one; }).find("'generator.main.99.weight'"),
            std::string::npos);
  EXPECT_NE(refusal([&](auto& t) { t["main.0.weight"] = one; }).find("'main.0.weight' belongs to no player"),
            std::string::npos);
  EXPECT_NE(refusal([&](auto& t) { t["generator.main.0.weight"] = one; }).find("'generator.main.0.weight' is F32 (1)"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "run"));
  EXPECT_EQ(refusal([](auto& t) { t.erase("generator.main.1.running_mean"); }), "") << "running statistics may be missing";
}

TEST_F(Training, ReplayRefusesWhatDoesNotFit) {
  const nlohmann::json configuration = tiny("dcgan", data, 2);
  const std::vector<float> real(3 * 8 * 16 * 16), z(3 * 8 * 8);
  const TensorView pictures{DType::f32, {3, 8, 1, 16, 16}, std::as_bytes(std::span(real))};
  const TensorView noise{DType::f32, {3, 8, 8}, std::as_bytes(std::span(z))};
  const auto refusal = [&](const std::map<std::string, TensorView>& tensors) {
    write_safetensors(folder / "replay.safetensors", tensors);
    return input_error(
        [&] { Train{.configuration = configuration, .out = folder / "run", .replay = folder / "replay.safetensors"}(); });
  };
  const auto part = [](const TensorView& tensor, const Shape& shape) {
    return TensorView{DType::f32, shape, tensor.data.first(static_cast<std::size_t>(shape.elements()) * 4)};
  };
  EXPECT_NE(refusal({{"real", pictures}}).find("no tensor 'z'"), std::string::npos);
  EXPECT_NE(refusal({{"real", pictures}, {"z", part(noise, {1, 8, 8})}}).find("'z' has 1 entries; these steps read 2"),
            std::string::npos);
  EXPECT_NE(refusal({{"real", part(pictures, {3, 8, 16, 16, 1})}, {"z", noise}}).find("entries of (8,1,16,16)"),
            std::string::npos);
  EXPECT_NE(refusal({{"real", pictures}, {"z", noise}, {"w", noise}}).find("does not read tensor 'w'"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "run"));
  EXPECT_EQ(refusal({{"real", pictures}, {"z", noise}}), "");
}

}  // namespace
}  // namespace gannet
