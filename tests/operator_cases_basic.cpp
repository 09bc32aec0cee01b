// Cases of pointwise operators, reductions and shape operators.
#include <algorithm>

#include "engine/graph/ops.h"
#include "tests/operator_cases.h"

namespace gannet::tests {
namespace {

using kernels::Activation;
using Where = ops::Where;

Shape draw_any_shape(Draw& draw, std::int64_t largest = 60) {
  return draw_shape(draw, static_cast<int>(draw.between(0, max_rank)), largest);
}
Shape draw_ranked_shape(Draw& draw, std::int64_t largest = 60) {
  return draw_shape(draw, static_cast<int>(draw.between(1, max_rank)), largest);
}

// Two shapes that broadcast to a third: some extents are one, leading axes may be missing.
std::pair<Shape, Shape> draw_broadcast(Draw& draw) {
  const Shape full = draw_any_shape(draw);
  const auto thinned = [&] {
    std::vector<std::int64_t> extents(full.begin(), full.end());
    for (std::int64_t& extent : extents)
      if (draw.chance(0.3)) extent = 1;
    if (!extents.empty() && draw.chance(0.2)) {
      extents.erase(extents.begin(), extents.begin() + draw.between(0, static_cast<std::int64_t>(extents.size())));
    }
    return Shape(std::span<const std::int64_t>(extents));
  };
  switch (draw.between(0, 3)) {
    case 0:
      return {full, full};
    case 1:
      return {full, thinned()};
    case 2:
      return {thinned(), full};
    default:
      return {thinned(), thinned()};
  }
}

MakeOperatorCase unary(const std::function<Value(Value)>& op, Fill fill) {
  return [=](Draw& draw) {
    OperatorCase test;
    test.operands = {{draw_any_shape(draw), fill}};
    test.build = [=](auto x, auto) -> Values { return {op(x[0])}; };
    return test;
  };
}

MakeOperatorCase binary(const std::function<Value(Value, Value)>& op, Fill first, Fill second) {
  return [=](Draw& draw) {
    const auto [a, b] = draw_broadcast(draw);
    OperatorCase test;
    test.operands = {{a, first}, {b, second}};
    test.build = [=](auto x, auto) -> Values { return {op(x[0], x[1])}; };
    return test;
  };
}

MakeOperatorCase reduction(const std::function<Value(Value, std::span<const int>)>& op) {
  return [=](Draw& draw) {
    OperatorCase test;
    test.operands = {{draw_any_shape(draw, 200)}};
    std::vector<int> axes;
    for (int d = 0; d < test.operands[0].shape.rank(); ++d)
      if (draw.chance(0.5)) axes.push_back(d);
    test.build = [=](auto x, auto) -> Values { return {op(x[0], axes)}; };
    return test;
  };
}

OperatorCase affine_case(Draw& draw) {
  const auto alpha = static_cast<float>(draw.normal()), beta = static_cast<float>(draw.normal());
  return unary([=](Value a) { return ops::affine(a, alpha, beta); }, normal())(draw);
}

OperatorCase leaky_relu_case(Draw& draw) {
  const float slope = draw.pick({0.0f, 0.2f, 1.0f});
  return unary([=](Value a) { return ops::leaky_relu(a, slope); }, apart(0.2, 2))(draw);
}

OperatorCase activate_case(Draw& draw) {
  const Activation activation = draw_activation(draw);
  return unary([=](Value a) { return ops::activate(a, activation); }, apart(0.2, 2))(draw);
}

OperatorCase cast_case(Draw& draw) {
  OperatorCase test;
  const DType from = draw.pick({DType::f32, DType::bf16, DType::i32, DType::u8});
  const bool whole = from == DType::i32 || from == DType::u8;
  test.operands = {{draw_any_shape(draw), whole ? integers(0, 200) : normal(), from, !whole}};
  const DType to = whole ? DType::f32 : draw.pick({DType::f32, DType::bf16});
  test.build = [=](auto x, auto) -> Values { return {ops::cast(x[0], to)}; };
  test.tolerance = to == DType::bf16 || from == DType::bf16 ? 2e-2 : 1e-5;
  return test;
}

// Chains of several operators on bf16, where every result is stored in bf16.
OperatorCase half_chain_case(Draw& draw) {
  const Shape shape = draw_any_shape(draw);
  OperatorCase test;
  test.operands = {{shape, normal(), DType::bf16}, {shape, normal(), DType::bf16}};
  test.build = [](auto x, auto) -> Values { return {ops::tanh(x[0] * x[1] + x[0]) - x[1] * 0.5f}; };
  test.tolerance = 3e-2;
  return test;
}

OperatorCase broadcast_case(Draw& draw) {
  const Shape shape = draw_any_shape(draw);
  Shape from = shape;
  for (int d = 0; d < from.rank(); ++d)
    if (draw.chance(0.5)) from[d] = 1;
  if (draw.chance(0.2)) from = {};
  OperatorCase test;
  test.operands = {{from}};
  test.build = [=](auto x, auto) -> Values { return {ops::broadcast_to(x[0], shape)}; };
  return test;
}

OperatorCase constant_case(Draw& draw) {
  const Shape shape = draw_any_shape(draw);
  const auto value = static_cast<float>(draw.normal());
  OperatorCase test;
  test.operands = {{shape}};
  test.build = [=](auto x, auto) -> Values { return {ops::constant(x[0].graph(), value, shape), x[0]}; };
  return test;
}

OperatorCase reshape_case(Draw& draw) {
  const Shape from = draw_any_shape(draw);
  std::int64_t rest = from.elements();
  std::vector<std::int64_t> extents;
  for (std::int64_t factor = 2; rest > 1 && extents.size() < max_rank - 1; ++factor) {
    while (rest % factor == 0 && extents.size() < max_rank - 1) {
      extents.push_back(factor);
      rest /= factor;
    }
  }
  extents.insert(extents.begin() + draw.between(0, static_cast<std::int64_t>(extents.size())), rest);
  const Shape to{std::span<const std::int64_t>(extents)};
  OperatorCase test;
  test.operands = {{from}};
  test.build = [=](auto x, auto) -> Values { return {ops::reshape(x[0], to)}; };
  return test;
}

OperatorCase transpose_case(Draw& draw) {
  OperatorCase test;
  test.operands = {{draw_ranked_shape(draw)}};
  std::vector<int> permutation;
  for (int d = 0; d < test.operands[0].shape.rank(); ++d) permutation.insert(permutation.begin() + draw.between(0, d), d);
  test.build = [=](auto x, auto) -> Values { return {ops::transpose(x[0], permutation)}; };
  return test;
}

OperatorCase slice_case(Draw& draw) {
  const Shape shape = draw_ranked_shape(draw);
  Shape start = shape, extent = shape;
  for (int d = 0; d < shape.rank(); ++d) {
    start[d] = draw.between(0, shape[d] - 1);
    extent[d] = draw.between(1, shape[d] - start[d]);
  }
  OperatorCase test;
  test.operands = {{shape}};
  test.build = [=](auto x, auto) -> Values { return {ops::slice(x[0], start, extent)}; };
  return test;
}

OperatorCase slice_axis_case(Draw& draw) {
  const Shape shape = draw_ranked_shape(draw);
  const int axis = static_cast<int>(draw.between(0, shape.rank() - 1));
  const std::int64_t start = draw.between(0, shape[axis] - 1), extent = draw.between(1, shape[axis] - start);
  OperatorCase test;
  test.operands = {{shape}};
  test.build = [=](auto x, auto) -> Values { return {ops::slice_axis(x[0], axis, start, extent)}; };
  return test;
}

OperatorCase pad_case(Draw& draw) {
  const Shape shape = draw_ranked_shape(draw, 30);
  Shape before = shape, after = shape;
  for (int d = 0; d < shape.rank(); ++d) before[d] = draw.between(0, 2), after[d] = draw.between(0, 2);
  OperatorCase test;
  test.operands = {{shape}};
  test.build = [=](auto x, auto) -> Values { return {ops::pad(x[0], before, after)}; };
  return test;
}

OperatorCase concatenate_case(Draw& draw) {
  Shape shape = draw_ranked_shape(draw);
  const int axis = static_cast<int>(draw.between(0, shape.rank() - 1));
  OperatorCase test;
  for (std::int64_t count = draw.between(1, 4); count > 0; --count) {
    shape[axis] = draw.between(1, 5);
    test.operands.push_back({shape});
  }
  test.build = [=](auto x, auto) -> Values { return {ops::concatenate(x, axis)}; };
  return test;
}

OperatorCase stop_gradient_case(Draw& draw) {
  OperatorCase test;
  test.operands = {{draw_any_shape(draw)}};
  test.build = [](auto x, auto base) -> Values { return {x[0] * ops::stop_gradient(ops::square(base[0]))}; };
  return test;
}

}  // namespace

std::vector<OperatorFamily> pointwise_families() {
  // Inputs stay away from kinks and poles; the `between` values never meet the `whole` ones.
  const Fill any = normal(), positive = uniform(0.3, 3), away = apart(0.2, 2);
  const Fill whole = integers(-3, 3), between = listed({-2.5, 0.5, 1.5, -0.5, 2.5, -1.5, 3.5});
  return {
      {"affine", 6, affine_case},
      {"add", 12, binary([](Value a, Value b) { return ops::add(a, b); }, any, any)},
      {"subtract", 12, binary([](Value a, Value b) { return ops::subtract(a, b); }, any, any)},
      {"multiply", 12, binary([](Value a, Value b) { return ops::multiply(a, b); }, any, any)},
      {"divide", 12, binary([](Value a, Value b) { return ops::divide(a, b); }, any, positive)},
      {"maximum", 12, binary([](Value a, Value b) { return ops::maximum(a, b); }, whole, between)},
      {"minimum", 12, binary([](Value a, Value b) { return ops::minimum(a, b); }, whole, between)},
      {"greater", 6, binary([](Value a, Value b) { return ops::greater(a, b); }, whole, between)},
      {"exp", 5, unary([](Value a) { return ops::exp(a); }, any)},
      {"log", 5, unary([](Value a) { return ops::log(a); }, positive)},
      {"sqrt", 5, unary([](Value a) { return ops::sqrt(a); }, positive)},
      {"reciprocal", 5, unary([](Value a) { return ops::reciprocal(a); }, positive)},
      {"tanh", 5, unary([](Value a) { return ops::tanh(a); }, any)},
      {"sigmoid", 5, unary([](Value a) { return ops::sigmoid(a); }, any)},
      {"softplus", 5, unary([](Value a) { return ops::softplus(a); }, any)},
      {"abs", 5, unary([](Value a) { return ops::abs(a); }, away)},
      {"sign", 5, unary([](Value a) { return ops::sign(a); }, away)},
      {"leaky_relu", 8, leaky_relu_case},
      {"square", 5, unary([](Value a) { return ops::square(a); }, any)},
      {"cast", 12, cast_case},
      {"cast", 6, half_chain_case},
      {"activate", 8, activate_case},
  };
}

std::vector<OperatorFamily> shape_families() {
  return {
      {"sum", 12, reduction([](Value a, std::span<const int> axes) { return ops::sum(a, axes); })},
      {"mean", 12, reduction([](Value a, std::span<const int> axes) { return ops::mean(a, axes); })},
      {"sum_all", 5, unary([](Value a) { return ops::sum_all(a); }, normal())},
      {"mean_all", 5, unary([](Value a) { return ops::mean_all(a); }, normal())},
      {"broadcast_to", 10, broadcast_case},
      {"constant", 4, constant_case},
      {"reshape", 10, reshape_case},
      {"transpose", 12, transpose_case},
      {"slice", 12, slice_case},
      {"slice_axis", 8, slice_axis_case},
      {"pad", 12, pad_case},
      {"concatenate", 12, concatenate_case},
      {"identity", 3, unary([](Value a) { return ops::identity(a); }, normal())},
      {"stop_gradient", 4, stop_gradient_case},
  };
}

}  // namespace gannet::tests
