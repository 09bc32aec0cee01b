#include "kernels/one_after_the_other.h"

#include <algorithm>

#include "kernels/operands.h"

namespace gannet::kernels {
namespace {

class OneAfterTheOther final : public Kernel {
 public:
  OneAfterTheOther(const ConvolutionBackward& spec, std::unique_ptr<Kernel> data, std::unique_ptr<Kernel> weights)
      : data_(std::move(data)),
        weights_(std::move(weights)),
        picture_(operands_of(spec).inputs.size() - 1),
        gradient_is_y_(spec.data.kind == ConvolutionKind::dgrad) {}

  std::size_t workspace_bytes() const override { return std::max(data_->workspace_bytes(), weights_->workspace_bytes()); }
  Reorders reorders() const override {
    const Reorders data = data_->reorders(), weights = weights_->reorders();
    return {data.pictures + weights.pictures, data.filters + weights.filters};
  }

  void run(const Arguments& arguments) override {
    data_->run(arguments);
    const void *gradient = arguments.inputs[0], *picture = arguments.inputs[picture_];
    const void* const inputs[] = {gradient_is_y_ ? picture : gradient, gradient_is_y_ ? gradient : picture};
    weights_->run({inputs, arguments.outputs + 1, arguments.workspace});
  }

 private:
  std::unique_ptr<Kernel> data_, weights_;
  std::size_t picture_;
  bool gradient_is_y_;
};

}  // namespace

std::unique_ptr<Kernel> one_after_the_other(const ConvolutionBackward& spec, std::unique_ptr<Kernel> data,
                                            std::unique_ptr<Kernel> weights) {
  return std::make_unique<OneAfterTheOther>(spec, std::move(data), std::move(weights));
}

}  // namespace gannet::kernels
