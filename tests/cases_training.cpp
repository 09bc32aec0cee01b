// Cases of batch normalisation, the loss on logits, optimizers, moving averages and random numbers.
#include <cmath>
#include <limits>

#include "kernels/operands.h"
#include "tests/case_table.h"

namespace gannet::tests {
namespace {

using namespace kernels;

Case batch_norm_case(Draw& draw, BatchNorm::Kind kind, bool large) {
  BatchNorm spec;
  spec.kind = kind;
  spec.groups = static_cast<int>(draw.pick({1, 1, 2, 3}));
  const std::int64_t batch = spec.groups * draw.between(large ? 16 : 1, large ? 24 : 6);
  const std::int64_t channels = draw.pick<std::int64_t>({1, 3, 4, 7, 8, 16, 24, 32, 48, 100});
  Shape shape{batch, channels};
  if (large || draw.chance(0.8)) shape = {batch, draw.between(1, large ? 17 : 9), draw.between(1, large ? 17 : 9), channels};
  spec.x = {draw.pick({DType::f32, DType::f32, DType::bf16}), shape, draw_picture_layout(draw, shape)};
  spec.epsilon = draw.pick({1e-5f, 1e-3f});
  spec.activation = draw_activation(draw);
  const std::int64_t count = shape.elements() / channels / spec.groups;
  // With few values a channel's gradient cancels almost entirely; what is left is rounding unless epsilon is large.
  if (count < 8) spec.epsilon = 0.5f;
  Case result;
  result.fills = {draw.chance(0.2) ? normal(20, 3) : normal(0.5, 2), normal(1, 0.3), normal(0, 0.5)};
  if (kind == BatchNorm::Kind::backward) {
    result.fills.insert(result.fills.end(), {normal(), normal(), normal()});
    result.in_place = {{0, 5}};
  } else if (count > 1 && draw.chance(0.6)) {
    spec.momentum = draw.pick({0.1f, 0.01f, 1.0f});
    result.fills.insert(result.fills.end(), {normal(), uniform(0.1, 2)});
    result.in_place = {{3, 3}, {4, 4}};
  }
  result.floor = kind == BatchNorm::Kind::backward ? 1 : 0.01;
  result.tolerance = 2e-5;
  result.spec = spec;
  return result;
}

Case sigmoid_bce_case(Draw& draw) {
  SigmoidBce spec;
  const std::int64_t runs = draw.between(1, 4), length = draw.pick<std::int64_t>({1, 2, 5, 16, 33, 64, 1000});
  spec.logits = {DType::f32, draw.chance(0.5) ? Shape{runs * length, 1} : Shape{runs, length}, Layout::plain};
  for (int g = 0; g < runs; ++g) {
    spec.targets.push_back(draw.pick({0.0f, 1.0f, 0.9f, 0.1f}));
    spec.weights.push_back(draw.pick({1.0f, -1.0f, 0.5f, 2.0f}));
  }
  Case result;
  result.fills = {draw.pick<Fill>({normal(0, 2), normal(0, 2), normal(0, 50), uniform(-1e4, 1e4),
                                   listed({0, -0.0, 88, -88, 89, -89, 1e30, -1e30, 17, -17, 1e-20})})};
  spec.gradient = draw.pick({DType::f32, DType::bf16});
  result.floor = 1e-3;
  result.spec = spec;
  return result;
}

std::vector<TensorDesc> draw_parameters(Draw& draw) {
  std::vector<TensorDesc> parameters;
  for (std::int64_t count = draw.between(1, 7); count > 0; --count) {
    Shape shape = draw_shape(draw, static_cast<int>(draw.between(0, 4)), draw.chance(0.1) ? 20'000 : 1500);
    if (draw.chance(0.4)) shape = {draw.pick<std::int64_t>({8, 16, 32}), 4, 3, draw.pick<std::int64_t>({3, 8, 16, 48})};
    parameters.push_back({DType::f32, shape, draw_filter_layout(draw, shape)});
  }
  return parameters;
}

Case optimizer_case(Draw& draw, OptimizerUpdate::Kind kind) {
  OptimizerUpdate spec;
  spec.kind = kind;
  spec.parameters = draw_parameters(draw);
  spec.beta1 = draw.pick({0.5f, 0.9f, 0.0f});
  spec.beta2 = draw.pick({0.999f, 0.9f});
  spec.alpha = draw.pick({0.99f, 0.9f});
  spec.momentum = draw.pick({0.0f, 0.9f});
  spec.epsilon = draw.pick({1e-8f, 1e-4f});
  spec.weight_decay = draw.pick({0.0f, 0.0f, 0.01f});
  spec.counts = draw.chance(0.7);
  Case result;
  const double step = static_cast<double>(draw.pick({0, 1, 7, 1000, 100'000, -1}));
  result.fills = {listed({draw.pick({2e-4, 0.1})}), listed({step})};
  result.in_place = {{0, 1}};
  const int moments = spec.moments(), poisoned = draw.chance(0.3) ? static_cast<int>(draw.between(0, 6)) : -1;
  const double poison = draw.pick({std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                                   std::numeric_limits<double>::quiet_NaN()});
  for (std::size_t t = 0; t < spec.parameters.size(); ++t) {
    const int input = 2 + static_cast<int>(t) * (2 + moments), output = 2 + static_cast<int>(t) * (1 + moments);
    result.fills.push_back(normal());
    Fill gradient = normal(0, 0.1);
    // A single element that is not finite, anywhere; every later tensor has one in its first place.
    if (poisoned >= 0 && static_cast<int>(t) >= poisoned) {
      std::vector<double> values(static_cast<std::size_t>(spec.parameters[t].elements()), 0.125);
      values[static_cast<std::size_t>(static_cast<int>(t) == poisoned ? draw.between(0, spec.parameters[t].elements() - 1)
                                                                      : 0)] = poison;
      gradient = listed(values);
    }
    result.fills.push_back(gradient);
    result.in_place.push_back({output, input});
    for (int m = 0; m < moments; ++m) {
      result.fills.push_back(kind == OptimizerUpdate::Kind::adam && m == 0 ? normal(0, 0.1) : uniform(0.001, 0.2));
      result.in_place.push_back({output + 1 + m, input + 2 + m});
    }
  }
  result.spec = spec;
  return result;
}

Case ema_case(Draw& draw) {
  EmaUpdate spec;
  spec.parameters = draw_parameters(draw);
  spec.decay = draw.pick({0.999f, 0.9f, 0.0f, 1.0f});
  Case result;
  result.fills.assign(2 * spec.parameters.size(), normal());
  for (std::size_t t = 0; t < spec.parameters.size(); ++t) {
    result.in_place.push_back({static_cast<int>(t), static_cast<int>(2 * t)});
  }
  result.spec = spec;
  return result;
}

Case bf16_copies_case(Draw& draw) {
  Bf16Copies spec;
  spec.parameters = draw_parameters(draw);
  Case result;
  result.fills.assign(spec.parameters.size(), normal());
  result.tolerance = 0;
  result.spec = spec;
  return result;
}

Case random_case(Draw& draw, Random::Distribution distribution, DType type, std::int64_t elements) {
  Random spec;
  spec.distribution = distribution;
  spec.a = draw.pick({0.0f, -1.0f, 0.5f});
  spec.b = draw.pick({1.0f, 2.0f, 0.02f});
  spec.seed = draw.word();
  spec.stream = static_cast<std::uint32_t>(draw.word());
  if (draw.chance(0.5)) spec.first = draw.pick<std::int64_t>({1, 3, 4, 62, 64, 1000, 12'345'678'903});
  spec.output = {type, Shape{elements}, Layout::plain};
  Case result;
  result.fills = {listed({static_cast<double>(draw.pick<std::int64_t>({0, 1, 12345, 2147483647, -1}))})};
  result.tolerance = 0;
  result.spec = spec;
  return result;
}

}  // namespace

std::vector<Case> batch_norm_cases() {
  CaseTable table("batch norm", 15020316);
  for (const auto kind : {BatchNorm::Kind::forward, BatchNorm::Kind::backward}) {
    table.add(160, [&](Draw& draw) { return batch_norm_case(draw, kind, false); });
    table.add(12, [&](Draw& draw) { return batch_norm_case(draw, kind, true); });
  }
  return table.take();
}

std::vector<Case> sigmoid_bce_cases() {
  CaseTable table("sigmoid BCE", 14061261);
  table.add(120, sigmoid_bce_case);
  return table.take();
}

std::vector<Case> optimizer_cases() {
  CaseTable table("optimizer", 14126980);
  using Kind = OptimizerUpdate::Kind;
  for (const Kind kind : {Kind::adam, Kind::rmsprop, Kind::sgd})
    table.add(60, [&](Draw& draw) { return optimizer_case(draw, kind); });
  table.add(30, ema_case);
  table.add(30, bf16_copies_case);
  return table.take();
}

std::vector<Case> random_cases() {
  CaseTable table("random", 4321);
  using Distribution = Random::Distribution;
  for (const Distribution distribution : {Distribution::normal, Distribution::uniform}) {
    for (const std::int64_t elements : {1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 1023, 6400, 100'003}) {
      for (const DType type : {DType::f32, DType::bf16})
        table.add(2, [&](Draw& draw) { return random_case(draw, distribution, type, elements); });
    }
  }
  return table.take();
}

}  // namespace gannet::tests
