#include "kernels/slope_of.h"

#include <algorithm>

#include "kernels/operands.h"

namespace gannet::kernels {
namespace {

class ThenSlope final : public Kernel {
 public:
  ThenSlope(std::unique_ptr<Kernel> convolution, std::unique_ptr<Kernel> chain)
      : convolution_(std::move(convolution)), chain_(std::move(chain)) {}

  std::size_t workspace_bytes() const override { return std::max(convolution_->workspace_bytes(), chain_->workspace_bytes()); }
  Reorders reorders() const override { return convolution_->reorders(); }

  void run(const Arguments& arguments) override {
    convolution_->run(arguments);
    const void* const inputs[] = {arguments.outputs[0], arguments.inputs[2]};
    chain_->run({inputs, arguments.outputs, arguments.workspace});
  }

 private:
  std::unique_ptr<Kernel> convolution_, chain_;
};

// The slope by the activation's output `a`, in register 1; registers are numbered from 2 on.
std::vector<PointwiseInstruction> slope(const Activation& activation) {
  switch (activation.kind) {
    case Activation::Kind::none:
      return {{PointwiseOp::constant, 0, 0, 1, 0}};
    case Activation::Kind::leaky_relu:
      return {{PointwiseOp::leaky_step, 1, 0, activation.slope, 0}};
    case Activation::Kind::tanh:  // 1 - a^2
      return {{PointwiseOp::multiply, 1, 1, 0, 0}, {PointwiseOp::affine, 2, 0, -1, 1}};
    case Activation::Kind::sigmoid:  // a (1 - a)
      return {{PointwiseOp::affine, 1, 0, -1, 1}, {PointwiseOp::multiply, 1, 2, 0, 0}};
  }
  return {};
}

}  // namespace

Pointwise slope_chain(const Convolution& spec) {
  const TensorDesc output = operands_of(spec).outputs[0];
  Pointwise chain{output.shape, output.layout, {output, output}, slope(spec.slope_of), {output}, {}};
  const int last = 1 + static_cast<int>(chain.instructions.size());
  chain.instructions.push_back({PointwiseOp::multiply, 0, last, 0, 0});
  chain.results = {last + 1};
  return chain;
}

std::unique_ptr<Kernel> then_slope(std::unique_ptr<Kernel> convolution, std::unique_ptr<Kernel> chain) {
  return std::make_unique<ThenSlope>(std::move(convolution), std::move(chain));
}

}  // namespace gannet::kernels
