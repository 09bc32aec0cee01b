// Sums and their adjoint, broadcasting.
#include <algorithm>

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"

namespace gannet {
namespace {

class Sum : public Operator {
 public:
  Sum(std::array<bool, max_rank> summed, float scale) : summed_(summed), scale_(scale) {}
  std::string name() const override { return "sum"; }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    GANNET_CHECK(inputs[0].type == DType::f32 || inputs[0].type == DType::bf16, "the operand is f32 or bf16");
    Shape shape = inputs[0].shape;
    for (int d = 0; d < shape.rank(); ++d)
      if (summed_[static_cast<std::size_t>(d)]) shape[d] = 1;
    return {{DType::f32, shape}};
  }

  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>&) const override {
    const Value scaled = scale_ == 1 ? gradients[0] : ops::affine(gradients[0], scale_, 0, node.where);
    return {ops::broadcast_to(scaled, node.inputs[0].shape(), node.where)};
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs) const override {
    return kernels::Reduction{{inputs[0].shape, inputs[0].layout, {inputs[0]}, {}, {}, {0}}, summed_, scale_, outputs[0]};
  }

 private:
  std::array<bool, max_rank> summed_;
  float scale_;
};

class Broadcast : public Operator {
 public:
  explicit Broadcast(Shape shape) : shape_(shape) {}
  std::string name() const override { return "broadcast_to"; }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    const Shape& from = inputs[0].shape;
    GANNET_CHECK(from.rank() == shape_.rank(), "can not broadcast to {}", to_string(shape_));
    for (int d = 0; d < shape_.rank(); ++d)
      GANNET_CHECK(from[d] == shape_[d] || from[d] == 1, "can not broadcast to {}", to_string(shape_));
    return {{inputs[0].type, shape_}};
  }

  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>&) const override {
    std::vector<int> axes;
    for (int d = 0; d < shape_.rank(); ++d)
      if (node.inputs[0].shape()[d] != shape_[d]) axes.push_back(d);
    return {ops::sum(gradients[0], axes, node.where)};
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs) const override {
    return kernels::Pointwise{outputs[0].shape, outputs[0].layout, {inputs[0]}, {}, {outputs[0]}, {0}};
  }

 private:
  Shape shape_;
};

Value scaled_sum(Value a, std::span<const int> axes, bool average, ops::Where where) {
  std::array<bool, max_rank> summed{};
  std::int64_t count = 1;
  for (int axis : axes) {
    GANNET_CHECK(axis >= 0 && axis < a.shape().rank() && !summed[static_cast<std::size_t>(axis)],
                 "[sum] axis {} of an operand of shape {}", axis, to_string(a.shape()));
    summed[static_cast<std::size_t>(axis)] = true;
    count *= a.shape()[axis];
  }
  const float scale = average ? static_cast<float>(1.0 / static_cast<double>(count)) : 1.0f;
  return a.graph().apply(std::make_shared<Sum>(summed, scale), {a}, where)[0];
}

Value scaled_sum_all(Value a, bool average, ops::Where where) {
  if (a.shape().rank() == 0) return a;
  std::vector<int> axes;
  for (int d = 0; d < a.shape().rank(); ++d) axes.push_back(d);
  return ops::reshape(scaled_sum(a, axes, average, where), {}, where);
}

}  // namespace

namespace ops {

Value sum(Value a, std::span<const int> axes, Where where) { return scaled_sum(a, axes, false, where); }
Value mean(Value a, std::span<const int> axes, Where where) { return scaled_sum(a, axes, true, where); }
Value sum_all(Value a, Where where) { return scaled_sum_all(a, false, where); }
Value mean_all(Value a, Where where) { return scaled_sum_all(a, true, where); }

Value broadcast_to(Value a, const Shape& shape, Where where) {
  if (a.shape() == shape) return a;
  if (a.shape().rank() == 0) {
    Shape ones = shape;
    for (int d = 0; d < shape.rank(); ++d) ones[d] = 1;
    a = reshape(a, ones, where);
    if (a.shape() == shape) return a;
  }
  return a.graph().apply(std::make_shared<Broadcast>(shape), {a}, where)[0];
}

}  // namespace ops
}  // namespace gannet
