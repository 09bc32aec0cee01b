// The convolution triple: each is bilinear and the derivative of each is the other two.
#include "engine/graph/operator.h"
#include "engine/graph/ops.h"

namespace gannet {
namespace {

using kernels::ConvolutionKind;

void check_operands(std::span<const TensorType> inputs) {
  GANNET_CHECK(inputs[0].shape.rank() == 4 && inputs[1].shape.rank() == 4, "operands have rank 4");
  GANNET_CHECK(inputs[0].type == inputs[1].type && (inputs[0].type == DType::f32 || inputs[0].type == DType::bf16),
               "operands are both f32 or both bf16");
}

std::int64_t output_extent(std::int64_t input, std::int64_t filter, int stride, int pad) {
  return (input + 2 * pad - filter) < 0 ? 0 : (input + 2 * pad - filter) / stride + 1;
}

class Convolution : public Operator {
 public:
  // first, second: the extents that shapes alone do not tell (dgrad: H, W; wgrad: R, S).
  Convolution(ConvolutionKind kind, int stride, int pad, std::int64_t first = 0, std::int64_t second = 0)
      : kind_(kind), stride_(stride), pad_(pad), first_(first), second_(second) {}

  std::string name() const override {
    return kind_ == ConvolutionKind::fprop ? "conv_fprop" : kind_ == ConvolutionKind::dgrad ? "conv_dgrad" : "conv_wgrad";
  }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    check_operands(inputs);
    GANNET_CHECK(stride_ >= 1 && pad_ >= 0, "stride {} and pad {}", stride_, pad_);
    const Shape &a = inputs[0].shape, &b = inputs[1].shape;
    switch (kind_) {
      case ConvolutionKind::fprop: {
        GANNET_CHECK(a[3] == b[3], "channels differ: x has {}, w has {}", a[3], b[3]);
        const std::int64_t p = output_extent(a[1], b[1], stride_, pad_), q = output_extent(a[2], b[2], stride_, pad_);
        GANNET_CHECK(p > 0 && q > 0, "the filter is larger than the padded picture (pad {})", pad_);
        return {{inputs[0].type, {a[0], p, q, b[0]}}};
      }
      case ConvolutionKind::dgrad: {
        GANNET_CHECK(a[3] == b[0], "channels differ: y has {}, w makes {}", a[3], b[0]);
        GANNET_CHECK(output_extent(first_, b[1], stride_, pad_) == a[1] && output_extent(second_, b[2], stride_, pad_) == a[2],
                     "a {}x{} picture does not give y (stride {}, pad {})", first_, second_, stride_, pad_);
        return {{inputs[0].type, {a[0], first_, second_, b[3]}}};
      }
      case ConvolutionKind::wgrad: {
        GANNET_CHECK(a[0] == b[0], "batches differ");
        GANNET_CHECK(output_extent(a[1], first_, stride_, pad_) == b[1] && output_extent(a[2], second_, stride_, pad_) == b[2],
                     "a {}x{} filter does not take x to y (stride {}, pad {})", first_, second_, stride_, pad_);
        return {{DType::f32, {b[3], first_, second_, a[3]}}};
      }
    }
    return {};
  }

  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>& needs) const override {
    using namespace ops;
    const Value a = node.inputs[0], b = node.inputs[1], g = cast(gradients[0], a.type().type, node.where);
    const auto at = node.where;
    Value da, db;
    switch (kind_) {
      case ConvolutionKind::fprop:  // x, w
        if (needs[0]) da = conv_dgrad(g, b, stride_, pad_, a.shape()[1], a.shape()[2], at);
        if (needs[1]) db = conv_wgrad(a, g, stride_, pad_, b.shape()[1], b.shape()[2], at);
        break;
      case ConvolutionKind::dgrad:  // y, w
        if (needs[0]) da = conv_fprop(g, b, stride_, pad_, at);
        if (needs[1]) db = conv_wgrad(g, a, stride_, pad_, b.shape()[1], b.shape()[2], at);
        break;
      case ConvolutionKind::wgrad:  // x, y
        if (needs[0]) da = conv_dgrad(b, g, stride_, pad_, a.shape()[1], a.shape()[2], at);
        if (needs[1]) db = conv_fprop(a, g, stride_, pad_, at);
        break;
    }
    return {da, db};
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs) const override {
    kernels::Convolution spec{kind_, {}, {}, {}, stride_, pad_, false, {}, {}};
    switch (kind_) {
      case ConvolutionKind::fprop:
        spec.x = inputs[0], spec.w = inputs[1], spec.y = outputs[0];
        break;
      case ConvolutionKind::dgrad:
        spec.y = inputs[0], spec.w = inputs[1], spec.x = outputs[0];
        break;
      case ConvolutionKind::wgrad:
        spec.x = inputs[0], spec.y = inputs[1], spec.w = outputs[0];
        break;
    }
    return spec;
  }

 private:
  ConvolutionKind kind_;
  int stride_, pad_;
  std::int64_t first_, second_;
};

Value apply(const Convolution& op, Value a, Value b, ops::Where where) {
  GANNET_CHECK(a && b, "[{}] an operand is empty (line {} of {})", op.name(), where.line(), where.file_name());
  return a.graph().apply(std::make_shared<Convolution>(op), {a, b}, where)[0];
}

}  // namespace

namespace ops {

Value conv_fprop(Value x, Value w, int stride, int pad, Where where) {
  return apply({ConvolutionKind::fprop, stride, pad}, x, w, where);
}

Value conv_dgrad(Value y, Value w, int stride, int pad, std::int64_t height, std::int64_t width, Where where) {
  return apply({ConvolutionKind::dgrad, stride, pad, height, width}, y, w, where);
}

Value conv_wgrad(Value x, Value y, int stride, int pad, std::int64_t r, std::int64_t s, Where where) {
  return apply({ConvolutionKind::wgrad, stride, pad, r, s}, x, y, where);
}

Value conv_transpose(Value y, Value w, int stride, int pad, Where where) {
  GANNET_CHECK(y.shape().rank() == 4 && w.shape().rank() == 4,
               "[conv_transpose] operands have rank 4, not {} and {} (line {} of {})", to_string(y.type()), to_string(w.type()),
               where.line(), where.file_name());
  return conv_dgrad(y, w, stride, pad, (y.shape()[1] - 1) * stride - 2 * pad + w.shape()[1],
                    (y.shape()[2] - 1) * stride - 2 * pad + w.shape()[2], where);
}

}  // namespace ops
}  // namespace gannet
