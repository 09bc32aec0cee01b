// Optimizer updates and moving averages, with PyTorch's formulas (torch.optim.Adam, RMSprop, SGD).
#include <cmath>

#include "kernels/bf16_copies.h"
#include "kernels/reference/factories.h"

namespace gannet::kernels::reference {
namespace {

class OptimizerKernel final : public Kernel {
 public:
  explicit OptimizerKernel(const OptimizerUpdate& spec) : spec_(spec), moments_(spec.moments()) {}

  void run(const Arguments& arguments) override {
    const double learning_rate = *static_cast<const double*>(arguments.inputs[0]);
    const double step = *static_cast<const double*>(arguments.inputs[1]);
    std::int32_t nonfinite = first_nonfinite(arguments);
    if (step < 0 && nonfinite == 0) nonfinite = static_cast<std::int32_t>(spec_.parameters.size()) + 1;
    *static_cast<double*>(arguments.outputs[0]) = nonfinite == 0 ? step + (spec_.counts ? 1 : 0) : -1;
    *static_cast<std::int32_t*>(arguments.outputs[1]) = nonfinite;
    for (std::size_t t = 0; t < spec_.parameters.size(); ++t) {
      const void* const* in = arguments.inputs + 2 + t * (2 + moments_);
      void* const* out = arguments.outputs + 2 + t * (1 + moments_);
      for (std::int64_t i = 0; i < spec_.parameters[t].elements(); ++i) {
        const auto read = [&](int tensor) { return static_cast<const double*>(in[tensor])[i]; };
        double parameter = read(0), moment[2] = {moments_ > 0 ? read(2) : 0, moments_ > 1 ? read(3) : 0};
        if (nonfinite == 0) update(parameter, read(1), moment, learning_rate, step);
        static_cast<double*>(out[0])[i] = parameter;
        for (int m = 0; m < moments_; ++m) static_cast<double*>(out[1 + m])[i] = moment[m];
      }
    }
  }

 private:
  // 1 + the index of the first tensor whose gradient is not finite; 0: none.
  std::int32_t first_nonfinite(const Arguments& arguments) const {
    for (std::size_t t = 0; t < spec_.parameters.size(); ++t) {
      const auto* gradient = static_cast<const double*>(arguments.inputs[2 + t * (2 + moments_) + 1]);
      for (std::int64_t i = 0; i < spec_.parameters[t].elements(); ++i) {
        if (!std::isfinite(gradient[i])) return static_cast<std::int32_t>(t) + 1;
      }
    }
    return 0;
  }

  // `step` updates were made before this one.
  void update(double& parameter, double gradient, double* moment, double learning_rate, double step) const {
    const double g = gradient + spec_.weight_decay * parameter;
    switch (spec_.kind) {
      case OptimizerUpdate::Kind::adam: {
        const double beta1 = spec_.beta1, beta2 = spec_.beta2;
        moment[0] = beta1 * moment[0] + (1 - beta1) * g;
        moment[1] = beta2 * moment[1] + (1 - beta2) * g * g;
        const double unbiased = moment[0] / (1 - std::pow(beta1, step + 1));
        const double unbiased_square = moment[1] / (1 - std::pow(beta2, step + 1));
        parameter -= learning_rate * unbiased / (std::sqrt(unbiased_square) + spec_.epsilon);
        break;
      }
      case OptimizerUpdate::Kind::rmsprop: {
        moment[0] = spec_.alpha * moment[0] + (1 - static_cast<double>(spec_.alpha)) * g * g;
        double direction = g / (std::sqrt(moment[0]) + spec_.epsilon);
        if (spec_.momentum > 0) direction = moment[1] = spec_.momentum * moment[1] + direction;
        parameter -= learning_rate * direction;
        break;
      }
      case OptimizerUpdate::Kind::sgd: {
        double direction = g;
        if (spec_.momentum > 0) direction = moment[0] = step == 0 ? g : spec_.momentum * moment[0] + g;
        parameter -= learning_rate * direction;
        break;
      }
    }
  }

  OptimizerUpdate spec_;
  int moments_;
};

class EmaKernel final : public Kernel {
 public:
  explicit EmaKernel(const EmaUpdate& spec) : spec_(spec) {}

  void run(const Arguments& arguments) override {
    const double decay = spec_.decay;
    for (std::size_t t = 0; t < spec_.parameters.size(); ++t) {
      const auto* average = static_cast<const double*>(arguments.inputs[2 * t]);
      const auto* parameter = static_cast<const double*>(arguments.inputs[2 * t + 1]);
      auto* result = static_cast<double*>(arguments.outputs[t]);
      for (std::int64_t i = 0; i < spec_.parameters[t].elements(); ++i) {
        result[i] = decay * average[i] + (1 - decay) * parameter[i];
      }
    }
  }

 private:
  EmaUpdate spec_;
};

}  // namespace

std::unique_ptr<Kernel> make(const OptimizerUpdate& spec) { return std::make_unique<OptimizerKernel>(spec); }
std::unique_ptr<Kernel> make(const EmaUpdate& spec) { return std::make_unique<EmaKernel>(spec); }
std::unique_ptr<Kernel> make(const Bf16Copies& spec) {
  return bf16_copies_by(spec, [](const Pointwise& cast) { return make(cast); });
}

}  // namespace gannet::kernels::reference
