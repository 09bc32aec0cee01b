// The times by which --kernels auto chooses: measured once for each spec and machine, kept in a file that may be broken or
// foreign.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "kernels/vendor/choice.h"
#include "tests/cases.h"
#include "tests/temporary_folder.h"

namespace gannet::tests {
namespace {

using namespace kernels;
using vendor::Times;
using vendor::Timings;
namespace fs = std::filesystem;

class Choice : public ::testing::Test {
 protected:
  Timings timings(const std::string& machine = "a GPU") {
    return {file_, machine, [this](const std::string& line) { log_.push_back(line); }};
  }
  std::function<Times()> measure(Times times) {
    return [this, times] {
      ++measured_;
      return times;
    };
  }
  std::string text() const {
    std::ostringstream text;
    text << std::ifstream(file_).rdbuf();
    return text.str();
  }

  TemporaryFolder folder_;
  fs::path file_ = folder_.path() / "new/folder/kernels.json";
  std::vector<std::string> log_;
  int measured_ = 0;
};

TEST_F(Choice, MeasuresOnce) {
  Timings first = timings();
  EXPECT_EQ(first.of("spec", measure({1e-6, 2e-6})).vendor, 2e-6);
  EXPECT_EQ(first.of("spec", measure({9, 9})).native, 1e-6);
  Timings again = timings();  // another process
  EXPECT_EQ(again.of("spec", measure({9, 9})).vendor, 2e-6);
  EXPECT_EQ(measured_, 1);
  EXPECT_TRUE(log_.empty());
}

TEST_F(Choice, KeepsMachinesAndSpecsApart) {
  timings("one GPU").of("spec", measure({1, 2}));
  EXPECT_EQ(timings("another GPU").of("spec", measure({3, 4})).native, 3);
  EXPECT_EQ(timings("one GPU").of("other spec", measure({5, 6})).native, 5);
  EXPECT_EQ(measured_, 3);
  for (const auto& [machine, spec, native] :
       {std::tuple{"one GPU", "spec", 1.0}, {"another GPU", "spec", 3.0}, {"one GPU", "other spec", 5.0}})
    EXPECT_EQ(timings(machine).of(spec, measure({9, 9})).native, native);
  EXPECT_EQ(measured_, 3);
  EXPECT_EQ(std::distance(fs::directory_iterator(file_.parent_path()), fs::directory_iterator()), 1)
      << "a temporary file is left";
}

// Two processes that measure at the same time.
TEST_F(Choice, LosesNothingOfOthers) {
  Timings one = timings(), other = timings();
  one.of("spec", measure({1, 2}));
  other.of("other spec", measure({3, 4}));
  timings().of("spec", measure({9, 9}));
  timings().of("other spec", measure({9, 9}));
  EXPECT_EQ(measured_, 2);
}

TEST_F(Choice, MeasuresAnewWhereTheFileIsBroken) {
  fs::create_directories(file_.parent_path());
  timings().of("spec", measure({1, 2}));
  const std::string sound = text();
  std::vector<std::string> broken{"",
                                  "{",
                                  "[]",
                                  "{\"format\": 2, \"machines\": {}}",
                                  "{\"format\": 1, \"machines\": 5}",
                                  "{\"format\": 1, \"machines\": {\"a GPU\": {\"spec\": [1]}}}",
                                  "{\"format\": 1, \"machines\": {\"a GPU\": {\"spec\": [0, -1]}}}",
                                  "{\"format\": 1, \"machines\": {\"a GPU\": {\"spec\": [\"1\", 2]}}}",
                                  std::string(1, '\xFF')};
  for (std::size_t length = 1; length + 1 < sound.size(); length += 7) broken.push_back(sound.substr(0, length));
  for (const std::string& content : broken) {
    std::ofstream(file_) << content;
    measured_ = 0, log_.clear();
    EXPECT_EQ(timings().of("spec", measure({3, 4})).native, 3) << content;
    EXPECT_EQ(measured_, 1) << content;
    ASSERT_EQ(log_.size(), 1u) << content;
    EXPECT_NE(log_[0].find(file_.string()), std::string::npos) << log_[0];
    EXPECT_EQ(timings().of("spec", measure({9, 9})).native, 3) << "not written anew over: " << content;
  }
}

TEST_F(Choice, WorksWithoutAFile) {
  std::ofstream(folder_.path() / "file") << "no folder";
  file_ = folder_.path() / "file/kernels.json";
  Timings here = timings();
  EXPECT_EQ(here.of("spec", measure({1, 2})).native, 1);
  EXPECT_EQ(here.of("spec", measure({9, 9})).native, 1);
  EXPECT_EQ(measured_, 1);
  ASSERT_FALSE(log_.empty());
  EXPECT_NE(log_.back().find("not kept"), std::string::npos) << log_.back();
}

TEST_F(Choice, FindsTheFile) {
  setenv("XDG_CACHE_HOME", "/cache", 1), setenv("HOME", "/home/somebody", 1);
  EXPECT_EQ(vendor::timings_file(), "/cache/gannet/kernels.json");
  for (const char* given : {"", "not/absolute"}) {
    setenv("XDG_CACHE_HOME", given, 1);
    EXPECT_EQ(vendor::timings_file(), "/home/somebody/.cache/gannet/kernels.json");
  }
  unsetenv("HOME");
  EXPECT_EQ(vendor::timings_file(), "");
}

// No two specs of the table share a key, but for those that are the same.
TEST(Keys, TellSpecsApart) {
  std::set<std::string> keys;
  Convolution spec{};
  spec.kind = ConvolutionKind::fprop, spec.pad = 1, spec.stride = 1;
  spec.x = {DType::f32, {2, 8, 8, 4}}, spec.w = {DType::f32, {6, 3, 3, 4}}, spec.y = {DType::f32, {2, 8, 8, 6}};
  std::vector<Convolution> variants(9, spec);
  variants[1].kind = ConvolutionKind::dgrad;
  variants[2].pad = 2;
  variants[3].stride = 2;
  variants[4].bias = true;
  variants[5].activation = {Activation::Kind::leaky_relu, 0.1f};
  variants[6].activation = {Activation::Kind::leaky_relu, 0.2f};
  variants[7].slope_of = {Activation::Kind::leaky_relu, 0.2f};
  variants[8].y.type = DType::bf16;
  for (const Convolution& variant : variants)
    for (const bool tf32 : {false, true}) keys.insert(vendor::key_of(variant, tf32));
  EXPECT_EQ(keys.size(), 2 * variants.size());
  keys.clear();
  Matmul product;
  product.a = product.b = product.c = {DType::f32, {8, 8}};
  std::vector<Matmul> products(6, product);
  products[1].transpose_a = true;
  products[2].transpose_b = true;
  products[3].bias = true;
  products[4].activation = {Activation::Kind::tanh, 0};
  products[5].c.shape = {8, 9};
  for (const Matmul& variant : products) keys.insert(vendor::key_of(variant, false));
  EXPECT_EQ(keys.size(), products.size());
}

}  // namespace
}  // namespace gannet::tests
