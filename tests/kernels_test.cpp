// Judges the CPU backend, in the vector set that GANNET_CPU_ISA asks for, by the reference backend on the table of cases.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "tests/judging.h"
#include "tests/kernel_judging.h"

namespace gannet::tests {
namespace {

using namespace kernels;

// One thread and two give the same bits.
void judge_threads(const std::vector<Case>& cases) {
  std::vector<Case> chosen;
  Selection selection;
  std::copy_if(cases.begin(), cases.end(), std::back_inserter(chosen), [&](const Case& c) { return selection.takes(c.name); });
  std::vector<KernelRun> runs;
  for (const int threads : {1, 2}) {
    const std::unique_ptr<Backend> backend = make_cpu_backend(threads);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      KernelRun run = run_kernel(*backend, chosen[i], inputs_of(chosen[i]), false, nan_garbage);
      if (threads == 1) {
        runs.push_back(std::move(run));
      } else {
        ASSERT_TRUE(run.bytes == runs[i].bytes) << to_string(chosen[i]);
      }
    }
  }
}

TEST(Kernels, Convolution) { judge(*make_cpu_backend(2), convolution_cases()); }
TEST(Kernels, ConvolutionBackward) { judge(*make_cpu_backend(2), backward_cases()); }
TEST(Kernels, Matmul) { judge(*make_cpu_backend(2), matmul_cases()); }
TEST(Kernels, Pointwise) { judge(*make_cpu_backend(2), pointwise_cases()); }
TEST(Kernels, Reduction) { judge(*make_cpu_backend(2), reduction_cases()); }
TEST(Kernels, BatchNorm) { judge(*make_cpu_backend(2), batch_norm_cases()); }
TEST(Kernels, SigmoidBce) { judge(*make_cpu_backend(2), sigmoid_bce_cases()); }
TEST(Kernels, Optimizer) { judge(*make_cpu_backend(2), optimizer_cases()); }
TEST(Kernels, Random) { judge(*make_cpu_backend(2), random_cases()); }
TEST(Kernels, Copy) { judge(*make_cpu_backend(2), copy_cases()); }
TEST(Kernels, Concatenate) { judge(*make_cpu_backend(2), concatenate_cases()); }

TEST(Threads, GiveTheSameBits) {
  for (const auto& cases : {pointwise_cases(), reduction_cases(), batch_norm_cases(), sigmoid_bce_cases(), optimizer_cases(),
                            random_cases(), copy_cases(), concatenate_cases()}) {
    judge_threads(cases);
  }
}

TEST(Adjoints, Cpu) { judge_adjoints(*make_cpu_backend(2), convolution_cases()); }
TEST(Adjoints, Reference) { judge_adjoints(*make_reference_backend(), convolution_cases()); }

TEST(Refusals, Cpu) { judge_refusals(*make_cpu_backend(2)); }

}  // namespace
}  // namespace gannet::tests

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new gannet::tests::CaseCount);
  return gannet::tests::run_with_cpu_backend();
}
