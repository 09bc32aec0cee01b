#include "kernels/cpu/widened.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "kernels/cpu/factories.h"
#include "kernels/operands.h"

namespace gannet::kernels::cpu {
namespace {

std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

TensorDesc in_f32(TensorDesc desc) {
  if (desc.type == DType::bf16) desc.type = DType::f32;
  return desc;
}

std::unique_ptr<Kernel> make_conversion(const TensorDesc& from, const TensorDesc& to) {
  std::vector<int> identity(from.shape.rank());
  std::iota(identity.begin(), identity.end(), 0);
  Shape start = from.shape;
  for (int d = 0; d < start.rank(); ++d) start[d] = 0;
  return make_copy({from, to, identity, start, start, from.shape});
}

class WidenedKernel final : public Kernel {
 public:
  WidenedKernel(const Operands& operands, std::unique_ptr<Kernel> wide) : wide_(std::move(wide)) {
    for (const TensorDesc& input : operands.inputs) inputs_.push_back(conversion(input, in_f32(input), input));
    const TensorDesc& output = operands.outputs[0];
    output_ = conversion(in_f32(output), output, output);
  }

  std::size_t workspace_bytes() const override { return buffers_ + std::max(conversions_, wide_->workspace_bytes()); }
  Reorders reorders() const override { return wide_->reorders(); }

  void run(const Arguments& arguments) override {
    auto* const workspace = static_cast<std::byte*>(arguments.workspace);
    void* const scratch = workspace + buffers_;
    std::array<const void*, 3> inputs{};
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      inputs[i] = arguments.inputs[i];
      if (!inputs_[i].kernel) continue;
      void* wide = workspace + inputs_[i].offset;
      inputs_[i].kernel->run({&inputs[i], &wide, scratch});
      inputs[i] = wide;
    }
    void* result = output_.kernel ? workspace + output_.offset : arguments.outputs[0];
    wide_->run({inputs.data(), &result, scratch});
    if (!output_.kernel) return;
    const void* wide = result;
    output_.kernel->run({&wide, arguments.outputs, scratch});
  }

 private:
  struct Conversion {
    std::unique_ptr<Kernel> kernel;  // null where the operand is f32 already
    std::size_t offset = 0;          // of the f32 copy in the workspace
  };

  Conversion conversion(const TensorDesc& from, const TensorDesc& to, const TensorDesc& operand) {
    if (from == to) return {};
    Conversion result{make_conversion(from, to), buffers_};
    buffers_ += aligned(in_f32(operand).bytes());
    conversions_ = std::max(conversions_, result.kernel->workspace_bytes());
    return result;
  }

  std::unique_ptr<Kernel> wide_;
  std::vector<Conversion> inputs_;
  Conversion output_;
  std::size_t buffers_ = 0, conversions_ = 0;
};

}  // namespace

bool has_bf16(const KernelSpec& spec) {
  const Operands operands = operands_of(spec);
  const auto is_bf16 = [](const TensorDesc& desc) { return desc.type == DType::bf16; };
  return std::any_of(operands.inputs.begin(), operands.inputs.end(), is_bf16) ||
         std::any_of(operands.outputs.begin(), operands.outputs.end(), is_bf16);
}

std::unique_ptr<Kernel> make_widened(const Convolution& spec) {
  Convolution wide = spec;
  for (TensorDesc* desc : {&wide.x, &wide.w, &wide.y}) *desc = in_f32(*desc);
  return std::make_unique<WidenedKernel>(operands_of(spec), make_convolution(wide));
}

std::unique_ptr<Kernel> make_widened(const Matmul& spec) {
  Matmul wide = spec;
  for (TensorDesc* desc : {&wide.a, &wide.b, &wide.c}) *desc = in_f32(*desc);
  return std::make_unique<WidenedKernel>(operands_of(spec), make_matmul(wide));
}

}  // namespace gannet::kernels::cpu
