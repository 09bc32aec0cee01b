// The files of a run: checksums, TensorBoard's records, metrics, folders, checkpoints.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "engine/train/checkpoint.h"
#include "engine/train/crc32c.h"
#include "engine/train/metrics.h"
#include "engine/train/run_folder.h"
#include "engine/train/tensorboard.h"
#include "tests/training.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;
using testing::Folder;
using testing::input_error;
using testing::read_file;
using testing::runtime_error;

TEST(Crc32c, EqualsPublishedValues) {  // RFC 3720, B.4, and the check value of the catalogue
  const std::string zeros(32, '\0'), ones(32, '\xff'), digits = "123456789";
  EXPECT_EQ(crc32c(zeros.data(), zeros.size()), 0x8A9136AAu);
  EXPECT_EQ(crc32c(ones.data(), ones.size()), 0x62A8AB43u);
  EXPECT_EQ(crc32c(digits.data(), digits.size()), 0xE3069283u);
  EXPECT_EQ(crc32c(digits.data() + 4, 5, crc32c(digits.data(), 4)), 0xE3069283u) << "in two parts";
}

std::uint32_t masked(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes.data(), bytes.size());
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

// The payloads of a file of TFRecords whose checksums all hold.
std::vector<std::string> records(const std::string& file) {
  std::vector<std::string> found;
  for (std::size_t at = 0; at < file.size();) {
    std::uint64_t length = 0;
    std::uint32_t length_crc = 0, crc = 0;
    std::memcpy(&length, file.data() + at, 8);
    std::memcpy(&length_crc, file.data() + at + 8, 4);
    EXPECT_EQ(length_crc, masked(std::string_view(file).substr(at, 8)));
    found.push_back(file.substr(at + 12, length));
    std::memcpy(&crc, file.data() + at + 12 + length, 4);
    EXPECT_EQ(crc, masked(found.back()));
    at += 16 + length;
  }
  return found;
}

template <std::size_t size>
std::string bytes(const char (&literal)[size]) {
  return {literal, size - 1};  // it may hold zeros
}

TEST(EventFile, WritesRecordsThatProtocolBuffersRead) {
  const Folder folder;
  EventFile events(folder / ".", 301);
  events.scalar("loss_d", 300, 0.5f);
  events.image("samples", 5, 2, 3, 1, "png");
  events.flush();
  std::string file;
  for (const auto& [name, bytes] : testing::contents(folder / ".")) file = bytes;
  const auto found = records(file);
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].substr(9), bytes("\x10\x00\x1a\x0d"
                                      "brain.Event:2"));
  EXPECT_EQ(found[1].substr(9), bytes("\x10\xad\x02\x3a\x02\x08\x01")) << "step 301: the session starts";
  EXPECT_EQ(found[2].substr(9), bytes("\x10\xac\x02\x2a\x0f\x0a\x0d\x0a\x06loss_d\x15\x00\x00\x00\x3f"));
  EXPECT_EQ(found[3].substr(9), bytes("\x10\x05\x2a\x18\x0a\x16\x0a\x07samples\x22\x0b\x08\x02\x10\x03\x18\x01\x22\x03png"));
}

TEST(Metrics, KeepsLinesUpToTheCheckpoint) {
  const Folder folder;
  const fs::path file = folder / "metrics.jsonl";
  const std::string two = "{\"step\":1,\"loss_d\":0.25}\n{\"step\":2,\"loss_d\":0.125}\n";
  {
    MetricsFile metrics(file, 0);
    for (int step = 1; step <= 3; ++step) {
      metrics.begin(step);
      metrics.figure("loss_d", 0.5 / (1 << step));
      metrics.end();
    }
  }
  EXPECT_EQ(read_file(file), two + "{\"step\":3,\"loss_d\":0.0625}\n");
  { MetricsFile metrics(file, 2); }
  EXPECT_EQ(read_file(file), two);
  testing::write_file(file, two + "{\"step\":3,\"lo");
  { MetricsFile metrics(file, 9); }
  EXPECT_EQ(read_file(file), two) << "a line that was cut short goes";
}

TEST(OutputFile, ReportsWhatTheDiskRefuses) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  OutputFile full("/dev/full");
  full.append("fits into the buffer");
  EXPECT_NE(runtime_error([&] { full.flush(); }).find("cannot write /dev/full: No space left on device"), std::string::npos);
  EXPECT_NE(runtime_error([&] { full.append(std::string(1 << 17, 'x')); }), "");
  EXPECT_NE(runtime_error([] { OutputFile("/nowhere/at/all"); }).find("/nowhere/at/all"), std::string::npos);
}

TEST(RunFolder, IsUsedByOneProcessAndOnce) {
  const Folder folder;
  const fs::path path = folder / "run";
  {
    const RunFolder run = RunFolder::create(path);
    EXPECT_EQ(input_error([&] { RunFolder::check_unused(path); }), "")
        << "killed before its configuration was written: no run yet";
    run.write_configuration(Config({{"model", {{"family", "dcgan"}}}}, common_keys()));
    EXPECT_NE(input_error([&] { RunFolder::resume(path); }).find("another process"), std::string::npos);
  }
  EXPECT_EQ(input_error([&] { RunFolder::resume(path); }), "");
  EXPECT_NE(input_error([&] { RunFolder::check_unused(path); }).find("--resume"), std::string::npos);
  EXPECT_NE(input_error([&] { RunFolder::check_unused(folder / "."); }).find("not empty"), std::string::npos);
  testing::write_file(folder / "file", "");
  EXPECT_NE(input_error([&] { RunFolder::check_unused(folder / "file"); }).find("not a folder"), std::string::npos);
}

TEST(RunFolder, KeepsTheNewestCheckpoints) {
  const Folder folder;
  const RunFolder run = RunFolder::create(folder / "run");
  for (const int step : {5, 100000000, 20, 7}) testing::write_file(run.checkpoint(step), "");
  testing::write_file(run.checkpoints() / "mine.safetensors", "");
  run.keep_checkpoints(2);
  const auto left = checkpoints_of(run.path());
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[0].first, 20);
  EXPECT_EQ(left[1].first, 100000000);
  EXPECT_TRUE(fs::exists(run.checkpoints() / "mine.safetensors"));
}

class Checkpoints : public ::testing::Test {
 protected:
  void SetUp() override {
    state.add({"generator.main.0.weight", {DType::f32, {2, 3, 4, 5}}, {Initializer::Kind::normal, 0, 1}});
    state.add({"generator.main.1.bias", {DType::f32, {7}}, {Initializer::Kind::uniform, -1, 1}});
    state.add({"counter", {DType::i32, {}}, {Initializer::Kind::constant, 16000001, 0}});
    save_checkpoint(file, state, info);
  }

  Folder folder;
  std::unique_ptr<kernels::Backend> backend = kernels::make_reference_backend();
  State state{*backend, 3};
  fs::path file = folder / "checkpoint.safetensors";
  CheckpointInfo info{12, 3, 768, "dcgan", {{"a", 1}}};
};

TEST_F(Checkpoints, RestoreWhatWasSaved) {
  State other(*backend, 4);
  for (const Variable& variable : state.variables()) other.add(variable);
  EXPECT_NE(other.get("generator.main.0.weight"), state.get("generator.main.0.weight"));
  const Checkpoint checkpoint(file);
  checkpoint.restore(other, true);
  for (const Variable& variable : state.variables())
    EXPECT_EQ(other.get(variable.name), state.get(variable.name)) << variable.name;
  EXPECT_EQ(checkpoint.info().step, 12);
  EXPECT_EQ(checkpoint.info().seed, 3u);
  EXPECT_EQ(checkpoint.info().position, 768u);
  EXPECT_EQ(checkpoint.info().configuration, info.configuration);
  save_checkpoint(folder / "again", other, info);
  EXPECT_EQ(read_file(folder / "again"), read_file(file));
}

TEST_F(Checkpoints, HoldFiltersInPyTorchsLayout) {
  const SafetensorsFile tensors(file);
  EXPECT_EQ(tensors.entries().at("generator.main.0.weight").shape, (std::vector<std::int64_t>{2, 5, 3, 4}));
  EXPECT_EQ(tensors.entries().at("counter").type, "I32");
  const std::vector<float> krsc = state.get("generator.main.0.weight"), kcrs = tensors.values("generator.main.0.weight");
  for (int k = 0; k < 2; ++k)
    for (int rs = 0; rs < 12; ++rs)
      for (int c = 0; c < 5; ++c)
        EXPECT_EQ(kcrs[static_cast<std::size_t>((k * 5 + c) * 12 + rs)], krsc[static_cast<std::size_t>((k * 12 + rs) * 5 + c)]);
}

TEST_F(Checkpoints, NoticeAnyDamage) {
  const std::string good = read_file(file);
  std::mt19937 random(7);
  for (int trial = 0; trial < 300; ++trial) {
    std::string bad = good;
    const std::size_t at = random() % bad.size();
    bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
    testing::write_file(folder / "bad", bad);
    EXPECT_NE(input_error([&] { Checkpoint checkpoint(folder / "bad"); }), "") << "bit flipped in byte " << at;
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, good.size() / 2, good.size() - 1}) {
    testing::write_file(folder / "bad", good.substr(0, size));
    EXPECT_NE(input_error([&] { Checkpoint checkpoint(folder / "bad"); }), "") << "cut to " << size << " bytes";
  }
}

TEST_F(Checkpoints, NameTheFirstTensorOfAnotherModel) {
  const Checkpoint checkpoint(file);
  State shape(*backend, 1), more(*backend, 1), fewer(*backend, 1);
  shape.add({"generator.main.0.weight", {DType::f32, {2, 3, 4, 6}}, {}});
  more.add({"generator.main.2.weight", {DType::f32, {2}}, {}});
  fewer.add({"counter", {DType::i32, {}}, {}});
  EXPECT_NE(input_error([&] {
              checkpoint.restore(shape, true);
            }).find("'generator.main.0.weight' is F32 (2,5,3,4), this model has F32 (2,6,3,4)"),
            std::string::npos);
  EXPECT_NE(input_error([&] { checkpoint.restore(more, true); }).find("no tensor 'generator.main.2.weight'"),
            std::string::npos);
  EXPECT_NE(input_error([&] { checkpoint.restore(fewer, true); }).find("this model has no tensor 'generator.main.0.weight'"),
            std::string::npos);
  EXPECT_EQ(input_error([&] { checkpoint.restore(fewer, false); }), "") << "to draw samples, part of a checkpoint is enough";
}

}  // namespace
}  // namespace gannet
