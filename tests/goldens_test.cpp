#include "tests/goldens.h"

#include <cmath>

#include "tests/worst.h"

namespace gannet::tests {
namespace {

using testing::Worst;

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
  expect_golden(golden, reference ? *kernels::make_reference_backend() : *kernels::make_cpu_backend());
}

std::string name_of(const ::testing::TestParamInfo<std::tuple<Golden, bool>>& info) {
  const auto& [golden, reference] = info.param;
  return golden.family + "_" + golden.name + (reference ? "_reference" : "_cpu");
}

INSTANTIATE_TEST_SUITE_P(Models, Goldens, ::testing::Combine(::testing::ValuesIn(all_goldens), ::testing::Bool()), name_of);

}  // namespace
}  // namespace gannet::tests
