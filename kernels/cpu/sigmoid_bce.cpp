// Binary cross-entropy on logits, on all cores where there are many (patches, pixels): pieces of a fixed size, added in order.
#include "kernels/cpu/sigmoid_bce.h"

#include "kernels/cpu/factories.h"
#include "kernels/cpu/parallel.h"
#include "kernels/operands.h"

namespace gannet::kernels::cpu {
namespace {

constexpr std::int64_t piece_elements = 8192;

class SigmoidBceKernel final : public Kernel {
 public:
  explicit SigmoidBceKernel(const SigmoidBce& spec)
      : spec_(spec),
        length_(spec.logits.elements() / static_cast<std::int64_t>(spec.targets.size())),
        pieces_((length_ + piece_elements - 1) / piece_elements),
        threads_(threads_for(spec.logits.elements())),
        function_(GANNET_FOR_VECTOR_SET(vector_set(), sigmoid_bce)) {}

  std::size_t workspace_bytes() const override { return static_cast<std::size_t>(runs() * pieces_) * sizeof(BceSums); }

  void run(const Arguments& arguments) override {
    const auto* logits = static_cast<const float*>(arguments.inputs[0]);
    auto* gradient = static_cast<std::byte*>(arguments.outputs[1]);
    const std::size_t element = size_of(spec_.gradient);
    auto* probability = static_cast<float*>(arguments.outputs[2]);
    auto* sums = static_cast<BceSums*>(arguments.workspace);
    parallel_for(threads_, runs() * pieces_, [&](std::int64_t piece, int) {
      const auto run = static_cast<std::size_t>(piece / pieces_);
      const std::int64_t begin = piece % pieces_ * piece_elements;
      const std::int64_t first = piece / pieces_ * length_ + begin;
      const auto scale = static_cast<float>(static_cast<double>(spec_.weights[run]) / static_cast<double>(length_));
      sums[piece] = function_(logits + first, std::min(piece_elements, length_ - begin), spec_.targets[run], scale,
                              spec_.gradient == DType::bf16, gradient + static_cast<std::size_t>(first) * element);
    });
    double loss = 0;
    for (std::int64_t run = 0; run < runs(); ++run) {
      BceSums total{0, 0};
      for (std::int64_t piece = run * pieces_; piece < (run + 1) * pieces_; ++piece) {
        total.loss += sums[piece].loss;
        total.probability += sums[piece].probability;
      }
      loss += spec_.weights[static_cast<std::size_t>(run)] * (total.loss / static_cast<double>(length_));
      probability[run] = static_cast<float>(total.probability / static_cast<double>(length_));
    }
    *static_cast<float*>(arguments.outputs[0]) = static_cast<float>(loss);
  }

 private:
  std::int64_t runs() const { return static_cast<std::int64_t>(spec_.targets.size()); }

  SigmoidBce spec_;
  std::int64_t length_;  // of a run
  std::int64_t pieces_;  // of a run
  int threads_;
  decltype(&baseline::sigmoid_bce) function_;
};

}  // namespace

std::unique_ptr<Kernel> make_sigmoid_bce(const SigmoidBce& spec) {
  check_preconditions(spec);
  return std::make_unique<SigmoidBceKernel>(spec);
}

}  // namespace gannet::kernels::cpu
