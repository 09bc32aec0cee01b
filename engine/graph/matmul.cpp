// Matrix product; both derivatives are matrix products.
#include "engine/graph/operator.h"
#include "engine/graph/ops.h"

namespace gannet {
namespace {

class Matmul : public Operator {
 public:
  Matmul(bool transpose_a, bool transpose_b, bool f32) : transpose_a_(transpose_a), transpose_b_(transpose_b), f32_(f32) {}
  std::string name() const override { return "matmul"; }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    const Shape &a = inputs[0].shape, &b = inputs[1].shape;
    GANNET_CHECK(a.rank() == 2 && b.rank() == 2, "operands have rank 2");
    GANNET_CHECK(inputs[0].type == inputs[1].type && (inputs[0].type == DType::f32 || inputs[0].type == DType::bf16),
                 "operands are both f32 or both bf16");
    GANNET_CHECK(a[transpose_a_ ? 0 : 1] == b[transpose_b_ ? 1 : 0], "inner extents differ{}{}",
                 transpose_a_ ? ", the first transposed" : "", transpose_b_ ? ", the second transposed" : "");
    return {{f32_ ? DType::f32 : inputs[0].type, {a[transpose_a_ ? 1 : 0], b[transpose_b_ ? 0 : 1]}}};
  }

  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>& needs) const override {
    using ops::matmul_f32;
    const auto at = node.where;
    const Value a = node.inputs[0], b = node.inputs[1], g = ops::cast(gradients[0], a.type().type, at);
    Value da, db;
    if (needs[0]) da = transpose_a_ ? matmul_f32(b, g, transpose_b_, true, at) : matmul_f32(g, b, false, !transpose_b_, at);
    if (needs[1]) db = transpose_b_ ? matmul_f32(g, a, true, transpose_a_, at) : matmul_f32(a, g, !transpose_a_, false, at);
    return {da, db};
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs) const override {
    return kernels::Matmul{inputs[0], inputs[1], outputs[0], transpose_a_, transpose_b_, false, {}};
  }

 private:
  bool transpose_a_, transpose_b_, f32_;
};

Value apply(Value a, Value b, bool transpose_a, bool transpose_b, bool f32, ops::Where where) {
  GANNET_CHECK(a && b, "[matmul] an operand is empty (line {} of {})", where.line(), where.file_name());
  return a.graph().apply(std::make_shared<Matmul>(transpose_a, transpose_b, f32), {a, b}, where)[0];
}

}  // namespace

namespace ops {

Value matmul(Value a, Value b, bool transpose_a, bool transpose_b, Where where) {
  return apply(a, b, transpose_a, transpose_b, false, where);
}

Value matmul_f32(Value a, Value b, bool transpose_a, bool transpose_b, Where where) {
  return apply(a, b, transpose_a, transpose_b, true, where);
}

}  // namespace ops
}  // namespace gannet
