// Judges each pointwise kernel that the CUDA backend has compiled for a chain of the models by the reference backend; on a
// device or under gannet-sim.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/pointwise.h"
#include "tests/case_table.h"
#include "tests/kernel_judging.h"

namespace gannet::tests {
namespace {

using namespace kernels;
using cuda::ChainForm;
using cuda::Reading;

constexpr const char* texts[] = {
#define GANNET_CHAIN(text) text,
#define GANNET_SUM(text)
#include "kernels/cuda/chains_ahead.inc"
#undef GANNET_CHAIN
#undef GANNET_SUM
};

constexpr const char* texts_of_sums[] = {
#define GANNET_CHAIN(text)
#define GANNET_SUM(text) text,
#include "kernels/cuda/chains_ahead.inc"
#undef GANNET_CHAIN
#undef GANNET_SUM
};

// An operand that is read in this way over so many axes, beside others of `shape` (rows, columns) or (columns).
Shape shape_of(const ChainForm::Input& input, const Shape& shape) {
  if (input.reading == Reading::flat) return shape;
  if (input.reading == Reading::one && input.axes == 1 && shape.rank() == 1) return {1};
  if (input.reading == Reading::one && input.axes == 2) return {shape[0], 1};
  if (input.reading == Reading::row && input.axes == 2) return {1, shape[1]};
  throw InputError("no operand of this test is read in this way: add one");
}

Case case_of(const ChainForm& form, std::int64_t rows, std::int64_t columns) {
  const bool line = std::any_of(form.input, form.input + form.inputs, [](const auto& input) { return input.axes == 1; });
  Pointwise spec;
  spec.shape = line ? Shape{rows * columns} : Shape{rows, columns};
  Case result;
  bool positive = false;
  for (int s = 0; s < form.steps; ++s) {
    const auto [op, a, b] = form.step[s];
    positive = positive || op == PointwiseOp::sqrt || op == PointwiseOp::divide || op == PointwiseOp::log;
    const float alpha = 0.5f + 0.0625f * static_cast<float>(s);
    spec.instructions.push_back({op, a, b, alpha, 0.25f});
  }
  for (int i = 0; i < form.inputs; ++i) {
    const DType type = form.input[i].type;
    spec.inputs.push_back({type, shape_of(form.input[i], spec.shape), Layout::plain});
    result.fills.push_back(type == DType::u8    ? integers(0, 255)
                           : type == DType::i32 ? integers(-3, 9)
                           : positive           ? uniform(0.25, 4)
                                                : normal());
  }
  for (int o = 0; o < form.outputs; ++o) {
    spec.outputs.push_back({form.output[o].type, spec.shape, Layout::plain});
    spec.results.push_back(form.output[o].result);
  }
  for (std::size_t i = 0; i < spec.inputs.size() && result.in_place.empty(); ++i) {
    if (spec.inputs[i].shape == spec.shape && size_of(spec.inputs[i].type) == size_of(spec.outputs[0].type))
      result.in_place = {{0, static_cast<int>(i)}};
  }
  result.floor = 0.1;
  result.spec = spec;
  return result;
}

bool broadcasts(const ChainForm& form) {
  return std::any_of(form.input, form.input + form.inputs, [](const auto& input) { return input.reading != Reading::flat; });
}

// Each form in a few shapes: less than a packet, several blocks with an end that is no packet, several blocks of whole packets.
std::vector<Case> cases_of_forms() {
  CaseTable table("chain", 141421);
  for (const char* text : texts) {
    const ChainForm form = cuda::parse_form(text);
    const std::vector<std::pair<std::int64_t, std::int64_t>> shapes =
        broadcasts(form) ? std::vector<std::pair<std::int64_t, std::int64_t>>{{3, 8}, {7, 488}, {64, 64}}
                         : std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 3}, {17, 251}, {64, 64}};
    for (const auto& [rows, columns] : shapes) table.add([&](Draw&) { return case_of(form, rows, columns); });
  }
  return table.take();
}

// Sums over columns, rows and everything, in lines of whole packets and of others, in one block and in several.
std::vector<Case> cases_of_sums() {
  CaseTable table("sum", 173205);
  for (const char* text : texts_of_sums) {
    const ChainForm form = cuda::parse_form(text);
    const std::vector<std::pair<std::int64_t, std::int64_t>> shapes{{37, 24}, {1500, 64}, {5, 4096}, {300, 7}, {1, 20'003}};
    for (const auto& [rows, columns] : shapes) {
      for (const int summed : {1, 2, 3}) {
        if (broadcasts(form) && columns % 8 != 0) continue;
        table.add([&, rows = rows, columns = columns](Draw&) {
          Case result = case_of(form, rows, columns);
          Reduction spec;
          spec.chain = std::get<Pointwise>(result.spec);
          spec.chain.outputs.clear();
          spec.summed = {(summed & 1) != 0, (summed & 2) != 0};
          spec.scale = 0.5f;
          spec.output = {DType::f32, {spec.summed[0] ? 1 : rows, spec.summed[1] ? 1 : columns}, Layout::plain};
          result.spec = spec;
          result.in_place.clear();
          result.floor = std::sqrt(static_cast<double>(rows * columns / spec.output.elements()));
          return result;
        });
      }
    }
  }
  return table.take();
}

TEST(CudaChains, HaveTexts) {
  for (const char* text : texts) EXPECT_EQ(cuda::to_text(cuda::parse_form(text)), text);
  for (const char* text : texts_of_sums) EXPECT_EQ(cuda::to_text(cuda::parse_form(text)), text);
}

TEST(CudaChains, AreTakenByTheirKernels) {
  for (const Case& test : cases_of_forms()) {
    const ChainForm form = cuda::form_of(std::get<Pointwise>(test.spec));
    EXPECT_TRUE(cuda::compiled_ahead(form)) << to_string(test);
    EXPECT_NE(cuda::pointwise_ahead(form).kernel, nullptr) << to_string(test);
  }
}

TEST(CudaChains, OfSumsAreKnown) {
  for (const Case& test : cases_of_sums())
    EXPECT_TRUE(cuda::compiled_ahead(cuda::form_of(std::get<Reduction>(test.spec).chain), true)) << to_string(test);
}

TEST(CudaChains, OthersHaveNone) {
  ChainForm form = cuda::parse_form(texts[0]);
  form.output[0].type = DType::u8;
  EXPECT_FALSE(cuda::compiled_ahead(form));
  EXPECT_EQ(cuda::pointwise_ahead(form).kernel, nullptr);
}

TEST(CudaChains, EqualTheReference) { judge(*make_cuda_backend(), cases_of_forms()); }
TEST(CudaChains, SumsEqualTheReference) { judge(*make_cuda_backend(), cases_of_sums()); }

}  // namespace
}  // namespace gannet::tests
