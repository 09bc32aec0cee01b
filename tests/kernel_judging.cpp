#include "tests/kernel_judging.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/check.h"
#include "kernels/operands.h"
#include "tests/judging.h"
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

DType compute_type(const KernelSpec& spec) {
  if (const auto* convolution = std::get_if<Convolution>(&spec)) {
    return convolution->kind == ConvolutionKind::wgrad ? convolution->x.type : convolution->w.type;
  }
  if (const auto* backward = std::get_if<ConvolutionBackward>(&spec)) return backward->data.w.type;
  if (const auto* matmul = std::get_if<Matmul>(&spec)) return matmul->a.type;
  return DType::f32;
}

double inner_product(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// What is wrong with the backend's answer: it differs from the reference, touches what is not its own, or is not the same
// bits the second time, in place and with other leftovers in memory.
std::vector<std::string> complaints_about(const Case& test, Backend& reference, Backend& backend) {
  const std::vector<std::vector<double>> inputs = inputs_of(test);
  Case plain = test;
  plain.spec = with_plain_layouts(test.spec);
  const KernelRun expected = run_kernel(reference, plain, inputs, false, nan_garbage);
  const std::unique_ptr<Kernel> kernel = backend.create(test.spec);
  const KernelRun result = run_kernel(backend, *kernel, test, inputs, false, nan_garbage);
  const KernelRun again = run_kernel(backend, *kernel, test, inputs, !test.in_place.empty(), large_garbage);
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

}  // namespace

void judge(Backend& backend, const std::vector<Case>& cases) {
  const std::unique_ptr<Backend> reference = make_reference_backend();
  Selection selection;
  int failures = 0;
  for (const Case& test : cases) {
    if (!selection.takes(test.name)) continue;
    if (!backend.supports(compute_type(test.spec))) {
      count_case("bf16 products that this backend lacks (skipped)");
      continue;
    }
    count_case(name_of(test.spec));
    const std::vector<std::string> complaints = complaints_about(test, *reference, backend);
    if (complaints.empty()) continue;
    ADD_FAILURE() << to_string(test) << "\n  " << fmt::format("{}", fmt::join(complaints, "\n  "));
    if (++failures == 5) return;
  }
}

void judge_adjoints(Backend& backend, const std::vector<Case>& convolutions) {
  Selection selection;
  for (const Case& given : convolutions) {
    if (!selection.takes(given.name)) continue;
    auto spec = std::get<Convolution>(given.spec);
    if (spec.kind != ConvolutionKind::fprop) continue;  // each case runs all three
    spec.x.type = spec.w.type = spec.y.type = DType::f32;
    spec.bias = false, spec.activation = {}, spec.slope_of = {};
    if (!backend.name().starts_with("cpu")) spec = std::get<Convolution>(with_plain_layouts(spec));
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

void judge_refusals(Backend& backend) {
  for (const Refusal& refusal : refusals()) {
    count_case("refusals");
    try {
      backend.create(refusal.spec);
      ADD_FAILURE() << name_of(refusal.spec) << ": " << refusal.rule << " is not checked";
    } catch (const InputError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("[")) << error.what();
    }
  }
}

}  // namespace gannet::tests
