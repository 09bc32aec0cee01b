// Pointwise operators. Binary ones broadcast their operands first, so that each rule sees equal shapes.
#include <algorithm>

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"

namespace gannet {
namespace {

using kernels::PointwiseInstruction;
using kernels::PointwiseOp;

bool is_float(DType type) { return type == DType::f32 || type == DType::bf16; }

class Pointwise : public Operator {
 public:
  explicit Pointwise(PointwiseInstruction instruction) : instruction_(instruction) {}

  std::string name() const override { return kernels::name_of(instruction_.op); }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    DType type = inputs[0].type;
    for (const TensorType& input : inputs) {
      GANNET_CHECK(is_float(input.type), "operands are f32 or bf16");
      GANNET_CHECK(input.shape == inputs[0].shape, "shapes differ");
      if (input.type == DType::f32) type = DType::f32;
    }
    return {{type, inputs[0].shape}};
  }

  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>& needs) const override {
    using namespace ops;
    const auto at = node.where;
    const Value g = gradients[0], y = node.value(), a = node.inputs[0];
    const Value b = node.inputs.size() > 1 ? node.inputs[1] : Value{};
    const bool second = needs.size() > 1 && needs[1];
    switch (instruction_.op) {
      case PointwiseOp::affine:
        return {affine(g, instruction_.alpha, 0, at)};
      case PointwiseOp::add:
        return {g, g};
      case PointwiseOp::subtract:
        return {g, second ? affine(g, -1, 0, at) : Value{}};
      case PointwiseOp::multiply:
        return {needs[0] ? multiply(g, b, at) : Value{}, second ? multiply(g, a, at) : Value{}};
      case PointwiseOp::divide: {
        const Value da = divide(g, b, at);
        return {da, second ? affine(multiply(da, y, at), -1, 0, at) : Value{}};
      }
      case PointwiseOp::maximum:
      case PointwiseOp::minimum: {
        const bool larger = instruction_.op == PointwiseOp::maximum;
        const Value first = larger ? greater(a, b, at) : greater(b, a, at);
        return {multiply(g, first, at), second ? multiply(g, affine(first, -1, 1, at), at) : Value{}};
      }
      case PointwiseOp::exp:
        return {multiply(g, y, at)};
      case PointwiseOp::log:
        return {divide(g, a, at)};
      case PointwiseOp::sqrt:
        return {affine(divide(g, y, at), 0.5f, 0, at)};
      case PointwiseOp::reciprocal:
        return {affine(multiply(g, square(y, at), at), -1, 0, at)};
      case PointwiseOp::tanh:
        return {multiply(g, affine(square(y, at), -1, 1, at), at)};
      case PointwiseOp::sigmoid:
        return {multiply(g, multiply(y, affine(y, -1, 1, at), at), at)};
      case PointwiseOp::softplus:
        return {multiply(g, ops::sigmoid(a, at), at)};
      case PointwiseOp::abs:
        return {multiply(g, ops::sign(a, at), at)};
      case PointwiseOp::leaky_relu: {
        // The slope at y equals the slope at a: only y has to be kept, and a convolution can end with the activation.
        PointwiseInstruction step = instruction_;
        step.op = PointwiseOp::leaky_step;
        return {multiply(g, y.graph().apply(std::make_shared<Pointwise>(step), {y}, at)[0], at)};
      }
      case PointwiseOp::constant:
      case PointwiseOp::greater:
      case PointwiseOp::sign:
      case PointwiseOp::leaky_step:
        return {};
    }
    return {};
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs) const override {
    kernels::Pointwise spec{outputs[0].shape, outputs[0].layout, {inputs.begin(), inputs.end()},
                            {instruction_},   {outputs[0]},      {}};
    spec.results = {static_cast<int>(inputs.size())};
    return spec;
  }

 private:
  PointwiseInstruction instruction_;
};

class Constant : public Operator {
 public:
  Constant(float value, Shape shape) : value_(value), shape_(shape) {}
  std::string name() const override { return "constant"; }
  std::vector<TensorType> infer(std::span<const TensorType>) const override { return {{DType::f32, shape_}}; }
  std::vector<Value> vjp(Node&, std::span<const Value>, const std::vector<bool>&) const override { return {}; }
  Kernel kernel(std::span<const TensorDesc>, std::span<const TensorDesc> outputs) const override {
    return kernels::Pointwise{
        outputs[0].shape, outputs[0].layout, {}, {{PointwiseOp::constant, 0, 0, value_, 0}}, {outputs[0]}, {0}};
  }
  float value() const { return value_; }

 private:
  float value_;
  Shape shape_;
};

class Cast : public Operator {
 public:
  explicit Cast(DType type) : type_(type) {}
  std::string name() const override { return "cast"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    GANNET_CHECK(is_float(type_), "casts to f32 or bf16, not {}", name_of(type_));
    return {{type_, inputs[0].shape}};
  }
  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>&) const override {
    const DType type = node.inputs[0].type().type;
    return {is_float(type) ? ops::cast(gradients[0], type, node.where) : Value{}};
  }
  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs) const override {
    return kernels::Pointwise{outputs[0].shape, outputs[0].layout, {inputs[0]}, {}, {outputs[0]}, {0}};
  }

 private:
  DType type_;
};

Value unary(PointwiseOp op, Value a, ops::Where where, float alpha = 0, float beta = 0) {
  return a.graph().apply(std::make_shared<Pointwise>(PointwiseInstruction{op, 0, 0, alpha, beta}), {a}, where)[0];
}

// NumPy's rule: ranks are filled with leading ones, extents of one repeat.
Shape common_shape(const char* name, const Value& a, const Value& b, const ops::Where& where) {
  const Shape &small = a.shape().rank() < b.shape().rank() ? a.shape() : b.shape(),
              &large = &small == &a.shape() ? b.shape() : a.shape();
  Shape shape = large;
  const int lead = large.rank() - small.rank();
  for (int d = 0; d < small.rank(); ++d) {
    const std::int64_t one = small[d], other = large[lead + d];
    GANNET_CHECK(one == other || one == 1 || other == 1, "[{}] shapes {} and {} do not broadcast (line {} of {})", name,
                 to_string(a.shape()), to_string(b.shape()), where.line(), where.file_name());
    shape[lead + d] = one == 1 ? other : one;
  }
  return shape;
}

Value aligned(Value a, const Shape& shape, ops::Where where) {
  if (a.shape() == shape) return a;
  if (a.shape().rank() != shape.rank()) {
    Shape filled = shape;
    const int lead = shape.rank() - a.shape().rank();
    for (int d = 0; d < shape.rank(); ++d) filled[d] = d < lead ? 1 : a.shape()[d - lead];
    a = ops::reshape(a, filled, where);
  }
  return ops::broadcast_to(a, shape, where);
}

Value binary(PointwiseOp op, Value a, Value b, ops::Where where) {
  GANNET_CHECK(a && b, "[{}] an operand is empty (line {} of {})", kernels::name_of(op), where.line(), where.file_name());
  const Shape shape = common_shape(kernels::name_of(op), a, b, where);
  return a.graph().apply(std::make_shared<Pointwise>(PointwiseInstruction{op, 0, 1, 0, 0}),
                         {aligned(a, shape, where), aligned(b, shape, where)}, where)[0];
}

}  // namespace

namespace ops {

Value affine(Value a, float alpha, float beta, Where where) { return unary(PointwiseOp::affine, a, where, alpha, beta); }
Value add(Value a, Value b, Where where) { return binary(PointwiseOp::add, a, b, where); }
Value subtract(Value a, Value b, Where where) { return binary(PointwiseOp::subtract, a, b, where); }
Value multiply(Value a, Value b, Where where) {
  // A derivative begins with 1.
  const auto keeps = [](const Value& one, const Value& other) {
    const auto* constant = dynamic_cast<const Constant*>(one.node->op.get());
    return constant && constant->value() == 1 && one.shape().rank() == 0 && other.type().type == DType::f32;
  };
  if (keeps(b, a)) return a;
  if (keeps(a, b)) return b;
  return binary(PointwiseOp::multiply, a, b, where);
}
Value divide(Value a, Value b, Where where) { return binary(PointwiseOp::divide, a, b, where); }
Value maximum(Value a, Value b, Where where) { return binary(PointwiseOp::maximum, a, b, where); }
Value minimum(Value a, Value b, Where where) { return binary(PointwiseOp::minimum, a, b, where); }
Value greater(Value a, Value b, Where where) { return binary(PointwiseOp::greater, a, b, where); }
Value exp(Value a, Where where) { return unary(PointwiseOp::exp, a, where); }
Value log(Value a, Where where) { return unary(PointwiseOp::log, a, where); }
Value sqrt(Value a, Where where) { return unary(PointwiseOp::sqrt, a, where); }
Value reciprocal(Value a, Where where) { return unary(PointwiseOp::reciprocal, a, where); }
Value tanh(Value a, Where where) { return unary(PointwiseOp::tanh, a, where); }
Value sigmoid(Value a, Where where) { return unary(PointwiseOp::sigmoid, a, where); }
Value softplus(Value a, Where where) { return unary(PointwiseOp::softplus, a, where); }
Value abs(Value a, Where where) { return unary(PointwiseOp::abs, a, where); }
Value sign(Value a, Where where) { return unary(PointwiseOp::sign, a, where); }
Value leaky_relu(Value a, float slope, Where where) {
  GANNET_CHECK(slope >= 0 && slope <= 1, "[leaky_relu] the slope is {}, not within 0 and 1", slope);
  return unary(PointwiseOp::leaky_relu, a, where, slope);
}
Value square(Value a, Where where) { return multiply(a, a, where); }

Value cast(Value a, DType type, Where where) {
  if (a.type().type == type) return a;
  return a.graph().apply(std::make_shared<Cast>(type), {a}, where)[0];
}

Value constant(Graph& graph, float value, const Shape& shape, Where where) {
  return graph.apply(std::make_shared<Constant>(value, shape), {}, where)[0];
}

Value activate(Value a, const Activation& activation, Where where) {
  switch (activation.kind) {
    case Activation::Kind::none:
      return a;
    case Activation::Kind::leaky_relu:
      return leaky_relu(a, activation.slope, where);
    case Activation::Kind::tanh:
      return tanh(a, where);
    case Activation::Kind::sigmoid:
      return sigmoid(a, where);
  }
  return a;
}

}  // namespace ops

Value operator+(Value a, Value b) { return ops::add(a, b); }
Value operator-(Value a, Value b) { return ops::subtract(a, b); }
Value operator*(Value a, Value b) { return ops::multiply(a, b); }
Value operator/(Value a, Value b) { return ops::divide(a, b); }
Value operator+(Value a, float b) { return ops::affine(a, 1, b); }
Value operator-(Value a, float b) { return ops::affine(a, 1, -b); }
Value operator*(Value a, float b) { return ops::affine(a, b, 0); }
Value operator-(Value a) { return ops::affine(a, -1, 0); }

}  // namespace gannet
