// main of the programs that test the CUDA backend: skipped, which ctest takes from 77, where there is no device.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/cuda/backend.h"
#include "tests/judging.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new gannet::tests::CaseCount);
  if (const std::string reason = gannet::kernels::cuda_unavailable(); !reason.empty()) {
    fmt::print("skipped: {}\n", reason);
    return 77;
  }
  fmt::print("{}\n", gannet::kernels::make_cuda_backend()->name());
  return RUN_ALL_TESTS();
}
