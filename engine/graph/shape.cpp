// Shape operators, in adjoint pairs, and views.
#include <numeric>

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"
#include "engine/graph/view.h"

namespace gannet {
namespace {

Shape filled(int rank, std::int64_t value) {
  std::array<std::int64_t, max_rank> extents;
  extents.fill(value);
  return Shape(std::span<const std::int64_t>(extents).first(static_cast<std::size_t>(rank)));
}

std::vector<int> straight(int rank) {
  std::vector<int> order(static_cast<std::size_t>(rank));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

class Transpose : public Operator {
 public:
  explicit Transpose(std::vector<int> permutation) : permutation_(std::move(permutation)) {}
  std::string name() const override { return "transpose"; }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    Shape shape = inputs[0].shape;
    GANNET_CHECK(static_cast<int>(permutation_.size()) == shape.rank(), "a permutation of {} axes", permutation_.size());
    std::array<bool, max_rank> seen{};
    for (int d = 0; d < shape.rank(); ++d) {
      const int from = permutation_[static_cast<std::size_t>(d)];
      GANNET_CHECK(from >= 0 && from < shape.rank() && !seen[static_cast<std::size_t>(from)], "not a permutation");
      seen[static_cast<std::size_t>(from)] = true;
      shape[d] = inputs[0].shape[from];
    }
    return {{inputs[0].type, shape}};
  }

  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>&) const override {
    std::vector<int> inverse(permutation_.size());
    for (std::size_t d = 0; d < inverse.size(); ++d) inverse[static_cast<std::size_t>(permutation_[d])] = static_cast<int>(d);
    return {ops::transpose(gradients[0], inverse, node.where)};
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs) const override {
    const Shape& shape = outputs[0].shape;
    return kernels::Copy{inputs[0], outputs[0], permutation_, filled(shape.rank(), 0), filled(shape.rank(), 0), shape};
  }

 private:
  std::vector<int> permutation_;
};

class Slice : public Operator {
 public:
  Slice(Shape start, Shape extent) : start_(start), extent_(extent) {}
  std::string name() const override { return "slice"; }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    const Shape& from = inputs[0].shape;
    GANNET_CHECK(start_.rank() == from.rank() && extent_.rank() == from.rank(), "start {} and extent {} do not fit",
                 to_string(start_), to_string(extent_));
    for (int d = 0; d < from.rank(); ++d)
      GANNET_CHECK(start_[d] >= 0 && extent_[d] > 0 && start_[d] + extent_[d] <= from[d], "start {} and extent {} do not fit",
                   to_string(start_), to_string(extent_));
    return {{inputs[0].type, extent_}};
  }

  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>&) const override {
    Shape after = start_;
    for (int d = 0; d < after.rank(); ++d) after[d] = node.inputs[0].shape()[d] - start_[d] - extent_[d];
    return {ops::pad(gradients[0], start_, after, node.where)};
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs) const override {
    return kernels::Copy{inputs[0], outputs[0], straight(extent_.rank()), start_, filled(extent_.rank(), 0), extent_};
  }

 private:
  Shape start_, extent_;
};

class Pad : public Operator {
 public:
  Pad(Shape before, Shape after) : before_(before), after_(after) {}
  std::string name() const override { return "pad"; }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    Shape shape = inputs[0].shape;
    GANNET_CHECK(before_.rank() == shape.rank() && after_.rank() == shape.rank(), "{} before and {} after do not fit",
                 to_string(before_), to_string(after_));
    for (int d = 0; d < shape.rank(); ++d) {
      GANNET_CHECK(before_[d] >= 0 && after_[d] >= 0, "{} before and {} after do not fit", to_string(before_),
                   to_string(after_));
      shape[d] += before_[d] + after_[d];
    }
    return {{inputs[0].type, shape}};
  }

  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>&) const override {
    return {ops::slice(gradients[0], before_, node.inputs[0].shape(), node.where)};
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs) const override {
    const int rank = before_.rank();
    return kernels::Copy{inputs[0], outputs[0], straight(rank), filled(rank, 0), before_, inputs[0].shape};
  }

 private:
  Shape before_, after_;
};

class Concatenate : public Operator {
 public:
  explicit Concatenate(int axis) : axis_(axis) {}
  std::string name() const override { return "concatenate"; }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    GANNET_CHECK(!inputs.empty(), "no operands");
    Shape shape = inputs[0].shape;
    GANNET_CHECK(axis_ >= 0 && axis_ < shape.rank(), "axis {}", axis_);
    shape[axis_] = 0;
    for (const TensorType& input : inputs) {
      GANNET_CHECK(input.type == inputs[0].type && input.shape.rank() == shape.rank(), "operands differ");
      for (int d = 0; d < shape.rank(); ++d)
        GANNET_CHECK(d == axis_ || input.shape[d] == shape[d], "operands differ beside axis {}", axis_);
      shape[axis_] += input.shape[axis_];
    }
    return {{inputs[0].type, shape}};
  }

  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>& needs) const override {
    std::vector<Value> result;
    std::int64_t start = 0;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const std::int64_t extent = node.inputs[i].shape()[axis_];
      result.push_back(needs[i] ? ops::slice_axis(gradients[0], axis_, start, extent, node.where) : Value{});
      start += extent;
    }
    return result;
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs) const override {
    return kernels::Concatenate{{inputs.begin(), inputs.end()}, outputs[0], axis_};
  }

 private:
  int axis_;
};

}  // namespace

std::vector<TensorType> View::infer(std::span<const TensorType> inputs) const {
  GANNET_CHECK(inputs[0].shape.elements() == shape_.elements(), "can not become {}", to_string(shape_));
  return {{inputs[0].type, shape_}};
}

std::vector<Value> View::vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>&) const {
  return {stops_ ? Value{} : ops::reshape(gradients[0], node.inputs[0].shape(), node.where)};
}

namespace ops {

Value reshape(Value a, const Shape& shape, Where where) {
  if (a.shape() == shape) return a;
  return a.graph().apply(std::make_shared<View>(shape, false), {a}, where)[0];
}

Value identity(Value a, Where where) { return a.graph().apply(std::make_shared<View>(a.shape(), false), {a}, where)[0]; }

Value stop_gradient(Value a, Where where) { return a.graph().apply(std::make_shared<View>(a.shape(), true), {a}, where)[0]; }

Value transpose(Value a, std::span<const int> permutation, Where where) {
  return a.graph().apply(std::make_shared<Transpose>(std::vector<int>(permutation.begin(), permutation.end())), {a}, where)[0];
}

Value slice(Value a, const Shape& start, const Shape& extent, Where where) {
  if (extent == a.shape()) return a;
  return a.graph().apply(std::make_shared<Slice>(start, extent), {a}, where)[0];
}

Value slice_axis(Value a, int axis, std::int64_t start, std::int64_t extent, Where where) {
  GANNET_CHECK(axis >= 0 && axis < a.shape().rank(), "[slice] axis {} of an operand of shape {}", axis, to_string(a.shape()));
  Shape starts = filled(a.shape().rank(), 0), extents = a.shape();
  starts[axis] = start;
  extents[axis] = extent;
  return slice(a, starts, extents, where);
}

Value pad(Value a, const Shape& before, const Shape& after, Where where) {
  return a.graph().apply(std::make_shared<Pad>(before, after), {a}, where)[0];
}

Value concatenate(std::span<const Value> values, int axis, Where where) {
  GANNET_CHECK(!values.empty(), "[concatenate] no operands");
  if (values.size() == 1) return values[0];
  return values[0].graph().apply(std::make_shared<Concatenate>(axis), {values.begin(), values.end()}, where)[0];
}

}  // namespace ops
}  // namespace gannet
