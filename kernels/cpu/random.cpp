// Random draws on all cores; an element's number depends on its index alone.
#include "kernels/cpu/random.h"

#include "kernels/check.h"
#include "kernels/cpu/factories.h"
#include "kernels/cpu/parallel.h"
#include "kernels/operands.h"

namespace gannet::kernels::cpu {
namespace {

class RandomKernel final : public Kernel {
 public:
  explicit RandomKernel(const Random& spec)
      : elements_(spec.output.elements()), threads_(threads_for(elements_)), draw_(GANNET_FOR_VECTOR_SET(vector_set(), draw)) {
    settings_.distribution = spec.distribution;
    settings_.a = spec.a;
    settings_.scale = spec.distribution == Random::Distribution::uniform ? spec.b - spec.a : spec.b;
    settings_.key_low = static_cast<std::uint32_t>(spec.seed);
    settings_.key_high = static_cast<std::uint32_t>(spec.seed >> 32);
    settings_.stream = spec.stream;
    settings_.first = spec.first;
    settings_.type = spec.output.type;
  }

  void run(const Arguments& arguments) override {
    Draw draw = settings_;
    draw.step = static_cast<std::uint32_t>(*static_cast<const std::int32_t*>(arguments.inputs[0]));
    const std::int64_t groups = (elements_ + random_group - 1) / random_group;
    parallel_for(threads_, threads_, [&](std::int64_t part, int) {
      draw_(draw, groups * part / threads_ * random_group, std::min(elements_, groups * (part + 1) / threads_ * random_group),
            arguments.outputs[0]);
    });
  }

 private:
  std::int64_t elements_;
  int threads_;
  decltype(&baseline::draw) draw_;
  Draw settings_{};
};

}  // namespace

std::unique_ptr<Kernel> make_random(const Random& spec) {
  check_preconditions(spec);
  GANNET_CHECK(spec.first + spec.output.elements() <= std::int64_t{1} << 34, "[{}] {} ends after 2^34 elements", name_of(spec),
               to_string(spec.output));
  return std::make_unique<RandomKernel>(spec);
}

}  // namespace gannet::kernels::cpu
