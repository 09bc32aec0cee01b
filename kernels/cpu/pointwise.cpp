// Pointwise chains on all cores.
#include "kernels/cpu/chain_plan.h"
#include "kernels/cpu/factories.h"
#include "kernels/cpu/parallel.h"
#include "kernels/operands.h"

namespace gannet::kernels::cpu {
namespace {

class PointwiseKernel final : public Kernel {
 public:
  explicit PointwiseKernel(const Pointwise& spec)
      : plan_(spec, "pointwise"),
        elements_(spec.shape.elements()),
        threads_(threads_for(elements_)),
        run_(GANNET_FOR_VECTOR_SET(vector_set(), run_chain)) {}

  void run(const Arguments& arguments) override {
    const Chain& chain = plan_.chain();
    const std::int64_t tiles = (elements_ + chain.tile - 1) / chain.tile;
    parallel_for(threads_, threads_, [&](std::int64_t part, int) {
      const std::int64_t begin = tiles * part / threads_ * chain.tile;
      const std::int64_t end = std::min(elements_, tiles * (part + 1) / threads_ * chain.tile);
      run_(chain, arguments.inputs, arguments.outputs, begin, end);
    });
  }

 private:
  ChainPlan plan_;
  std::int64_t elements_;
  int threads_;
  decltype(&baseline::run_chain) run_;
};

}  // namespace

std::unique_ptr<Kernel> make_pointwise(const Pointwise& spec) {
  check_preconditions(spec);
  return std::make_unique<PointwiseKernel>(spec);
}

}  // namespace gannet::kernels::cpu
