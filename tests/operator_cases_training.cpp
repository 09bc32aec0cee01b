// Cases of products, fused operators, random draws and updates; and graphs of many operators.
#include <fmt/format.h>

#include "engine/graph/ops.h"
#include "tests/operator_cases.h"

namespace gannet::tests {
namespace {

using kernels::Activation;

struct Pictures {
  std::int64_t n, h, w, c, k, r, s;
  int stride, pad;
  std::int64_t p() const { return (h + 2 * pad - r) / stride + 1; }
  std::int64_t q() const { return (w + 2 * pad - s) / stride + 1; }
  Shape x() const { return {n, h, w, c}; }
  Shape filter() const { return {k, r, s, c}; }
  Shape y() const { return {n, p(), q(), k}; }
};

Pictures draw_pictures(Draw& draw) {
  for (;;) {
    Pictures g{};
    const bool wide = draw.chance(0.4);  // channels that backends like to block
    const auto channels = [&] { return wide ? draw.pick<std::int64_t>({8, 16, 32}) : draw.between(1, 5); };
    g.n = draw.between(1, 3), g.h = draw.between(1, wide ? 5 : 7), g.w = draw.between(1, wide ? 5 : 7);
    g.c = channels(), g.k = channels(), g.r = draw.between(1, 4), g.s = draw.between(1, 4);
    g.stride = static_cast<int>(draw.between(1, 3)), g.pad = static_cast<int>(draw.between(0, 2));
    if (g.h + 2 * g.pad >= g.r && g.w + 2 * g.pad >= g.s && g.n * g.p() * g.q() * g.c * g.k * g.r * g.s < 40'000) return g;
  }
}

// Both operands in bf16 now and then.
OperatorCase product(Draw& draw, Shape a, Shape b, std::function<Value(Value, Value)> op) {
  const bool half = draw.chance(0.2);
  const DType type = half ? DType::bf16 : DType::f32;
  OperatorCase test;
  test.operands = {{a, normal(), type}, {b, normal(), type}};
  test.build = [=](auto x, auto) -> Values { return {op(x[0], x[1])}; };
  test.tolerance = half ? 3e-2 : 1e-5;
  return test;
}

OperatorCase conv_fprop_case(Draw& draw) {
  const Pictures g = draw_pictures(draw);
  return product(draw, g.x(), g.filter(), [=](Value x, Value w) { return ops::conv_fprop(x, w, g.stride, g.pad); });
}

OperatorCase conv_dgrad_case(Draw& draw) {
  const Pictures g = draw_pictures(draw);
  return product(draw, g.y(), g.filter(), [=](Value y, Value w) { return ops::conv_dgrad(y, w, g.stride, g.pad, g.h, g.w); });
}

OperatorCase conv_wgrad_case(Draw& draw) {
  const Pictures g = draw_pictures(draw);
  return product(draw, g.x(), g.y(), [=](Value x, Value y) { return ops::conv_wgrad(x, y, g.stride, g.pad, g.r, g.s); });
}

OperatorCase conv_transpose_case(Draw& draw) {
  for (;;) {
    const Pictures g = draw_pictures(draw);
    if ((g.p() - 1) * g.stride - 2 * g.pad + g.r < 1 || (g.q() - 1) * g.stride - 2 * g.pad + g.s < 1) continue;
    return product(draw, g.y(), g.filter(), [=](Value y, Value w) { return ops::conv_transpose(y, w, g.stride, g.pad); });
  }
}

OperatorCase matmul_case(Draw& draw, bool f32_result) {
  const std::int64_t m = draw.between(1, 9), n = draw.between(1, 9), k = draw.between(1, 9);
  const bool ta = draw.chance(0.5), tb = draw.chance(0.5);
  return product(draw, ta ? Shape{k, m} : Shape{m, k}, tb ? Shape{n, k} : Shape{k, n},
                 [=](Value a, Value b) { return f32_result ? ops::matmul_f32(a, b, ta, tb) : ops::matmul(a, b, ta, tb); });
}

// A convolution that ends with bias and activation: one kernel after fusion.
OperatorCase biased_case(Draw& draw) {
  const Pictures g = draw_pictures(draw);
  const Activation::Kind kind = draw.pick({Activation::Kind::tanh, Activation::Kind::sigmoid});
  const bool transposed = draw.chance(0.5);
  OperatorCase test;
  test.operands = {{transposed ? g.y() : g.x()}, {g.filter(), normal(0, 0.3)}, {Shape{transposed ? g.c : g.k}}};
  test.build = [=](auto x, auto) -> Values {
    const Value y =
        transposed ? ops::conv_dgrad(x[0], x[1], g.stride, g.pad, g.h, g.w) : ops::conv_fprop(x[0], x[1], g.stride, g.pad);
    return {ops::activate(y + x[2], {kind, 0})};
  };
  return test;
}

// results: which of y, mean and variance are used; y alone takes the fused derivative.
OperatorCase batch_norm_case(Draw& draw, bool all_results) {
  const int groups = static_cast<int>(draw.between(1, 2));
  const std::int64_t channels = draw.pick<std::int64_t>({1, 2, 3, 5, 8, 16});
  Shape shape{groups * draw.between(3, 5), channels};
  if (draw.chance(0.7)) shape = {groups * draw.between(2, 3), draw.between(2, 3), draw.between(1, 3), channels};
  const Activation activation = draw_activation(draw);
  OperatorCase test;
  test.operands = {{shape, normal(0.3, 1.5)}, {Shape{channels}, normal(1, 0.2)}, {Shape{channels}, normal(0, 0.3)}};
  const float momentum = draw.pick({0.0f, 0.25f});
  if (momentum > 0)
    test.operands.insert(test.operands.end(), {{Shape{channels}, normal()}, {Shape{channels}, uniform(0.5, 2)}});
  test.build = [=](auto x, auto) -> Values {
    const ops::RunningStatistics running =
        momentum > 0 ? ops::RunningStatistics{x[3], x[4], momentum} : ops::RunningStatistics{};
    const auto result = ops::batch_norm(x[0], x[1], x[2], 1e-2f, activation, groups, running);
    if (!all_results) return {result.y};
    Values values{result.y, result.mean, result.variance};
    if (momentum > 0) values.insert(values.end(), {result.running_mean, result.running_variance});
    return values;
  };
  test.tolerance = 5e-5;
  return test;
}

OperatorCase sigmoid_bce_case(Draw& draw, bool all_results) {
  const std::int64_t runs = draw.between(1, 3);
  std::vector<float> targets, weights;
  for (std::int64_t run = 0; run < runs; ++run) {
    targets.push_back(draw.pick({0.0f, 1.0f, 0.9f}));
    weights.push_back(draw.pick({1.0f, -1.0f, 0.5f}));
  }
  OperatorCase test;
  test.operands = {{Shape{runs * draw.between(1, 7), draw.between(1, 2)}, normal(0, 2)}};
  test.build = [=](auto x, auto) -> Values {
    const auto [loss, probability] = ops::sigmoid_bce(x[0], targets, weights);
    return all_results ? Values{loss, probability} : Values{loss};
  };
  return test;
}

OperatorCase random_case(Draw& draw, bool gaussian) {
  const Shape shape = draw_shape(draw, static_cast<int>(draw.between(0, max_rank)), 300);
  const std::uint64_t seed = draw.word();
  const auto stream = static_cast<std::uint32_t>(draw.word());
  OperatorCase test;
  test.operands = {{Shape{}, integers(0, 100000), DType::i32, false}};
  test.build = [=](auto x, auto) -> Values {
    return {gaussian ? ops::random_normal(x[0], shape, 0.5f, 2, seed, stream)
                     : ops::random_uniform(x[0], shape, -1, 3, seed, stream)};
  };
  return test;
}

OperatorCase optimizer_case(Draw& draw) {
  using Kind = kernels::OptimizerUpdate::Kind;
  kernels::OptimizerUpdate settings;
  settings.kind = draw.pick({Kind::adam, Kind::rmsprop, Kind::sgd});
  settings.momentum = draw.pick({0.0f, 0.9f});
  settings.beta1 = 0.5f;
  const int tensors = static_cast<int>(draw.between(1, 3)), moments = settings.moments();
  OperatorCase test;
  test.operands = {{Shape{}, uniform(0.001, 0.1), DType::f32, false}, {Shape{}, integers(0, 9), DType::f32, false}};
  for (int t = 0; t < tensors; ++t) {
    const Shape shape = draw_shape(draw, static_cast<int>(draw.between(0, 4)), 100);
    for (int i = 0; i < 2 + moments; ++i)
      test.operands.push_back({shape, i < 2 ? normal() : uniform(0.1, 1), DType::f32, false});
  }
  test.build = [=](auto x, auto) -> Values {
    Values parameters, gradients;
    std::vector<Values> state;
    for (std::size_t next = 2; next < x.size();) {
      parameters.push_back(x[next++]);
      gradients.push_back(x[next++]);
      Values& own = state.emplace_back();
      for (int m = 0; m < moments; ++m) own.push_back(x[next++]);
    }
    const auto updated = ops::optimizer_update(settings, x[0], x[1], parameters, gradients, state);
    Values results{updated.step};
    for (std::size_t t = 0; t < updated.parameters.size(); ++t) {
      results.push_back(updated.parameters[t]);
      results.insert(results.end(), updated.moments[t].begin(), updated.moments[t].end());
    }
    return results;
  };
  return test;
}

OperatorCase ema_case(Draw& draw) {
  OperatorCase test;
  for (std::int64_t t = draw.between(1, 3); t > 0; --t) {
    const Shape shape = draw_shape(draw, static_cast<int>(draw.between(0, 4)), 100);
    test.operands.insert(test.operands.end(), 2, {shape, normal(), DType::f32, false});
  }
  test.build = [](auto x, auto) -> Values {
    Values averages, parameters;
    for (std::size_t i = 0; i < x.size(); i += 2) averages.push_back(x[i]), parameters.push_back(x[i + 1]);
    return ops::ema_update(0.9f, averages, parameters);
  };
  return test;
}

}  // namespace

std::vector<OperatorFamily> product_families() {
  return {
      {"conv_fprop", 16, conv_fprop_case},
      {"conv_dgrad", 16, conv_dgrad_case},
      {"conv_wgrad", 16, conv_wgrad_case},
      {"conv_transpose", 10, conv_transpose_case},
      {"conv_fprop", 10, biased_case},
      {"matmul", 16, [](Draw& draw) { return matmul_case(draw, false); }},
      {"matmul_f32", 8, [](Draw& draw) { return matmul_case(draw, true); }},
  };
}

std::vector<OperatorFamily> training_families() {
  return {
      {"batch_norm", 14, [](Draw& draw) { return batch_norm_case(draw, false); }},
      {"batch_norm", 8, [](Draw& draw) { return batch_norm_case(draw, true); }},
      {"sigmoid_bce", 10, [](Draw& draw) { return sigmoid_bce_case(draw, false); }},
      {"sigmoid_bce", 6, [](Draw& draw) { return sigmoid_bce_case(draw, true); }},
      {"random_normal", 6, [](Draw& draw) { return random_case(draw, true); }},
      {"random_uniform", 6, [](Draw& draw) { return random_case(draw, false); }},
      {"optimizer_update", 12, optimizer_case},
      {"ema_update", 6, ema_case},
  };
}

OperatorCase random_graph_case(std::uint64_t seed, int length) {
  Draw draw(seed);
  const std::int64_t n = 2, channels = draw.pick<std::int64_t>({3, 8, 16}), side = draw.between(2, 4);
  const Shape picture{n, side, side, channels}, filter{channels, 3, 3, channels};
  OperatorCase test;
  test.function = "random graph";
  test.name = fmt::format("random graph {}", seed);
  test.seed = seed;
  test.operands = {{picture},
                   {picture},
                   {filter, normal(0, 0.1)},
                   {Shape{channels}, normal(1, 0.2)},
                   {Shape{channels}, normal(0, 0.2)},
                   {Shape{n, 1, 1, 1}}};
  test.tolerance = 1e-4;
  // All results are pictures, so that any can be the operand of any.
  test.build = [=](auto x, auto) -> Values {
    Draw choice(seed + 1);
    Values pool{x[0], x[1]};
    const auto any = [&] {
      return pool[static_cast<std::size_t>(choice.between(0, static_cast<std::int64_t>(pool.size()) - 1))];
    };
    const auto recent = [&] { return choice.chance(0.6) ? pool.back() : any(); };
    for (int i = 0; i < length; ++i) {
      Value made;
      switch (choice.between(0, 13)) {
        case 0:
          made = ops::tanh(recent() + any());
          break;
        case 1:
          made = ops::leaky_relu(recent() - any(), 0.2f);
          break;
        case 2:
          made = ops::sigmoid(recent()) * any();
          break;
        case 3:
          made = ops::tanh(ops::conv_fprop(recent(), x[2], 1, 1) + x[4]);
          break;
        case 4:
          made = ops::conv_transpose(recent(), x[2], 1, 1);
          break;
        case 5:
          made = ops::batch_norm(recent(), x[3], x[4], 1e-2f, {Activation::Kind::leaky_relu, 0.2f}).y;
          break;
        case 6:
          made = recent() * x[5] + x[3];
          break;
        case 7: {
          const int spatial[] = {1, 2};
          const Value a = recent();
          made = a - ops::mean(a, spatial);
          break;
        }
        case 8: {
          const int permutation[] = {0, 2, 1, 3};
          made = ops::transpose(recent(), permutation);
          break;
        }
        case 9: {
          const Value halves[] = {ops::slice_axis(recent(), 0, 1, 1), ops::slice_axis(any(), 0, 0, 1)};
          made = ops::concatenate(halves, 0);
          break;
        }
        case 10: {  // a border of zeros, then a window of the result
          const Value wide = ops::pad(recent(), {0, 1, 1, 0}, {0, 0, 1, 0});
          made = ops::slice(wide, {0, 0, 1, 0}, picture);
          break;
        }
        case 11: {  // as a matrix, and back
          const Value flat = ops::reshape(recent(), {n * side * side, channels});
          const Value square = ops::reshape(ops::slice_axis(x[2], 1, 1, 1), {channels * 3, channels});
          made = ops::reshape(ops::matmul(flat, ops::slice_axis(square, 0, 0, channels)), picture);
          break;
        }
        case 12:
          made = ops::maximum(recent(), any()) * 0.5f;
          break;
        default:
          made = ops::softplus(recent()) - 0.7f;
          break;
      }
      pool.push_back(made);
    }
    return {pool.back(), pool[pool.size() / 2]};
  };
  return test;
}

}  // namespace gannet::tests
