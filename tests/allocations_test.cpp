// A running step allocates nothing: not in programs, loader, metrics, TensorBoard or progress.
#include <gtest/gtest.h>

#include "tests/counted_allocations.h"
#include "tests/training.h"

namespace gannet {
namespace {

using testing::Allocations;
using testing::Folder;

Allocations of_training(const testing::Train& train) {
  const Allocations before = testing::allocations();
  EXPECT_EQ(train(), 0);
  const Allocations after = testing::allocations();
  return {after.own - before.own, after.library - before.library};
}

class Steps : public ::testing::TestWithParam<const char*> {};

TEST_P(Steps, AllocateNothing) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer's allocator is in place";
  const Folder folder;
  testing::write_dataset(folder / "data.safetensors", 200);
  const auto of_steps = [&](int steps) {
    return of_training({testing::tiny(GetParam(), folder / "data.safetensors", steps), folder / fmt::format("run-{}", steps)});
  };
  EXPECT_GT(of_steps(10).own, 1000) << "setting up allocates: the counter counts";
  // The same training, once with ten steps more: 11 to 20.
  const Allocations ten = of_steps(10 + 1), twenty = of_steps(20 + 1);
  EXPECT_EQ(twenty.own - ten.own, 0);
  RecordProperty("oneDNN_allocations_per_step", static_cast<int>((twenty.library - ten.library) / 10));
  fmt::print("ten steps: {} allocations, and {} inside oneDNN\n", twenty.own - ten.own, twenty.library - ten.library);
}

INSTANTIATE_TEST_SUITE_P(Families, Steps, ::testing::Values("dcgan", "wgan_gp", "vanilla"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace gannet
