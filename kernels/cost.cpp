// Work and least traffic, from the shapes alone.
#include "kernels/backend.h"
#include "kernels/operands.h"

namespace gannet::kernels {
namespace {

double count(const TensorDesc& desc) { return static_cast<double>(desc.elements()); }

double flops(const Convolution& spec) {
  return 2 * count(spec.y) * count(spec.w) / static_cast<double>(spec.w.shape[0]);  // N P Q K * R S C
}
double flops(const ConvolutionBackward& spec) { return flops(spec.data) + flops(spec.weights); }
double flops(const Matmul& spec) { return 2 * count(spec.c) * static_cast<double>(spec.a.shape[spec.transpose_a ? 0 : 1]); }
double flops(const Pointwise& spec) {
  return static_cast<double>(spec.instructions.size()) * static_cast<double>(spec.shape.elements());
}
double flops(const Reduction& spec) { return flops(spec.chain) + static_cast<double>(spec.chain.shape.elements()); }
double flops(const BatchNorm& spec) { return (spec.kind == BatchNorm::Kind::forward ? 7 : 12) * count(spec.x); }
double flops(const SigmoidBce& spec) { return 8 * count(spec.logits); }
double flops(const OptimizerUpdate& spec) {
  const double per_element = spec.kind == OptimizerUpdate::Kind::adam      ? 12
                             : spec.kind == OptimizerUpdate::Kind::rmsprop ? 8
                                                                           : 4;
  double elements = 0;
  for (const TensorDesc& parameter : spec.parameters) elements += count(parameter);
  return per_element * elements;
}
double flops(const EmaUpdate& spec) {
  double elements = 0;
  for (const TensorDesc& parameter : spec.parameters) elements += count(parameter);
  return 3 * elements;
}
double flops(const Bf16Copies&) { return 0; }
double flops(const Random&) { return 0; }
double flops(const Copy&) { return 0; }
double flops(const Concatenate&) { return 0; }
double flops(const AllReduce& spec) {
  double elements = 0;
  for (const TensorDesc& tensor : spec.tensors) elements += count(tensor);
  return elements;
}

}  // namespace

Cost cost_of(const KernelSpec& spec) {
  Cost cost;
  cost.flops = std::visit([](const auto& one) { return flops(one); }, spec);
  const Operands operands = operands_of(spec);
  for (const TensorDesc& desc : operands.inputs) cost.bytes += static_cast<double>(desc.bytes());
  for (const TensorDesc& desc : operands.outputs) cost.bytes += static_cast<double>(desc.bytes());
  return cost;
}

}  // namespace gannet::kernels
