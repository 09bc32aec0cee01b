// Data movement. All that moves is as wide as it is stored, so a copy is one of bytes.
#include <cstring>

#include "kernels/reference/factories.h"

namespace gannet::kernels::reference {
namespace {

std::size_t stored_size(DType type) { return type == DType::i32 ? 4 : type == DType::u8 ? 1 : sizeof(double); }

class CopyKernel final : public Kernel {
 public:
  explicit CopyKernel(const Copy& spec) : spec_(spec), size_(stored_size(spec.output.type)) {}

  void run(const Arguments& arguments) override {
    const auto* input = static_cast<const std::byte*>(arguments.inputs[0]);
    auto* output = static_cast<std::byte*>(arguments.outputs[0]);
    std::memset(output, 0, static_cast<std::size_t>(spec_.output.elements()) * size_);
    for (std::int64_t e = 0; e < spec_.extent.elements(); ++e) {
      // Coordinates in the box, in output dimensions.
      Shape at = spec_.extent;
      std::int64_t rest = e;
      for (int d = at.rank() - 1; d >= 0; --d) {
        at[d] = rest % spec_.extent[d];
        rest /= spec_.extent[d];
      }
      Shape from = spec_.input_start, to = spec_.output_start;
      for (int d = 0; d < at.rank(); ++d) {
        to[d] += at[d];
        from[spec_.permutation[d]] += at[d];
      }
      std::memcpy(output + flat(to, spec_.output.shape) * size_, input + flat(from, spec_.input.shape) * size_, size_);
    }
  }

 private:
  static std::int64_t flat(const Shape& at, const Shape& shape) {
    std::int64_t index = 0;
    for (int d = 0; d < shape.rank(); ++d) index = index * shape[d] + at[d];
    return index;
  }

  Copy spec_;
  std::size_t size_;
};

class ConcatenateKernel final : public Kernel {
 public:
  explicit ConcatenateKernel(const Concatenate& spec) : spec_(spec), size_(stored_size(spec.output.type)) {
    for (int d = 0; d < spec.axis; ++d) outer_ *= spec.output.shape[d];
  }

  void run(const Arguments& arguments) override {
    auto* output = static_cast<std::byte*>(arguments.outputs[0]);
    for (std::int64_t o = 0; o < outer_; ++o) {
      for (std::size_t i = 0; i < spec_.inputs.size(); ++i) {
        const std::size_t run = static_cast<std::size_t>(spec_.inputs[i].elements() / outer_) * size_;
        std::memcpy(output, static_cast<const std::byte*>(arguments.inputs[i]) + static_cast<std::size_t>(o) * run, run);
        output += run;
      }
    }
  }

 private:
  Concatenate spec_;
  std::size_t size_;
  std::int64_t outer_ = 1;
};

}  // namespace

std::unique_ptr<Kernel> make(const Copy& spec) { return std::make_unique<CopyKernel>(spec); }
std::unique_ptr<Kernel> make(const Concatenate& spec) { return std::make_unique<ConcatenateKernel>(spec); }

}  // namespace gannet::kernels::reference
