#include <algorithm>
#include <cmath>

#include "kernels/reference/activation.h"
#include "kernels/reference/factories.h"

namespace gannet::kernels::reference {
namespace {

class SigmoidBceKernel final : public Kernel {
 public:
  explicit SigmoidBceKernel(const SigmoidBce& spec) : spec_(spec) {}

  void run(const Arguments& arguments) override {
    const auto* logits = static_cast<const double*>(arguments.inputs[0]);
    auto* loss = static_cast<double*>(arguments.outputs[0]);
    auto* gradient = static_cast<double*>(arguments.outputs[1]);
    auto* probability = static_cast<double*>(arguments.outputs[2]);
    const auto runs = static_cast<std::int64_t>(spec_.targets.size());
    const std::int64_t length = spec_.logits.elements() / runs;
    const auto count = static_cast<double>(length);
    *loss = 0;
    for (std::int64_t g = 0; g < runs; ++g) {
      const double target = spec_.targets[g], weight = spec_.weights[g];
      probability[g] = 0;
      for (std::int64_t i = g * length; i < (g + 1) * length; ++i) {
        const double x = logits[i];
        const double softplus = std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
        *loss += weight * (softplus - target * x) / count;
        gradient[i] = weight * (sigmoid(x) - target) / count;
        probability[g] += sigmoid(x) / count;
      }
    }
  }

 private:
  SigmoidBce spec_;
};

}  // namespace

std::unique_ptr<Kernel> make(const SigmoidBce& spec) { return std::make_unique<SigmoidBceKernel>(spec); }

}  // namespace gannet::kernels::reference
