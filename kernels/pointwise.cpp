#include "kernels/pointwise.h"

namespace gannet::kernels {

int operands_of(PointwiseOp op) {
  switch (op) {
    case PointwiseOp::constant:
      return 0;
    case PointwiseOp::add:
    case PointwiseOp::subtract:
    case PointwiseOp::multiply:
    case PointwiseOp::divide:
    case PointwiseOp::maximum:
    case PointwiseOp::minimum:
    case PointwiseOp::greater:
      return 2;
    default:
      return 1;
  }
}

const char* name_of(PointwiseOp op) {
  switch (op) {
    case PointwiseOp::constant:
      return "constant";
    case PointwiseOp::affine:
      return "affine";
    case PointwiseOp::add:
      return "add";
    case PointwiseOp::subtract:
      return "subtract";
    case PointwiseOp::multiply:
      return "multiply";
    case PointwiseOp::divide:
      return "divide";
    case PointwiseOp::maximum:
      return "maximum";
    case PointwiseOp::minimum:
      return "minimum";
    case PointwiseOp::greater:
      return "greater";
    case PointwiseOp::exp:
      return "exp";
    case PointwiseOp::log:
      return "log";
    case PointwiseOp::sqrt:
      return "sqrt";
    case PointwiseOp::tanh:
      return "tanh";
    case PointwiseOp::sigmoid:
      return "sigmoid";
    case PointwiseOp::abs:
      return "abs";
    case PointwiseOp::sign:
      return "sign";
    case PointwiseOp::reciprocal:
      return "reciprocal";
    case PointwiseOp::softplus:
      return "softplus";
    case PointwiseOp::leaky_relu:
      return "leaky_relu";
    case PointwiseOp::leaky_step:
      return "leaky_step";
  }
  return "?";
}

}  // namespace gannet::kernels
