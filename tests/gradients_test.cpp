// Both gradients of a convolution in one kernel: which steps the planner joins, and that this changes no number.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"
#include "engine/run/program.h"

namespace gannet {
namespace {

// The reference backend, for which both gradients may be worth one kernel.
class Joining final : public kernels::Backend {
 public:
  explicit Joining(bool joins) : joins_(joins) {}
  int joined = 0;

  std::string name() const override { return backend_->name(); }
  std::unique_ptr<kernels::Kernel> create(const kernels::KernelSpec& spec) override {
    joined += std::holds_alternative<kernels::ConvolutionBackward>(spec) ? 1 : 0;
    return backend_->create(spec);
  }
  DType storage(DType type) const override { return backend_->storage(type); }
  Layout picture_layout(const Shape& nhwc, DType type) const override { return backend_->picture_layout(nhwc, type); }
  Layout filter_layout(const Shape& krsc, DType type) const override { return backend_->filter_layout(krsc, type); }
  bool supports(DType compute) const override { return backend_->supports(compute); }
  bool ends_with_slopes() const override { return true; }
  bool computes_together(const kernels::ConvolutionBackward&) const override { return joins_; }
  void* allocate(std::size_t bytes) override { return backend_->allocate(bytes); }
  void release(void* memory) noexcept override { backend_->release(memory); }
  void upload(void* device, const void* host, std::size_t bytes) override { backend_->upload(device, host, bytes); }
  void download(void* host, const void* device, std::size_t bytes) override { backend_->download(host, device, bytes); }
  void synchronize() override { backend_->synchronize(); }

 private:
  std::unique_ptr<kernels::Backend> backend_ = kernels::make_reference_backend();
  bool joins_;
};

struct Result {
  int kernels = 0, joined = 0;
  double product_flops = 0;
  bool guards_intact = false;
  std::vector<std::vector<float>> values;
};

// Builds a graph of picture (2,6,6,3) and filters with `build`, which names its outputs, and runs it.
template <typename Build>
Result run(bool joins, Build build, const std::vector<std::string>& outputs) {
  Joining backend(joins);
  State state(backend, 1);
  Graph graph;
  build(graph);
  Program program(graph, state, {.guard_bytes = 64});
  for (const std::string& input : program.inputs()) {
    std::vector<float> values(static_cast<std::size_t>(program.input_type(input).shape.elements()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7 % 11) / 8 - 0.5f;
    program.write(input, values.data(), values.size() * sizeof(float));
  }
  Result result;
  for (int turn = 0; turn < 2; ++turn) program.run();
  result.kernels = program.report().kernels;
  result.product_flops = program.report().product_flops;
  result.joined = backend.joined;
  result.guards_intact = program.guards_intact();
  for (const std::string& output : outputs) {
    result.values.emplace_back(static_cast<std::size_t>(program.output_type(output).shape.elements()));
    program.read(output, result.values.back());
  }
  return result;
}

template <typename Build>
void expect_joined(Build build, const std::vector<std::string>& outputs, int pairs) {
  const Result together = run(true, build, outputs), apart = run(false, build, outputs);
  EXPECT_EQ(together.joined, pairs);
  EXPECT_EQ(apart.joined, 0);
  EXPECT_EQ(together.kernels, apart.kernels - pairs);
  EXPECT_EQ(together.product_flops, apart.product_flops);
  EXPECT_EQ(together.values, apart.values);
  EXPECT_TRUE(together.guards_intact);
}

TEST(Gradients, OfAConvolutionAreOneKernel) {
  expect_joined(
      [](Graph& graph) {
        const Value x = graph.input("x", {DType::f32, {2, 6, 6, 3}}), w = graph.input("w", {DType::f32, {4, 4, 4, 3}});
        const std::array<Value, 2> of{x, w};
        const auto gradients = grad(ops::sum_all(ops::square(ops::conv_fprop(x, w, 2, 1))), of);
        graph.output("dx", gradients[0]);
        graph.output("dw", gradients[1]);
      },
      {"dx", "dw"}, 1);
}

TEST(Gradients, OfATransposedConvolutionAreOneKernel) {
  expect_joined(
      [](Graph& graph) {
        const Value y = graph.input("y", {DType::f32, {2, 3, 3, 4}}), w = graph.input("w", {DType::f32, {4, 4, 4, 3}});
        const std::array<Value, 2> of{y, w};
        const auto gradients = grad(ops::sum_all(ops::square(ops::conv_dgrad(y, w, 2, 1, 6, 6))), of);
        graph.output("dy", gradients[0]);
        graph.output("dw", gradients[1]);
      },
      {"dy", "dw"}, 1);
}

// Two layers: the upper one's way back ends with the slope of the activation between them; the lower one's filters alone have
// a gradient.
TEST(Gradients, EndWithSlopes) {
  expect_joined(
      [](Graph& graph) {
        const Value x = graph.input("x", {DType::f32, {2, 6, 6, 3}}), w = graph.input("w", {DType::f32, {4, 3, 3, 3}}),
                    v = graph.input("v", {DType::f32, {5, 3, 3, 4}});
        const Value middle = ops::leaky_relu(ops::conv_fprop(x, w, 1, 1), 0.2f);
        const std::array<Value, 2> of{w, v};
        const auto gradients = grad(ops::sum_all(ops::square(ops::conv_fprop(middle, v, 1, 1))), of);
        graph.output("dw", gradients[0]);
        graph.output("dv", gradients[1]);
      },
      {"dw", "dv"}, 1);
}

// The filters' gradient is of a picture that is computed from the other gradient: there is no place for both.
TEST(Gradients, ThatWaitForEachOtherStayApart) {
  expect_joined(
      [](Graph& graph) {
        const Value y = graph.input("y", {DType::f32, {2, 6, 6, 4}}), w = graph.input("w", {DType::f32, {4, 3, 3, 3}});
        const Value dx = ops::conv_dgrad(y, w, 1, 1, 6, 6);
        graph.output("dw", ops::conv_wgrad(ops::tanh(dx) + dx, y, 1, 1, 3, 3));
      },
      {"dw"}, 0);
}

// The picture is made between the two, but nothing reads the first before: both are computed at the later place.
TEST(Gradients, MoveToTheLaterPlace) {
  expect_joined(
      [](Graph& graph) {
        const Value y = graph.input("y", {DType::f32, {2, 6, 6, 4}}), w = graph.input("w", {DType::f32, {4, 3, 3, 3}}),
                    x = graph.input("x", {DType::f32, {2, 6, 6, 3}});
        const Value dx = ops::conv_dgrad(y, w, 1, 1, 6, 6);
        const Value dw = ops::conv_wgrad(ops::tanh(x), y, 1, 1, 3, 3);
        graph.output("dw", dw);
        graph.output("dx", ops::exp(dx));
      },
      {"dw", "dx"}, 1);
}

// Two such pairs: after the first has moved, the second is still found.
TEST(Gradients, MoveToTheLaterPlaceOneAfterTheOther) {
  expect_joined(
      [](Graph& graph) {
        const Value y = graph.input("y", {DType::f32, {2, 6, 6, 4}}), w = graph.input("w", {DType::f32, {4, 3, 3, 3}}),
                    v = graph.input("v", {DType::f32, {4, 5, 5, 3}}), x = graph.input("x", {DType::f32, {2, 6, 6, 3}});
        const Value first = ops::conv_dgrad(y, w, 1, 1, 6, 6), second = ops::conv_dgrad(y, v, 1, 2, 6, 6);
        const Value picture = ops::tanh(x);
        graph.output("dw", ops::conv_wgrad(picture, y, 1, 1, 3, 3));
        graph.output("dv", ops::conv_wgrad(picture, y, 1, 2, 5, 5));
        graph.output("first", ops::exp(first));
        graph.output("second", ops::exp(second));
      },
      {"dw", "dv", "first", "second"}, 2);
}

}  // namespace
}  // namespace gannet
