#include "kernels/operands.h"

namespace gannet::kernels {
namespace {

const TensorDesc f32_scalar{DType::f32, Shape{}, Layout::plain};
const TensorDesc i32_scalar{DType::i32, Shape{}, Layout::plain};

TensorDesc f32_plain(Shape shape) { return {DType::f32, shape, Layout::plain}; }

Operands operands(const Convolution& spec) {
  Operands result;
  switch (spec.kind) {
    case ConvolutionKind::fprop:
      result = {{spec.x, spec.w}, {spec.y}};
      break;
    case ConvolutionKind::dgrad:
      result = {{spec.y, spec.w}, {spec.x}};
      break;
    case ConvolutionKind::wgrad:
      result = {{spec.x, spec.y}, {spec.w}};
      break;
  }
  const TensorDesc& output = result.outputs[0];
  if (spec.bias && output.shape.rank() == 4) result.inputs.push_back(f32_plain({output.shape[3]}));
  if (spec.slope_of.kind != Activation::Kind::none) result.inputs.push_back(output);
  return result;
}

Operands operands(const ConvolutionBackward& spec) {
  Operands result = operands(spec.data);
  result.inputs.push_back(spec.data.kind == ConvolutionKind::dgrad ? spec.weights.x : spec.weights.y);
  result.outputs.push_back(spec.weights.w);
  return result;
}

Operands operands(const Matmul& spec) {
  Operands result{{spec.a, spec.b}, {spec.c}};
  if (spec.bias && spec.c.shape.rank() == 2) result.inputs.push_back(f32_plain({spec.c.shape[1]}));
  return result;
}

Operands operands(const Pointwise& spec) { return {spec.inputs, spec.outputs}; }
Operands operands(const Reduction& spec) { return {spec.chain.inputs, {spec.output}}; }

Operands operands(const BatchNorm& spec) {
  const int rank = spec.x.shape.rank();
  const std::int64_t channels = rank > 0 ? spec.x.shape[rank - 1] : 1;
  const TensorDesc vector = f32_plain({channels});
  const TensorDesc statistics = f32_plain({spec.groups, channels});
  if (spec.kind == BatchNorm::Kind::forward) {
    Operands result{{spec.x, vector, vector}, {spec.x, statistics, statistics}};
    if (spec.momentum > 0)
      for (auto* side : {&result.inputs, &result.outputs}) side->insert(side->end(), 2, vector);
    return result;
  }
  return {{spec.x, vector, vector, statistics, statistics, spec.x}, {spec.x, vector, vector}};
}

Operands operands(const SigmoidBce& spec) {
  TensorDesc gradient = spec.logits;
  gradient.type = spec.gradient;
  return {{spec.logits}, {f32_scalar, gradient, f32_plain({static_cast<std::int64_t>(spec.targets.size())})}};
}

Operands operands(const OptimizerUpdate& spec) {
  Operands result{{f32_scalar, f32_scalar}, {f32_scalar, i32_scalar}};
  for (const TensorDesc& parameter : spec.parameters) {
    for (int i = 0; i < 2 + spec.moments(); ++i) result.inputs.push_back(parameter);
    for (int i = 0; i < 1 + spec.moments(); ++i) result.outputs.push_back(parameter);
  }
  return result;
}

Operands operands(const EmaUpdate& spec) {
  Operands result;
  for (const TensorDesc& parameter : spec.parameters) {
    result.inputs.insert(result.inputs.end(), 2, parameter);
    result.outputs.push_back(parameter);
  }
  return result;
}

Operands operands(const Bf16Copies& spec) {
  Operands result{spec.parameters, spec.parameters};
  for (TensorDesc& copy : result.outputs) copy.type = DType::bf16;
  return result;
}

Operands operands(const Random& spec) { return {{i32_scalar}, {spec.output}}; }
Operands operands(const Copy& spec) { return {{spec.input}, {spec.output}}; }
Operands operands(const Concatenate& spec) { return {spec.inputs, {spec.output}}; }
Operands operands(const AllReduce& spec) { return {spec.tensors, spec.tensors}; }

const char* name(const Convolution& spec) {
  switch (spec.kind) {
    case ConvolutionKind::fprop:
      return "convolution fprop";
    case ConvolutionKind::dgrad:
      return "convolution dgrad";
    case ConvolutionKind::wgrad:
      return "convolution wgrad";
  }
  return "convolution";
}
const char* name(const ConvolutionBackward&) { return "convolution backward"; }
const char* name(const Matmul&) { return "matmul"; }
const char* name(const Pointwise&) { return "pointwise"; }
const char* name(const Reduction&) { return "reduction"; }
const char* name(const BatchNorm& spec) {
  return spec.kind == BatchNorm::Kind::forward ? "batch norm forward" : "batch norm backward";
}
const char* name(const SigmoidBce&) { return "sigmoid BCE"; }
const char* name(const OptimizerUpdate& spec) {
  switch (spec.kind) {
    case OptimizerUpdate::Kind::adam:
      return "adam update";
    case OptimizerUpdate::Kind::rmsprop:
      return "rmsprop update";
    case OptimizerUpdate::Kind::sgd:
      return "sgd update";
  }
  return "optimizer update";
}
const char* name(const EmaUpdate&) { return "moving average update"; }
const char* name(const Bf16Copies&) { return "bf16 copies"; }
const char* name(const Random& spec) {
  return spec.distribution == Random::Distribution::normal ? "random normal" : "random uniform";
}
const char* name(const Copy&) { return "copy"; }
const char* name(const Concatenate&) { return "concatenate"; }
const char* name(const AllReduce&) { return "all reduce"; }

}  // namespace

Operands operands_of(const KernelSpec& spec) {
  return std::visit([](const auto& s) { return operands(s); }, spec);
}

const char* name_of(const KernelSpec& spec) {
  return std::visit([](const auto& s) { return name(s); }, spec);
}

}  // namespace gannet::kernels
