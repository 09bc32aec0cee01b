// What the planner makes of a graph: fewer kernels, the same numbers.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"
#include "engine/run/program.h"

namespace gannet {
namespace {

class PlanTest : public ::testing::Test {
 protected:
  std::unique_ptr<kernels::Backend> backend = kernels::make_cpu_backend(1);
  State state{*backend, 1};
  Graph graph;

  static std::vector<float> values_of(const Program& program, const std::string& output) {
    std::vector<float> values(static_cast<std::size_t>(program.output_type(output).shape.elements()));
    program.read(output, values);
    return values;
  }
};

Value as_bf16(const Value& x) { return ops::cast(x, DType::bf16); }
Value transposed(const Value& x) { return ops::transpose(x, std::array{1, 0}); }

// Through views, too, with the bits that a cast gives.
TEST_F(PlanTest, KernelsStoreWhatIsReadAsBf16) {
  const Value step = graph.input("step", {DType::i32, {}}), logits = graph.input("logits", {DType::f32, {8, 1}});
  graph.output("z", transposed(as_bf16(ops::reshape(ops::random_normal(step, {6, 5}, 0, 1, 7, 3), {5, 6}))));
  const Value loss = ops::sigmoid_bce(logits, std::array{1.0f, 0.0f}, std::array{0.5f, 1.0f}).loss;
  graph.output("slope", transposed(as_bf16(ops::reshape(grad(loss, std::span(&logits, 1))[0], {4, 2}))));
  graph.output("part", transposed(as_bf16(transposed(ops::slice_axis(ops::reshape(logits, {4, 2}), 1, 1, 1)))));
  // Read as f32, too: a chain stores both.
  const Value tanh = ops::tanh(ops::reshape(logits, {2, 4}));
  graph.output("tanh", transposed(tanh));
  graph.output("narrow", transposed(as_bf16(ops::reshape(tanh, {4, 2}))));
  Program program(graph, state, {.guard_bytes = 64}), plain(graph, state, {.fuse = false});
  EXPECT_EQ(program.report().kernels, 1 + 1 + 2 + 1 + 5) << "draw, loss, two copies, chain; each output is transposed";
  const std::int32_t number = 4;
  const std::array<float, 8> values{-3, 2.1f, 0.3f, -0.7f, 1.9f, 0.01f, -1.1f, 5};
  for (Program* each : {&program, &plain}) {
    each->write("step", &number, sizeof number);
    each->write("logits", values.data(), sizeof values);
    each->run();
  }
  for (const char* output : {"z", "slope", "part", "tanh", "narrow"}) {
    EXPECT_EQ(values_of(program, output), values_of(plain, output)) << output;
    EXPECT_NE(values_of(program, output)[0], 0) << output;
  }
  EXPECT_TRUE(program.guards_intact());
}

TEST_F(PlanTest, SumsEndWithTheirFactor) {
  const Value x = graph.input("x", {DType::f32, {3, 4}});
  graph.output("y", ops::mean_all(x) * -3.0f);
  graph.output("z", ops::mean_all(x) + 1.0f);  // no factor
  Program program(graph, state);
  EXPECT_EQ(program.report().kernels, 1 + 2);
  std::vector<float> values(12, 2);
  program.write("x", values.data(), values.size() * sizeof(float));
  program.run();
  EXPECT_EQ(program.read_scalar("y"), -6);
  EXPECT_EQ(program.read_scalar("z"), 3);
}

// The slope of a difference of means is a constant, put together from parts.
TEST_F(PlanTest, WhatNeverChangesIsMadeOnce) {
  const Value x = graph.input("x", {DType::f32, {8}}), w = graph.input("w", {DType::f32, {8, 3}});
  const Value difference = ops::mean_all(ops::slice_axis(x, 0, 0, 4)) - ops::mean_all(ops::slice_axis(x, 0, 4, 4));
  const Value slope = grad(difference, std::span(&x, 1))[0];
  graph.output("y", ops::matmul(ops::reshape(slope, {1, 8}), w));
  graph.output("slope", slope);  // what the host reads is made anew
  Graph alone;
  const Value constant = ops::constant(alone, 0.25f, {1, 8});
  alone.output("y", ops::matmul(constant, alone.input("w", {DType::f32, {8, 3}})));
  Program program(graph, state, {.guard_bytes = 64}), single(alone, state, {.guard_bytes = 64});
  EXPECT_EQ(single.report().kernels, 1);
  for (int run = 1; run <= 3; ++run) {
    std::vector<float> values(24);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * static_cast<std::size_t>(run));
    for (Program* each : {&program, &single}) {
      each->write("w", values.data(), values.size() * sizeof(float));
      each->run();
      EXPECT_TRUE(each->guards_intact());
    }
    const auto n = static_cast<float>(run);
    EXPECT_EQ(values_of(program, "y"), (std::vector<float>{-12 * n, -12 * n, -12 * n}));
    EXPECT_EQ(values_of(program, "slope"), (std::vector<float>{0.25, 0.25, 0.25, 0.25, -0.25, -0.25, -0.25, -0.25}));
    EXPECT_EQ(values_of(single, "y"), (std::vector<float>{21 * n, 23 * n, 25 * n}));
  }
}

// A product adds its bias before anything is rounded.
TEST_F(PlanTest, Bf16ProductsEndWithTheirBias) {
  const std::unique_ptr<kernels::Backend> reference = kernels::make_reference_backend();
  State own(*reference, 1);
  const Value x = graph.input("x", {DType::bf16, {2, 3}}), w = graph.input("w", {DType::bf16, {4, 3}}),
              b = graph.input("b", {DType::f32, {4}});
  const Value y = ops::matmul(x, w, false, true) + ops::reshape(as_bf16(b), {1, 4});
  graph.output("y", ops::cast(ops::leaky_relu(y, 0.2f), DType::f32));
  Program program(graph, own);
  EXPECT_EQ(program.report().kernels, 1);
  const std::array<float, 6> of_x{1, 2, 3, -1, 0, 2};
  const std::array<float, 12> of_w{1, 0, 0, 0, 1, 0, 0, 0, 1, -1, -1, -1};
  const std::array<float, 4> of_b{0.5f, -4, 0, 1};
  program.write("x", of_x.data(), sizeof of_x);
  program.write("w", of_w.data(), sizeof of_w);
  program.write("b", of_b.data(), sizeof of_b);
  program.run();
  const std::vector<float> expected{1.5f, -0.4f, 3, -1, -0.1f, -0.8f, 2, 0};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(values_of(program, "y")[i], expected[i], 1e-6) << i;
}

// 1 - t of a few numbers t is worked out where it is read.
TEST_F(PlanTest, BroadcastMapsAreInlined) {
  const Value x = graph.input("x", {DType::f32, {2, 3}}), y = graph.input("y", {DType::f32, {2, 3}}),
              t = graph.input("t", {DType::f32, {2, 1}});
  graph.output("mix", t * x + ops::affine(t, -1, 1) * y);
  Program program(graph, state);
  EXPECT_EQ(program.report().kernels, 1);
  const std::array<float, 6> of_x{1, 2, 3, 4, 5, 6}, of_y{10, 20, 30, 40, 50, 60};
  const std::array<float, 2> of_t{0, 0.5f};
  program.write("x", of_x.data(), sizeof of_x);
  program.write("y", of_y.data(), sizeof of_y);
  program.write("t", of_t.data(), sizeof of_t);
  program.run();
  EXPECT_EQ(values_of(program, "mix"), (std::vector<float>{10, 20, 30, 22, 27.5f, 33}));
}

}  // namespace
}  // namespace gannet
