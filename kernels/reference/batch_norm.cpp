// Ioffe & Szegedy 2015, with the derivative through the statistics (their section 3).
#include <algorithm>
#include <cmath>

#include "kernels/reference/activation.h"
#include "kernels/reference/factories.h"

namespace gannet::kernels::reference {
namespace {

class BatchNormKernel final : public Kernel {
 public:
  explicit BatchNormKernel(const BatchNorm& spec)
      : spec_(spec), channels_(spec.x.shape[spec.x.shape.rank() - 1]), count_(spec.x.elements() / channels_ / spec.groups) {}

  void run(const Arguments& arguments) override {
    if (spec_.kind == BatchNorm::Kind::forward) {
      forward(arguments);
    } else {
      backward(arguments);
    }
  }

 private:
  // Element i of channel c of group g: a group is a contiguous run of `count_` pixels.
  std::int64_t at(std::int64_t g, std::int64_t i, std::int64_t c) const { return (g * count_ + i) * channels_ + c; }

  void forward(const Arguments& arguments) const {
    const auto* x = static_cast<const double*>(arguments.inputs[0]);
    const auto* gamma = static_cast<const double*>(arguments.inputs[1]);
    const auto* beta = static_cast<const double*>(arguments.inputs[2]);
    auto* y = static_cast<double*>(arguments.outputs[0]);
    auto* mean = static_cast<double*>(arguments.outputs[1]);
    auto* variance = static_cast<double*>(arguments.outputs[2]);
    if (spec_.momentum > 0) {
      for (int which : {3, 4})
        std::copy_n(static_cast<const double*>(arguments.inputs[which]), channels_,
                    static_cast<double*>(arguments.outputs[which]));
    }
    for (std::int64_t g = 0; g < spec_.groups; ++g) {
      for (std::int64_t c = 0; c < channels_; ++c) {
        double sum = 0, squares = 0;
        for (std::int64_t i = 0; i < count_; ++i) sum += x[at(g, i, c)];
        const double m = sum / static_cast<double>(count_);
        for (std::int64_t i = 0; i < count_; ++i) squares += (x[at(g, i, c)] - m) * (x[at(g, i, c)] - m);
        const double v = squares / static_cast<double>(count_);
        mean[g * channels_ + c] = m;
        variance[g * channels_ + c] = v;
        if (spec_.momentum > 0) {
          auto *running_mean = static_cast<double*>(arguments.outputs[3]),
               *running_variance = static_cast<double*>(arguments.outputs[4]);
          running_mean[c] += spec_.momentum * (m - running_mean[c]);
          running_variance[c] += spec_.momentum * (squares / static_cast<double>(count_ - 1) - running_variance[c]);
        }
        for (std::int64_t i = 0; i < count_; ++i) {
          const double normalised = (x[at(g, i, c)] - m) / std::sqrt(v + spec_.epsilon);
          y[at(g, i, c)] = activate(spec_.activation, gamma[c] * normalised + beta[c]);
        }
      }
    }
  }

  void backward(const Arguments& arguments) const {
    const auto* x = static_cast<const double*>(arguments.inputs[0]);
    const auto* gamma = static_cast<const double*>(arguments.inputs[1]);
    const auto* beta = static_cast<const double*>(arguments.inputs[2]);
    const auto* mean = static_cast<const double*>(arguments.inputs[3]);
    const auto* variance = static_cast<const double*>(arguments.inputs[4]);
    const auto* dy = static_cast<const double*>(arguments.inputs[5]);
    auto* dx = static_cast<double*>(arguments.outputs[0]);
    auto* dgamma = static_cast<double*>(arguments.outputs[1]);
    auto* dbeta = static_cast<double*>(arguments.outputs[2]);
    for (std::int64_t c = 0; c < channels_; ++c) {
      double sum_all = 0, product_all = 0;
      for (std::int64_t g = 0; g < spec_.groups; ++g) {
        const double m = mean[g * channels_ + c], deviation = std::sqrt(variance[g * channels_ + c] + spec_.epsilon);
        const auto normalised = [&](std::int64_t i) { return (x[at(g, i, c)] - m) / deviation; };
        const auto upstream = [&](std::int64_t i) {
          return dy[at(g, i, c)] * slope_at(spec_.activation, gamma[c] * normalised(i) + beta[c]);
        };
        double sum = 0, product = 0;
        for (std::int64_t i = 0; i < count_; ++i) {
          sum += upstream(i);
          product += upstream(i) * normalised(i);
        }
        const auto count = static_cast<double>(count_);
        for (std::int64_t i = 0; i < count_; ++i) {
          dx[at(g, i, c)] = gamma[c] / deviation * (upstream(i) - sum / count - normalised(i) * product / count);
        }
        sum_all += sum;
        product_all += product;
      }
      dbeta[c] = sum_all;
      dgamma[c] = product_all;
    }
  }

  BatchNorm spec_;
  std::int64_t channels_;
  std::int64_t count_;  // elements that one statistic is taken over
};

}  // namespace

std::unique_ptr<Kernel> make(const BatchNorm& spec) { return std::make_unique<BatchNormKernel>(spec); }

}  // namespace gannet::kernels::reference
