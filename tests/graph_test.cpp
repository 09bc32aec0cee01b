// The graph, its derivatives and its programs, on the double-precision reference backend.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"
#include "engine/run/program.h"

namespace gannet {
namespace {

Variable constant_variable(std::string name, const Shape& shape, float value) {
  return {std::move(name), {DType::f32, shape}, {Initializer::Kind::constant, value, 0}};
}

class GraphTest : public ::testing::Test {
 protected:
  std::unique_ptr<kernels::Backend> backend = kernels::make_reference_backend();
  State state{*backend, 1};
  Graph graph;
};

TEST_F(GraphTest, ThirdDerivativeOfACube) {
  const Value x = graph.input("x", {DType::f32, {3}});
  Value y = ops::sum_all(x * x * x);
  for (int order = 1; order <= 3; ++order) {
    y = ops::sum_all(grad(y, std::span(&x, 1))[0]);
    graph.output("d" + std::to_string(order), y);
  }
  Program program(graph, state);
  const std::array<float, 3> values{1, 2, 3};
  program.write("x", values.data(), sizeof values);
  program.run();
  EXPECT_FLOAT_EQ(program.read_scalar("d1"), 3 * (1 + 4 + 9));
  EXPECT_FLOAT_EQ(program.read_scalar("d2"), 6 * (1 + 2 + 3));
  EXPECT_FLOAT_EQ(program.read_scalar("d3"), 18);
}

TEST_F(GraphTest, StopGradientFreezes) {
  const Value x = graph.input("x", {DType::f32, {2}});
  const Value y = ops::sum_all(ops::stop_gradient(x) * x);
  graph.output("dx", grad(y, std::span(&x, 1))[0]);
  Program program(graph, state);
  const std::array<float, 2> values{5, 7};
  program.write("x", values.data(), sizeof values);
  program.run();
  std::array<float, 2> dx{};
  program.read("dx", dx);
  EXPECT_EQ(dx, values);
}

TEST_F(GraphTest, WhatIsFrozenIsNotDifferentiated) {
  const Value x = graph.input("x", {DType::f32, {4, 4}}), w = graph.input("w", {DType::f32, {4, 4}});
  const Value y = ops::matmul(ops::stop_gradient(ops::matmul(x, w)), x);
  const std::size_t before = graph.nodes().size();
  grad(ops::sum_all(y), std::span(&w, 1));
  for (std::size_t i = before; i < graph.nodes().size(); ++i) EXPECT_NE(graph.nodes()[i].op->name(), "matmul");
}

TEST_F(GraphTest, UpdatesHaveNoDerivative) {
  const Value p = graph.input("p", {DType::f32, {2}}), rate = graph.input("rate", {DType::f32, {}}),
              step = graph.input("step", {DType::f32, {}});
  kernels::OptimizerUpdate sgd;
  sgd.kind = kernels::OptimizerUpdate::Kind::sgd;
  const std::vector<std::vector<Value>> moments(1);
  const Value updated = ops::optimizer_update(sgd, rate, step, std::span(&p, 1), std::span(&p, 1), moments).parameters[0];
  EXPECT_THROW(grad(ops::sum_all(updated), std::span(&p, 1)), InputError);
}

TEST_F(GraphTest, GradientOfWhatDoesNotMatterIsZero) {
  const Value x = graph.input("x", {DType::f32, {2}}), z = graph.input("z", {DType::f32, {2}});
  graph.output("dz", grad(ops::sum_all(x), std::span(&z, 1))[0]);
  Program program(graph, state);
  program.run();
  std::array<float, 2> dz{1, 1};
  program.read("dz", dz);
  EXPECT_EQ(dz, (std::array<float, 2>{0, 0}));
}

TEST_F(GraphTest, ReadAfterAssignSeesTheNewValue) {
  const Variable counter = constant_variable("counter", {}, 10);
  graph.output("before", graph.read(counter));
  graph.assign(counter, graph.read(counter) + 1.0f);
  graph.output("after", graph.read(counter) * 2.0f);
  Program program(graph, state);
  for (int run = 0; run < 3; ++run) {
    program.run();
    EXPECT_EQ(program.read_scalar("before"), static_cast<float>(10 + run));
    EXPECT_EQ(program.read_scalar("after"), static_cast<float>(2 * (11 + run)));
    EXPECT_EQ(state.get("counter")[0], static_cast<float>(11 + run));
  }
}

TEST_F(GraphTest, VariablesCanSwap) {
  const Variable a = constant_variable("a", {2}, 1), b = constant_variable("b", {2}, 2);
  const Value old_a = graph.read(a), old_b = graph.read(b);
  graph.assign(a, old_b);
  graph.assign(b, old_a);
  Program program(graph, state);
  program.run();
  EXPECT_EQ(state.get("a")[0], 2);
  EXPECT_EQ(state.get("b")[0], 1);
}

TEST_F(GraphTest, VariableTakesWhatAnotherHeldBeforeItsUpdate) {
  const Variable a = constant_variable("a", {2}, 3), b = constant_variable("b", {2}, 0);
  const Value old = graph.read(a);
  graph.assign(a, old * 2.0f);
  graph.assign(b, old);
  Program program(graph, state);
  program.run();
  EXPECT_EQ(state.get("a")[0], 6);
  EXPECT_EQ(state.get("b")[0], 3);
}

TEST_F(GraphTest, UpdateThatAnOlderReaderFollows) {
  // The old value is read after the new one is made: the update can not be in place.
  const Variable w = constant_variable("w", {4}, 3);
  const Value old = graph.read(w), grown = old * 2.0f;
  graph.assign(w, grown);
  graph.output("sum", ops::sum_all(grown) + ops::sum_all(old));
  Program program(graph, state);
  program.run();
  EXPECT_EQ(program.read_scalar("sum"), 24 + 12);
  EXPECT_EQ(state.get("w")[0], 6);
}

// Variables that one program keeps in the layouts of its convolutions, joined or written by another.
TEST(GraphLayouts, ProgramsShareVariablesInAnyLayout) {
  const auto cpu = kernels::make_cpu_backend();
  State state(*cpu, 1);
  const Variable filter{"filter", {DType::f32, {32, 3, 3, 32}}, {Initializer::Kind::normal, 0, 1}};
  const Variable other{"other", {DType::f32, {32, 3, 3, 32}}, {Initializer::Kind::normal, 0, 1}};
  state.add(other, Layout::plain);
  Graph convolution;
  const Value x = convolution.input("x", {DType::f32, {2, 8, 8, 32}});
  convolution.output("y", ops::sum_all(ops::conv_fprop(x, convolution.read(filter), 1, 1)));
  const Program first(convolution, state);

  Graph joins;
  joins.assign(filter, joins.read(filter) + joins.read(other) * 2.0f);
  const std::vector<float> a = state.get("filter"), b = state.get("other");
  Program(joins, state).run();
  const std::vector<float> joined = state.get("filter");
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_FLOAT_EQ(joined[i], a[i] + 2 * b[i]);

  Graph writes;
  writes.assign(filter, writes.input("values", filter.type));
  Program program(writes, state);
  program.write("values", b.data(), b.size() * sizeof(float));
  program.run();
  EXPECT_EQ(state.get("filter"), b);
}

TEST_F(GraphTest, OnlyWhatIsNeededRuns) {
  const Value x = graph.input("x", {DType::f32, {8, 8}});
  ops::matmul(x, x);  // nobody reads it
  graph.output("y", ops::sum_all(ops::tanh(x * 2.0f + 1.0f) * x));
  Program program(graph, state);
  EXPECT_EQ(program.report().operators_pruned, 1);
  EXPECT_EQ(program.report().kernels, 1) << "a chain and its sum are one kernel";
}

TEST_F(GraphTest, ConvolutionEndsWithItsActivation) {
  const Value x = graph.input("x", {DType::f32, {2, 6, 6, 3}}), w = graph.input("w", {DType::f32, {4, 3, 3, 3}}),
              b = graph.input("b", {DType::f32, {4}});
  const Value y = ops::leaky_relu(ops::conv_fprop(x, w, 1, 1) + b, 0.2f);
  graph.output("dw", grad(ops::sum_all(y * y), std::span(&w, 1))[0]);
  const Program fused(graph, state), plain(graph, state, {.fuse = false});
  EXPECT_LT(fused.report().kernels, plain.report().kernels);
  EXPECT_EQ(fused.report().kernels, 3) << "fprop with bias and activation, its derivative, wgrad";
}

TEST_F(GraphTest, PartsAreMadeAndReadInPlace) {
  const Value x = graph.input("x", {DType::f32, {4, 16}}), y = graph.input("y", {DType::f32, {2, 16}});
  const Value tanh = ops::tanh(x), exp = ops::exp(y);
  const Value all = ops::matmul(ops::concatenate(std::array{tanh, exp}, 0), ops::constant(graph, 0.5f, {16, 16}));
  graph.output("sum", ops::sum_all(all));
  graph.output("exp", ops::sum_all(exp));                                                             // read as a part, too
  graph.output("part", ops::sum_all(ops::slice_axis(all, 0, 4, 2)));                                  // aligned
  graph.output("first", ops::reshape(ops::slice_axis(ops::slice_axis(all, 0, 1, 2), 1, 3, 1), {2}));  // a column: copied
  Program program(graph, state, {.guard_bytes = 64}), plain(graph, state, {.fuse = false});
  EXPECT_EQ(program.report().kernels, 2 + 1 + 3 + 1) << "no concatenation, no slice of rows; the constant was made before";
  std::vector<float> values(64, 0.5f);
  for (Program* each : {&program, &plain}) {
    each->write("x", values.data(), 64 * sizeof(float));
    each->write("y", values.data(), 32 * sizeof(float));
    each->run();
    EXPECT_NEAR(each->read_scalar("sum"), 8 * (64 * std::tanh(0.5) + 32 * std::exp(0.5)), 1e-3);
    EXPECT_NEAR(each->read_scalar("exp"), 32 * std::exp(0.5), 1e-4);
    EXPECT_NEAR(each->read_scalar("part"), 8 * 32 * std::exp(0.5), 1e-3);
    std::array<float, 2> first{};
    each->read("first", first);
    EXPECT_NEAR(first[1], 8 * std::tanh(0.5), 1e-5);
  }
  EXPECT_TRUE(program.guards_intact());
}

TEST_F(GraphTest, WrongShapesAreNamed) {
  const Value x = graph.input("x", {DType::f32, {2, 8, 8, 3}}), w = graph.input("w", {DType::f32, {4, 3, 3, 5}});
  try {
    const Graph::Scope scope(graph, "discriminator");
    ops::conv_fprop(x, w, 1, 1);
    FAIL() << "no error";
  } catch (const InputError& error) {
    const std::string message = error.what();
    for (const char* part : {"conv_fprop", "f32(2,8,8,3)", "f32(4,3,3,5)", "graph_test.cpp", "discriminator"})
      EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

TEST_F(GraphTest, SharedNamesMustAgree) {
  graph.read(constant_variable("w", {2}, 0));
  EXPECT_THROW(graph.read(constant_variable("w", {3}, 0)), InputError);
  graph.input("x", {DType::f32, {1}});
  EXPECT_THROW(graph.input("x", {DType::f32, {1}}), InputError);
}

TEST_F(GraphTest, GuardsSurviveARun) {
  const Value x = graph.input("x", {DType::f32, {5, 7}});
  graph.output("y", ops::matmul(ops::tanh(x), ops::exp(x), false, true));
  Program program(graph, state, {.guard_bytes = 128});
  const std::vector<float> values(35, 0.25f);
  program.write("x", values.data(), values.size() * sizeof(float));
  program.run();
  EXPECT_TRUE(program.guards_intact());
}

TEST_F(GraphTest, FirstNonFiniteIsNamed) {
  const Value x = graph.input("x", {DType::f32, {2, 2}});
  Value y;
  {
    const Graph::Scope scope(graph, "generator.main.3");
    y = ops::matmul(ops::log(x), x);
  }
  graph.output("y", ops::sum_all(y));
  Program program(graph, state, {.fuse = false});
  const std::array<float, 4> values{1, 1, -1, 1};
  program.write("x", values.data(), sizeof values);
  EXPECT_EQ(program.find_nonfinite().label, "generator.main.3 log");
}

}  // namespace
}  // namespace gannet
