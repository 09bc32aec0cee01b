#include "kernels/reference/activation.h"
#include "kernels/reference/factories.h"

namespace gannet::kernels::reference {
namespace {

class MatmulKernel final : public Kernel {
 public:
  explicit MatmulKernel(const Matmul& spec) : spec_(spec) {}

  void run(const Arguments& arguments) override {
    const auto* a = static_cast<const double*>(arguments.inputs[0]);
    const auto* b = static_cast<const double*>(arguments.inputs[1]);
    const auto* bias = spec_.bias ? static_cast<const double*>(arguments.inputs[2]) : nullptr;
    auto* c = static_cast<double*>(arguments.outputs[0]);
    const std::int64_t M = spec_.c.shape[0], N = spec_.c.shape[1], K = spec_.a.shape[spec_.transpose_a ? 0 : 1];
    for (std::int64_t m = 0; m < M; ++m) {
      for (std::int64_t n = 0; n < N; ++n) {
        double sum = bias ? bias[n] : 0;
        for (std::int64_t k = 0; k < K; ++k) {
          sum += a[spec_.transpose_a ? k * M + m : m * K + k] * b[spec_.transpose_b ? n * K + k : k * N + n];
        }
        c[m * N + n] = activate(spec_.activation, sum);
      }
    }
  }

 private:
  Matmul spec_;
};

}  // namespace

std::unique_ptr<Kernel> make(const Matmul& spec) { return std::make_unique<MatmulKernel>(spec); }

}  // namespace gannet::kernels::reference
