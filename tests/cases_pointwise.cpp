// Cases of pointwise chains and of their sums.
#include <cmath>
#include <limits>

#include "tests/case_table.h"

namespace gannet::tests {
namespace {

using namespace kernels;
using Op = PointwiseOp;

const std::vector<Op> every_op{Op::constant, Op::affine,     Op::add,      Op::subtract,   Op::multiply,
                               Op::divide,   Op::maximum,    Op::minimum,  Op::greater,    Op::exp,
                               Op::log,      Op::sqrt,       Op::tanh,     Op::sigmoid,    Op::abs,
                               Op::sign,     Op::reciprocal, Op::softplus, Op::leaky_relu, Op::leaky_step};
// Those that neither amplify a rounding error much nor jump: what long chains are made of.
const std::vector<Op> tame_ops{Op::constant, Op::affine, Op::add,     Op::subtract, Op::multiply, Op::maximum,
                               Op::minimum,  Op::tanh,   Op::sigmoid, Op::abs,      Op::softplus, Op::leaky_relu};

// Values in the domain of `op`.
Fill domain(Op op) {
  switch (op) {
    case Op::log:
    case Op::sqrt:
      return uniform(0.01, 20);
    case Op::reciprocal:
    case Op::divide:
      return uniform(0.25, 4);
    case Op::exp:
      return uniform(-20, 20);
    default:
      return normal(0, 3);
  }
}

struct Arrangement {
  Shape shape;
  Layout layout;
};
Arrangement draw_arrangement(Draw& draw, std::int64_t largest) {
  if (draw.chance(0.3)) {  // a picture with channels to block
    const Shape shape{draw.between(1, 4), draw.between(1, 7), draw.between(1, 7), draw.pick<std::int64_t>({8, 16, 24, 32, 48})};
    return {shape, draw_picture_layout(draw, shape)};
  }
  if (draw.chance(0.1)) {
    const Shape shape{draw.pick<std::int64_t>({8, 16, 32}), draw.between(1, 4), draw.between(1, 4),
                      draw.pick<std::int64_t>({8, 16, 48})};
    return {shape, draw_filter_layout(draw, shape)};
  }
  return {draw_shape(draw, static_cast<int>(draw.between(0, max_rank)), largest), Layout::plain};
}

// An input of the chain's full shape, or one that broadcasts along drawn axes.
TensorDesc draw_input(Draw& draw, const Arrangement& arrangement, DType type, double broadcast_chance) {
  Shape shape = arrangement.shape;
  if (draw.chance(broadcast_chance)) {
    switch (draw.between(0, 3)) {
      case 0:  // per channel
        for (int d = 0; d + 1 < shape.rank(); ++d) shape[d] = 1;
        break;
      case 1:  // per sample
        for (int d = 1; d < shape.rank(); ++d) shape[d] = 1;
        break;
      case 2:  // one value
        for (int d = 0; d < shape.rank(); ++d) shape[d] = 1;
        break;
      default:
        for (int d = 0; d < shape.rank(); ++d)
          if (draw.chance(0.5)) shape[d] = 1;
    }
  }
  return {type, shape, shape == arrangement.shape ? arrangement.layout : Layout::plain};
}

DType draw_float(Draw& draw) { return draw.pick({DType::f32, DType::f32, DType::bf16}); }

// One operation on drawn operands.
Case single_case(Draw& draw, Op op) {
  const Arrangement arrangement = draw_arrangement(draw, 3000);
  Pointwise spec;
  spec.shape = arrangement.shape, spec.layout = arrangement.layout;
  Case result;
  for (int i = 0; i < operands_of(op); ++i) {
    spec.inputs.push_back(draw_input(draw, arrangement, draw_float(draw), 0.4));
    result.fills.push_back(domain(op));
  }
  const auto alpha = static_cast<float>(draw.uniform(-2, 2)), beta = static_cast<float>(draw.uniform(-2, 2));
  spec.instructions = {{op, 0, operands_of(op) > 1 ? 1 : 0, alpha, beta}};
  spec.results = {static_cast<int>(spec.inputs.size())};
  spec.outputs = {{draw_float(draw), spec.shape, spec.layout}};
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    if (spec.inputs[i] == spec.outputs[0]) {
      result.in_place = {{0, static_cast<int>(i)}};
      break;
    }
  }
  result.spec = spec;
  return result;
}

// A chain of `length` tame instructions. Those that jump (greater, sign, leaky_step) look at inputs alone, which every backend
// sees exactly alike.
Pointwise draw_chain(Draw& draw, const Arrangement& arrangement, int inputs, int length) {
  Pointwise spec;
  spec.shape = arrangement.shape, spec.layout = arrangement.layout;
  for (int i = 0; i < inputs; ++i) spec.inputs.push_back(draw_input(draw, arrangement, draw_float(draw), 0.4));
  const auto coefficient = [&] { return static_cast<float>(draw.uniform(-1, 1)); };
  for (int i = 0; i < length; ++i) {
    const int registers = inputs + i;
    if (inputs > 0 && draw.chance(0.15)) {
      const Op op = draw.pick({Op::greater, Op::sign, Op::leaky_step});
      spec.instructions.push_back(
          {op, static_cast<int>(draw.between(0, inputs - 1)), static_cast<int>(draw.between(0, inputs - 1)), coefficient(), 0});
      continue;
    }
    const Op op = registers == 0 ? Op::constant : draw.pick(tame_ops);
    // Mostly recent registers, so that chains are deep.
    const auto operand = [&] {
      return registers == 0 ? 0 : static_cast<int>(draw.chance(0.6) ? registers - 1 : draw.between(0, registers - 1));
    };
    spec.instructions.push_back({op, operand(), operand(), coefficient(), coefficient()});
    if (op == Op::multiply) {  // keep products from growing without bound
      spec.instructions.push_back({Op::tanh, registers, 0, 0, 0});
      ++i;
    }
  }
  return spec;
}

Case chain_case(Draw& draw, std::int64_t largest) {
  const Arrangement arrangement = draw_arrangement(draw, largest);
  const int inputs = static_cast<int>(draw.between(0, 6));
  Pointwise spec = draw_chain(draw, arrangement, inputs, static_cast<int>(draw.between(inputs == 0 ? 1 : 0, 16)));
  const int registers = static_cast<int>(spec.inputs.size() + spec.instructions.size());
  for (int outputs = static_cast<int>(draw.between(1, 3)); outputs > 0; --outputs) {
    spec.results.push_back(spec.results.empty() ? registers - 1 : static_cast<int>(draw.between(0, registers - 1)));
    spec.outputs.push_back({draw_float(draw), spec.shape, spec.layout});
  }
  Case result;
  result.fills.assign(spec.inputs.size(), normal());
  result.floor = 0.1;
  // Each output over the first input of its kind that no other output has taken.
  std::vector<bool> taken(spec.inputs.size(), false);
  for (std::size_t o = 0; o < spec.outputs.size(); ++o) {
    for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
      const bool fits = spec.inputs[i].shape == spec.shape && size_of(spec.inputs[i].type) == size_of(spec.outputs[o].type);
      if (fits && !taken[i]) {
        result.in_place.push_back({static_cast<int>(o), static_cast<int>(i)});
        taken[i] = true;
        break;
      }
    }
  }
  result.spec = spec;
  return result;
}

// Operands that repeat along rows longer than what a kernel takes at once, and of no round length.
Case long_row_case(Draw& draw, const Shape& shape, const Shape& repeated, DType type) {
  Pointwise spec;
  spec.shape = shape;
  spec.inputs = {{type, shape, Layout::plain}, {type, repeated, Layout::plain}, {type, repeated, Layout::plain}};
  const auto slope = static_cast<float>(draw.uniform(0.1, 1));
  spec.instructions = {{Op::multiply, 0, 1, 0, 0}, {Op::add, 3, 2, 0, 0}, {Op::leaky_relu, 4, 0, slope, 0}};
  spec.results = {5};
  spec.outputs = {{type, shape, Layout::plain}};
  Case result;
  result.fills.assign(3, normal());
  result.in_place = {{0, 0}};
  result.floor = 0.1;
  result.spec = spec;
  return result;
}

// Everything that arithmetic can meet, against everything.
Case special_case(Op op) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> values{0.0, -0.0, 1, -1, 0.5, -2.5, 100, -100, 1e30, -1e30, 1e-30, -1e-30, inf, -inf, nan, 3, 88.8};
  std::vector<double> repeated;
  for (double value : values) repeated.insert(repeated.end(), values.size(), value);
  const auto count = static_cast<std::int64_t>(repeated.size());
  Pointwise spec;
  spec.shape = {count};
  spec.inputs.assign(static_cast<std::size_t>(operands_of(op)), {DType::f32, spec.shape, Layout::plain});
  spec.instructions = {{op, 0, operands_of(op) > 1 ? 1 : 0, 0.25f, 0}};
  spec.results = {operands_of(op)};
  spec.outputs = {{DType::f32, spec.shape, Layout::plain}};
  Case result;
  result.spec = spec;
  result.fills = {listed(repeated), listed(values)};
  result.fills.resize(spec.inputs.size());
  result.elementwise = true;
  result.floor = 1e-30;
  return result;
}

// Accuracy of each value by itself, over many magnitudes.
Case accuracy_case(Draw& draw, Op op) {
  std::vector<double> values;
  const bool positive = op == Op::log || op == Op::sqrt;
  for (int i = 0; i < 20000; ++i) {
    const double magnitude = std::pow(10, draw.uniform(-6, op == Op::exp ? 1.9 : 1.5));
    values.push_back(positive || draw.chance(0.5) ? magnitude : -magnitude);
  }
  Case result = special_case(op);
  Pointwise& spec = std::get<Pointwise>(result.spec);
  spec.shape = {static_cast<std::int64_t>(values.size())};
  for (TensorDesc& input : spec.inputs) input.shape = spec.shape;
  spec.outputs[0].shape = spec.shape;
  result.fills = {listed(values), listed({values.rbegin(), values.rend()})};
  result.fills.resize(spec.inputs.size());
  result.floor = 1e-6;
  result.tolerance = 2e-6;
  return result;
}

// From and to integers, with halves and values out of range: exact.
Case integer_case(Draw& draw) {
  const Arrangement arrangement = draw_arrangement(draw, 3000);
  Pointwise spec;
  spec.shape = arrangement.shape, spec.layout = arrangement.layout;
  const DType from = draw.pick({DType::f32, DType::bf16, DType::i32, DType::u8});
  const DType to = draw.pick({DType::f32, DType::i32, DType::u8});
  spec.inputs = {draw_input(draw, arrangement, from, 0.2)};
  spec.instructions = {{Op::affine, 0, 0, draw.pick({0.5f, 1.0f, -1.0f}), draw.pick({0.0f, 1.5f, -3.0f})}};
  spec.results = {1};
  spec.outputs = {{to, spec.shape, spec.layout}};
  Case result;
  result.fills = {
      to == DType::f32 || from == DType::i32 || draw.chance(0.7)
          ? integers(-10, 300)
          : listed({-1e10, 1e10, 2.5, 3.5, -0.5, 254.5, 255.5, 1e20, -1e20, std::numeric_limits<double>::infinity()})};
  result.tolerance = 0;
  if (spec.inputs[0].shape == spec.shape && size_of(from) == size_of(to)) result.in_place = {{0, 0}};
  result.spec = spec;
  return result;
}

Case reduction_case(Draw& draw, const Arrangement& arrangement) {
  Reduction spec;
  spec.chain = draw_chain(draw, arrangement, static_cast<int>(draw.between(1, 3)), static_cast<int>(draw.between(0, 4)));
  spec.chain.results = {static_cast<int>(spec.chain.inputs.size() + spec.chain.instructions.size()) - 1};
  Shape kept = arrangement.shape;
  const auto pattern = draw.between(0, 4);
  for (int d = 0; d < kept.rank(); ++d) {
    spec.summed[static_cast<std::size_t>(d)] = pattern == 0   ? true                 // everything
                                               : pattern == 1 ? d + 1 < kept.rank()  // to one per channel
                                               : pattern == 2 ? d > 0                // to one per sample
                                                              : draw.chance(0.5);
    if (spec.summed[static_cast<std::size_t>(d)]) kept[d] = 1;
  }
  spec.scale = draw.pick({1.0f, 0.125f, -0.3f});
  spec.output = {DType::f32, kept, Layout::plain};
  Case result;
  result.fills.assign(spec.chain.inputs.size(), normal());
  // Sums of n numbers of either sign may cancel: judge them by the size of what was summed.
  const auto summed = static_cast<double>(arrangement.shape.elements() / kept.elements());
  result.floor = std::abs(spec.scale) * std::sqrt(summed);
  result.spec = spec;
  return result;
}

}  // namespace

std::vector<Case> pointwise_cases() {
  CaseTable table("pointwise", 271828);
  for (const Op op : every_op) table.add(12, [&](Draw& draw) { return single_case(draw, op); });
  for (const Op op : every_op) table.add([&](Draw&) { return special_case(op); });
  for (const Op op : {Op::exp, Op::log, Op::sqrt, Op::tanh, Op::sigmoid, Op::reciprocal, Op::softplus, Op::divide})
    table.add([&](Draw& draw) { return accuracy_case(draw, op); });
  table.add(80, [](Draw& draw) { return integer_case(draw); });
  table.add(400, [](Draw& draw) { return chain_case(draw, 4000); });
  table.add(8, [](Draw& draw) { return chain_case(draw, 150'000); });
  for (const DType type : {DType::f32, DType::bf16}) {
    table.add([type](Draw& draw) { return long_row_case(draw, {9, 851}, {1, 851}, type); });
    table.add([type](Draw& draw) { return long_row_case(draw, {9, 851}, {9, 1}, type); });
    table.add([type](Draw& draw) { return long_row_case(draw, {3, 700, 5}, {3, 1, 5}, type); });
    table.add([type](Draw& draw) { return long_row_case(draw, {3, 700, 5}, {1, 700, 5}, type); });
    table.add([type](Draw& draw) { return long_row_case(draw, {3, 700, 5}, {1, 700, 1}, type); });
  }
  return table.take();
}

std::vector<Case> reduction_cases() {
  CaseTable table("reduction", 314159);
  table.add(400, [](Draw& draw) { return reduction_case(draw, draw_arrangement(draw, 4000)); });
  // Large enough to be split among threads along each way.
  const Arrangement large[] = {{{64, 16, 16, 16}, Layout::plain},     {{64, 16, 16, 16}, Layout::blocked8},
                               {{33, 16, 16, 32}, Layout::blocked16}, {{200'003}, Layout::plain},
                               {{3001, 67}, Layout::plain},           {{5, 40'001}, Layout::plain},
                               {{2, 3, 5, 7, 11, 64}, Layout::plain}};
  for (const Arrangement& arrangement : large) table.add(4, [&](Draw& draw) { return reduction_case(draw, arrangement); });
  return table.take();
}

}  // namespace gannet::tests
