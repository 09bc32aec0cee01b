#include "kernels/bf16_copies.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/operands.h"

namespace gannet::kernels {
namespace {

class Bf16CopiesKernel final : public Kernel {
 public:
  explicit Bf16CopiesKernel(std::vector<std::unique_ptr<Kernel>> casts) : casts_(std::move(casts)) {}

  std::size_t workspace_bytes() const override {
    std::size_t most = 0;
    for (const auto& cast : casts_) most = std::max(most, cast->workspace_bytes());
    return most;
  }

  void run(const Arguments& arguments) override {
    for (std::size_t t = 0; t < casts_.size(); ++t)
      casts_[t]->run({arguments.inputs + t, arguments.outputs + t, arguments.workspace});
  }

 private:
  std::vector<std::unique_ptr<Kernel>> casts_;
};

}  // namespace

std::unique_ptr<Kernel> bf16_copies_by(const Bf16Copies& spec,
                                       const std::function<std::unique_ptr<Kernel>(const Pointwise&)>& make) {
  const Operands operands = operands_of(spec);
  std::vector<std::unique_ptr<Kernel>> casts;
  for (std::size_t t = 0; t < operands.inputs.size(); ++t) {
    const TensorDesc &from = operands.inputs[t], &to = operands.outputs[t];
    casts.push_back(make(Pointwise{from.shape, from.layout, {from}, {}, {to}, {0}}));
  }
  return std::make_unique<Bf16CopiesKernel>(std::move(casts));
}

}  // namespace gannet::kernels
