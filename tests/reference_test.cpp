// The judge judged: the reference backend against figures worked out by hand or published, and its refusals.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "kernels/check.h"
#include "kernels/operands.h"
#include "kernels/philox.h"
#include "tests/kernel_run.h"
#include "tests/refusals.h"

namespace gannet::tests {
namespace {

using namespace kernels;
using Tensors = std::vector<std::vector<double>>;

TensorDesc f32(Shape shape) { return {DType::f32, shape, Layout::plain}; }

Tensors run(const KernelSpec& spec, const Tensors& inputs) {
  Case test;
  test.spec = spec;
  const KernelRun result = run_kernel(*make_reference_backend(), test, inputs, false, std::byte{0xFF});
  EXPECT_TRUE(result.trespasses.empty());
  return result.values;
}

void expect_near(const std::vector<double>& result, const std::vector<double>& expected, double tolerance = 1e-12) {
  ASSERT_EQ(result.size(), expected.size());
  for (std::size_t i = 0; i < result.size(); ++i) EXPECT_NEAR(result[i], expected[i], tolerance) << "element " << i;
}

// Five pixels of two channels in the middle row of three, under the last row of a 3x3 filter, at stride 2 and pad 1.
TEST(Reference, ConvolutionByHand) {
  const Convolution spec{ConvolutionKind::fprop, f32({1, 3, 5, 2}), f32({1, 3, 3, 2}), f32({1, 2, 3, 1}), 2, 1, true, {}, {}};
  std::vector<double> x(30, 0), w(18, 0);
  for (int i = 0; i < 10; ++i) x[static_cast<std::size_t>(10 + i)] = 1 + i;
  const double taps[] = {1, 10, 2, 20, 3, 30};
  std::copy(std::begin(taps), std::end(taps), w.begin() + 12);
  // The last row of taps meets picture row 1 at p = 0 and leaves the picture at p = 1. Along the row, q = 0 meets pixels
  // -1, 0, 1; q = 1 pixels 1, 2, 3; q = 2 pixels 3, 4, 5.
  const double q0 = 1 * 2 + 2 * 20 + 3 * 3 + 4 * 30, q1 = 3 * 1 + 4 * 10 + 5 * 2 + 6 * 20 + 7 * 3 + 8 * 30;
  const double q2 = 7 * 1 + 8 * 10 + 9 * 2 + 10 * 20;
  expect_near(run(spec, {x, w, {0.5}})[0], {q0 + 0.5, q1 + 0.5, q2 + 0.5, 0.5, 0.5, 0.5});
}

TEST(Reference, MatmulByHand) {
  Matmul spec{f32({2, 3}), f32({3, 2}), f32({2, 2}), false, false, true, {Activation::Kind::leaky_relu, 0.5f}};
  expect_near(run(spec, {{1, 2, 3, 4, 5, 6}, {1, 0, 0, 1, -1, -2}, {0, 1}})[0], {-1, -1.5, -1, -3});
  spec.a.shape = {3, 2}, spec.transpose_a = true;
  expect_near(run(spec, {{1, 4, 2, 5, 3, 6}, {1, 0, 0, 1, -1, -2}, {0, 1}})[0], {-1, -1.5, -1, -3});
}

TEST(Reference, BatchNormByHand) {
  // Two groups of two: {1, 3} has mean 2 and variance 1, {4, 4} has none.
  const BatchNorm spec{BatchNorm::Kind::forward, f32({4, 1}), 2, 0.25f, {}};
  const Tensors result = run(spec, {{1, 3, 4, 4}, {2}, {0.5}});
  const double hat = 1 / std::sqrt(1.25);
  expect_near(result[0], {0.5 - 2 * hat, 0.5 + 2 * hat, 0.5, 0.5});
  expect_near(result[1], {2, 4});
  expect_near(result[2], {1, 0});
  // 0 -> 0.5 * 2 -> 0.5 * (1 + 4); unbiased variances are 2 and 0: 1 -> 1.5 -> 0.75.
  BatchNorm running = spec;
  running.momentum = 0.5f;
  const Tensors moved = run(running, {{1, 3, 4, 4}, {2}, {0.5}, {0}, {1}});
  expect_near(moved[3], {2.5});
  expect_near(moved[4], {0.75});
}

TEST(Reference, SigmoidBceByHand) {
  const Tensors result = run(SigmoidBce{f32({2, 1}), {1, 0}, {1, 2}}, {{0, std::log(3)}});
  expect_near(result[0], {std::log(2) + 2 * std::log(4)});
  expect_near(result[1], {-0.5, 1.5});
  expect_near(result[2], {0.5, 0.75});
}

// The first step of Adam moves each parameter by the learning rate against the gradient's sign; two steps of the same gradient
// twice that (bias correction makes both moments exact).
TEST(Reference, AdamByHand) {
  OptimizerUpdate spec;
  spec.parameters = {f32({2})};
  spec.beta1 = 0.5f, spec.beta2 = 0.75f, spec.epsilon = 0;
  Tensors result = run(spec, {{0.125}, {0}, {1, -1}, {0.5, -4}, {0, 0}, {0, 0}});
  expect_near(result[0], {1});
  expect_near(result[1], {0});
  expect_near(result[2], {0.875, -0.875});
  expect_near(result[3], {0.25, -2});
  expect_near(result[4], {0.0625, 4});
  result = run(spec, {{0.125}, result[0], result[2], {0.5, -4}, result[3], result[4]});
  expect_near(result[2], {0.75, -0.75});
  // One gradient that is not finite: nothing moves, and it is named.
  result = run(spec, {{0.125}, {3}, {1, -1}, {0.5, std::nan("")}, {7, 8}, {9, 10}});
  expect_near(result[0], {-1});
  expect_near(result[1], {1});
  expect_near(result[2], {1, -1});
  expect_near(result[3], {7, 8});
  // From there on nothing ever does.
  result = run(spec, {{0.125}, result[0], {1, -1}, {0.5, 0.5}, {7, 8}, {9, 10}});
  expect_near(result[0], {-1});
  expect_near(result[1], {2});
  expect_near(result[2], {1, -1});
  expect_near(result[3], {7, 8});
}

TEST(Reference, SgdAndRmspropByHand) {
  OptimizerUpdate spec;
  spec.parameters = {f32({1})};
  spec.kind = OptimizerUpdate::Kind::sgd;
  spec.momentum = 0.5f;
  Tensors result = run(spec, {{0.1}, {0}, {1}, {2}, {99}});  // the first buffer is the gradient
  expect_near(result[2], {0.8});
  expect_near(result[3], {2});
  result = run(spec, {{0.1}, {1}, {1}, {2}, {4}});
  expect_near(result[2], {0.6});
  expect_near(result[3], {4});
  spec.kind = OptimizerUpdate::Kind::rmsprop;
  spec.alpha = 0.75f, spec.momentum = 0, spec.epsilon = 1;
  result = run(spec, {{0.5}, {0}, {1}, {2}, {4}});  // 0.75 * 4 + 0.25 * 4 = 4
  expect_near(result[2], {1 - 0.5 * 2 / 3.0});
  expect_near(result[3], {4});
}

TEST(Reference, CopyByHand) {
  // Rows 1 … 2 of a 3x2 matrix, transposed, into a 4x3 one at (1,1).
  const Copy spec{f32({3, 2}), f32({4, 3}), {1, 0}, {1, 0}, {1, 1}, {2, 2}};
  expect_near(run(spec, {{1, 2, 3, 4, 5, 6}})[0], {0, 0, 0, 0, 3, 5, 0, 4, 6, 0, 0, 0});
}

// The known answers that Random123 publishes for philox4x32-10.
TEST(Philox, KnownAnswers) {
  using philox::Block;
  const auto expect = [](Block<std::uint32_t> counter, std::uint32_t low, std::uint32_t high, Block<std::uint32_t> answer) {
    const auto block = philox::generate(counter, low, high);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(block.word[i], answer.word[i]);
  };
  expect({{0, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  expect({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u, {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  expect({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0,
         {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

// kernels/random.h with the mathematical functions of the library in double.
TEST(Philox, NumbersAreWhatTheContractSays) {
  Random spec;
  spec.seed = 0x0123456789abcdefull, spec.stream = 42;
  spec.output = f32({20'001});
  const std::vector<double> normal = run(spec, {{7}})[0];
  spec.distribution = Random::Distribution::uniform, spec.a = -2, spec.b = 3;
  const std::vector<double> uniform = run(spec, {{7}})[0];
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < normal.size(); ++i) {
    const auto block = philox::generate<std::uint32_t>({{static_cast<std::uint32_t>(i / 4), 42, 7, 0}}, 0x89abcdef, 0x01234567);
    const std::uint32_t* pair = block.word + (i % 4 < 2 ? 0 : 2);
    const double radius = std::sqrt(-2 * std::log(((pair[0] >> 8) + 1) * 0x1p-24));
    const double angle = 2 * std::numbers::pi * (pair[1] >> 8) * 0x1p-24;
    EXPECT_NEAR(normal[i], radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle)), 2e-6);
    EXPECT_NEAR(uniform[i], -2 + 5 * ((block.word[i % 4] >> 8) * 0x1p-24), 5e-7);
    EXPECT_TRUE(uniform[i] >= -2 && uniform[i] < 3);
    sum += normal[i], squares += normal[i] * normal[i];
  }
  EXPECT_NEAR(sum / 20'001, 0, 0.03);  // four standard errors
  EXPECT_NEAR(squares / 20'001, 1, 0.04);
}

TEST(Reference, RefusesWhatTheHeadersForbid) {
  const auto backend = make_reference_backend();
  for (const Refusal& refusal : refusals()) {
    try {
      backend->create(refusal.spec);
      ADD_FAILURE() << name_of(refusal.spec) << ": " << refusal.rule << " is not checked";
    } catch (const InputError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with(fmt::format("[{}] ", name_of(refusal.spec)))) << error.what();
    }
  }
}

TEST(Reference, KnowsPlainLayoutsOnly) {
  const TensorDesc blocked{DType::f32, {1, 2, 2, 8}, Layout::blocked8};
  EXPECT_THROW(make_reference_backend()->create(BatchNorm{BatchNorm::Kind::forward, blocked, 1, 1e-5f, {}}), InputError);
}

}  // namespace
}  // namespace gannet::tests
