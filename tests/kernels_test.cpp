// Judges the CPU backend, in the vector set that GANNET_CPU_ISA asks for, by the reference backend on the table of cases.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>

#include "kernels/check.h"
#include "kernels/operands.h"
#include "tests/judging.h"
#include "tests/kernel_run.h"
#include "tests/refusals.h"

namespace gannet::tests {
namespace {

using namespace kernels;

// Empty when `result` equals `expected` as closely as the case asks.
std::string difference(const Case& test, const TensorDesc& desc, const std::vector<double>& result,
                       const std::vector<double>& expected) {
  const double tolerance = test.tolerance == 0 ? 0 : desc.type == DType::bf16 ? 1e-2 : test.tolerance;
  double largest = test.floor;
  for (const double value : expected) {
    if (std::isfinite(rounded(value, desc.type))) largest = std::max(largest, std::abs(value));
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double wanted = rounded(expected[i], desc.type), error = std::abs(result[i] - wanted);
    const double scale = test.elementwise ? std::max(test.floor, std::abs(wanted)) : largest;
    const bool equal = std::isnan(wanted)                                                        ? std::isnan(result[i])
                       : std::isinf(wanted) || desc.type == DType::i32 || desc.type == DType::u8 ? result[i] == wanted
                                                                                                 : error <= tolerance * scale;
    if (!equal) {
      return fmt::format("element {} is {}, not {}: error {:.3g} of {:.3g} (allowed {:.3g})", i, result[i], wanted,
                         error / scale, scale, tolerance);
    }
  }
  return "";
}

struct Backends {
  std::unique_ptr<Backend> reference = make_reference_backend();
  std::unique_ptr<Backend> cpu = make_cpu_backend(2);
};

constexpr std::byte nan_garbage{0xFF}, large_garbage{0x7B};  // as f32: NaN, 1.3e36

DType compute_type(const KernelSpec& spec) {
  if (const auto* convolution = std::get_if<Convolution>(&spec)) {
    return convolution->kind == ConvolutionKind::wgrad ? convolution->x.type : convolution->w.type;
  }
  if (const auto* matmul = std::get_if<Matmul>(&spec)) return matmul->a.type;
  return DType::f32;
}

// What is wrong with the backend's answer: it differs from the reference, touches what is not its own, or is not the same
// bits the second time, in place and with other leftovers in memory.
std::vector<std::string> complaints_about(const Case& test, const Backends& backends) {
  const std::vector<std::vector<double>> inputs = inputs_of(test);
  Case plain = test;
  plain.spec = with_plain_layouts(test.spec);
  const KernelRun expected = run_kernel(*backends.reference, plain, inputs, false, nan_garbage);
  const std::unique_ptr<Kernel> kernel = backends.cpu->create(test.spec);
  const KernelRun result = run_kernel(*backends.cpu, *kernel, test, inputs, false, nan_garbage);
  const KernelRun again = run_kernel(*backends.cpu, *kernel, test, inputs, !test.in_place.empty(), large_garbage);
  std::vector<std::string> complaints;
  for (const KernelRun* run : {&expected, &result, &again}) {
    complaints.insert(complaints.end(), run->trespasses.begin(), run->trespasses.end());
  }
  const Operands operands = operands_of(test.spec);
  for (std::size_t o = 0; o < operands.outputs.size(); ++o) {
    const std::string message = difference(test, operands.outputs[o], result.values[o], expected.values[o]);
    if (!message.empty()) complaints.push_back(fmt::format("output {}: {}", o, message));
    if (result.bytes[o] != again.bytes[o]) complaints.push_back(fmt::format("output {} differs the second time", o));
  }
  return complaints;
}

void judge(const std::vector<Case>& cases) {
  const Backends backends;
  Selection selection;
  int failures = 0;
  for (const Case& test : cases) {
    if (!selection.takes(test.name)) continue;
    if (!backends.cpu->supports(compute_type(test.spec))) {
      count_case("bf16 products that this vector set lacks (skipped)");
      continue;
    }
    count_case(name_of(test.spec));
    const std::vector<std::string> complaints = complaints_about(test, backends);
    if (complaints.empty()) continue;
    ADD_FAILURE() << to_string(test) << "\n  " << fmt::format("{}", fmt::join(complaints, "\n  "));
    if (++failures == 5) return;
  }
}

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

TEST(Kernels, Convolution) { judge(convolution_cases()); }
TEST(Kernels, Matmul) { judge(matmul_cases()); }
TEST(Kernels, Pointwise) { judge(pointwise_cases()); }
TEST(Kernels, Reduction) { judge(reduction_cases()); }
TEST(Kernels, BatchNorm) { judge(batch_norm_cases()); }
TEST(Kernels, SigmoidBce) { judge(sigmoid_bce_cases()); }
TEST(Kernels, Optimizer) { judge(optimizer_cases()); }
TEST(Kernels, Random) { judge(random_cases()); }
TEST(Kernels, Copy) { judge(copy_cases()); }
TEST(Kernels, Concatenate) { judge(concatenate_cases()); }

TEST(Threads, GiveTheSameBits) {
  for (const auto& cases : {pointwise_cases(), reduction_cases(), batch_norm_cases(), sigmoid_bce_cases(), optimizer_cases(),
                            random_cases(), copy_cases(), concatenate_cases()}) {
    judge_threads(cases);
  }
}

double inner_product(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// <fprop(x,w), y> = <x, dgrad(y,w)> = <w, wgrad(x,y)>, exactly on small integers.
void judge_adjoints(Backend& backend) {
  Selection selection;
  for (const Case& given : convolution_cases()) {
    if (!selection.takes(given.name)) continue;
    auto spec = std::get<Convolution>(given.spec);
    if (spec.kind != ConvolutionKind::fprop) continue;  // each case runs all three
    spec.x.type = spec.w.type = spec.y.type = DType::f32;
    spec.bias = false, spec.activation = {};
    if (backend.name().starts_with("reference")) spec = std::get<Convolution>(with_plain_layouts(spec));
    Case test = given;
    const auto run = [&](ConvolutionKind kind, const std::vector<double>& a, const std::vector<double>& b) {
      spec.kind = kind;
      test.spec = spec;
      return run_kernel(backend, test, {a, b}, false, nan_garbage).values[0];
    };
    Draw draw(given.seed);
    const auto drawn = [&](const TensorDesc& desc) {
      std::vector<double> values(static_cast<std::size_t>(desc.elements()));
      for (double& value : values) value = static_cast<double>(draw.between(-3, 3));
      return values;
    };
    const auto x = drawn(spec.x), w = drawn(spec.w), y = drawn(spec.y);
    const double in_y = inner_product(run(ConvolutionKind::fprop, x, w), y);
    const double in_x = inner_product(x, run(ConvolutionKind::dgrad, y, w));
    const double in_w = inner_product(w, run(ConvolutionKind::wgrad, x, y));
    ASSERT_EQ(in_y, in_x) << to_string(test);
    ASSERT_EQ(in_y, in_w) << to_string(test);
    count_case("adjoint identities");
  }
}

TEST(Adjoints, Cpu) { judge_adjoints(*make_cpu_backend(2)); }
TEST(Adjoints, Reference) { judge_adjoints(*make_reference_backend()); }

TEST(Refusals, Cpu) {
  const std::unique_ptr<Backend> backend = make_cpu_backend(2);
  for (const Refusal& refusal : refusals()) {
    count_case("refusals");
    try {
      backend->create(refusal.spec);
      ADD_FAILURE() << name_of(refusal.spec) << ": " << refusal.rule << " is not checked";
    } catch (const InputError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("[")) << error.what();
    }
  }
}

}  // namespace
}  // namespace gannet::tests

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new gannet::tests::CaseCount);
  return gannet::tests::run_with_cpu_backend();
}
