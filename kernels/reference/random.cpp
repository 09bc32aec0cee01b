// The contract of kernels/random.h element by element. It is one of fp32 numbers: computed in double they would differ.
#include "kernels/philox.h"
#include "kernels/reference/factories.h"

namespace gannet::kernels::reference {
namespace {

class RandomKernel final : public Kernel {
 public:
  explicit RandomKernel(const Random& spec) : spec_(spec) {}

  void run(const Arguments& arguments) override {
    const auto step = static_cast<std::uint32_t>(*static_cast<const std::int32_t*>(arguments.inputs[0]));
    auto* output = static_cast<double*>(arguments.outputs[0]);
    for (std::int64_t i = 0; i < spec_.output.elements(); ++i) {
      const std::int64_t n = spec_.first + i;
      const philox::Block<std::uint32_t> counter{{static_cast<std::uint32_t>(n / 4), spec_.stream, step, 0}};
      const auto block =
          philox::generate(counter, static_cast<std::uint32_t>(spec_.seed), static_cast<std::uint32_t>(spec_.seed >> 32));
      if (spec_.distribution == Random::Distribution::uniform) {
        const float u = philox::uniform<float>(block.word[n % 4]);
        output[i] = spec_.a + (spec_.b - spec_.a) * u;
      } else {
        const int pair = n % 4 < 2 ? 0 : 2;
        float normal[2];
        philox::normal_pair(block.word[pair], block.word[pair + 1], normal[0], normal[1]);
        output[i] = spec_.a + spec_.b * normal[n % 2];
      }
    }
  }

 private:
  Random spec_;
};

}  // namespace

std::unique_ptr<Kernel> make(const Random& spec) { return std::make_unique<RandomKernel>(spec); }

}  // namespace gannet::kernels::reference
