#include <algorithm>

#include "kernels/one_after_the_other.h"
#include "kernels/operands.h"
#include "kernels/reference/activation.h"
#include "kernels/reference/factories.h"

namespace gannet::kernels::reference {
namespace {

class ConvolutionKernel final : public Kernel {
 public:
  explicit ConvolutionKernel(const Convolution& spec) : spec_(spec) {}

  void run(const Arguments& arguments) override {
    const auto* first = static_cast<const double*>(arguments.inputs[0]);
    const auto* second = static_cast<const double*>(arguments.inputs[1]);
    auto* result = static_cast<double*>(arguments.outputs[0]);
    const TensorDesc output = operands_of(spec_).outputs[0];
    std::fill(result, result + output.elements(), 0.0);
    // The triple shares one set of meeting points; each kind sums over them into another operand.
    switch (spec_.kind) {
      case ConvolutionKind::fprop:
        for_each_meeting([&](auto x, auto w, auto y) { result[y] += first[x] * second[w]; });
        break;
      case ConvolutionKind::dgrad:
        for_each_meeting([&](auto x, auto w, auto y) { result[x] += first[y] * second[w]; });
        break;
      case ConvolutionKind::wgrad:
        for_each_meeting([&](auto x, auto w, auto y) { result[w] += first[x] * second[y]; });
        break;
    }
    const auto* bias = spec_.bias ? static_cast<const double*>(arguments.inputs[2]) : nullptr;
    if (spec_.kind == ConvolutionKind::wgrad) return;
    for (std::int64_t i = 0; i < output.elements(); ++i) {
      result[i] = activate(spec_.activation, result[i] + (bias ? bias[i % output.shape[3]] : 0));
    }
    if (spec_.slope_of.kind == Activation::Kind::none) return;
    const auto* activated = static_cast<const double*>(arguments.inputs[2]);
    for (std::int64_t i = 0; i < output.elements(); ++i) result[i] *= slope_by_output(spec_.slope_of, activated[i]);
  }

 private:
  // Calls meet(index in x, index in w, index in y) for every product of the sum.
  template <typename Meet>
  void for_each_meeting(Meet meet) const {
    const Shape &x = spec_.x.shape, &w = spec_.w.shape, &y = spec_.y.shape;
    const std::int64_t H = x[1], W = x[2], C = x[3], R = w[1], S = w[2], P = y[1], Q = y[2], K = y[3];
    for (std::int64_t n = 0; n < x[0]; ++n)
      for (std::int64_t p = 0; p < P; ++p)
        for (std::int64_t q = 0; q < Q; ++q)
          for (std::int64_t r = 0; r < R; ++r)
            for (std::int64_t s = 0; s < S; ++s) {
              const std::int64_t h = p * spec_.stride + r - spec_.pad, v = q * spec_.stride + s - spec_.pad;
              if (h < 0 || h >= H || v < 0 || v >= W) continue;
              for (std::int64_t k = 0; k < K; ++k)
                for (std::int64_t c = 0; c < C; ++c)
                  meet(((n * H + h) * W + v) * C + c, ((k * R + r) * S + s) * C + c, ((n * P + p) * Q + q) * K + k);
            }
  }

  Convolution spec_;
};

}  // namespace

std::unique_ptr<Kernel> make(const Convolution& spec) { return std::make_unique<ConvolutionKernel>(spec); }

std::unique_ptr<Kernel> make(const ConvolutionBackward& spec) {
  return one_after_the_other(spec, make(spec.data), make(spec.weights));
}

}  // namespace gannet::kernels::reference
