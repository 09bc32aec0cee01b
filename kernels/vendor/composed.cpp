#include "kernels/vendor/composed.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "kernels/cuda/factories.h"

namespace gannet::kernels::vendor {
namespace {

std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

void* at(void* memory, std::size_t offset) { return static_cast<std::byte*>(memory) + offset; }

class Ended final : public Kernel {
 public:
  Ended(std::unique_ptr<Kernel> product, std::unique_ptr<Kernel> chain, std::size_t bytes_between)
      : product_(std::move(product)), chain_(std::move(chain)), between_(aligned(bytes_between)) {}

  std::size_t workspace_bytes() const override {
    return between_ + std::max(product_->workspace_bytes(), chain_->workspace_bytes());
  }

  void run(const Arguments& arguments) override {
    void* const rest = at(arguments.workspace, between_);
    void* between[] = {between_ == 0 ? arguments.outputs[0] : arguments.workspace};
    product_->run({arguments.inputs, between, rest});
    const void* const inputs[] = {between[0], arguments.inputs[2]};
    chain_->run({inputs, arguments.outputs, rest});
  }

 private:
  std::unique_ptr<Kernel> product_, chain_;
  std::size_t between_;  // 0: the chain works in place
};

// Without a bias the kernel has two inputs only.
class Bent final : public Kernel {
 public:
  Bent(std::unique_ptr<Kernel> product, std::unique_ptr<Kernel> chain)
      : product_(std::move(product)), chain_(std::move(chain)) {}

  std::size_t workspace_bytes() const override { return std::max(product_->workspace_bytes(), chain_->workspace_bytes()); }

  void run(const Arguments& arguments) override {
    product_->run(arguments);
    const void* const inputs[] = {arguments.outputs[0]};
    chain_->run({inputs, arguments.outputs, arguments.workspace});
  }

 private:
  std::unique_ptr<Kernel> product_, chain_;
};

class Widened final : public Kernel {
 public:
  Widened(const std::vector<TensorDesc>& inputs, std::unique_ptr<Kernel> product, const cuda::Device& device)
      : product_(std::move(product)) {
    for (int i = 0; i < 2; ++i) {
      const TensorDesc& from = inputs[static_cast<std::size_t>(i)];
      const TensorDesc to{DType::f32, from.shape, from.layout};
      casts_[i] = cuda::make_pointwise({from.shape, from.layout, {from}, {}, {to}, {0}}, device);
      bytes_[i] = aligned(to.bytes());
    }
  }

  std::size_t workspace_bytes() const override { return bytes_[0] + bytes_[1] + product_->workspace_bytes(); }

  void run(const Arguments& arguments) override {
    void* wide[] = {arguments.workspace, at(arguments.workspace, bytes_[0])};
    for (int i = 0; i < 2; ++i) casts_[i]->run({arguments.inputs + i, wide + i, nullptr});
    const void* const inputs[] = {wide[0], wide[1]};
    product_->run({inputs, arguments.outputs, at(arguments.workspace, bytes_[0] + bytes_[1])});
  }

 private:
  std::unique_ptr<Kernel> casts_[2], product_;
  std::size_t bytes_[2] = {};
};

}  // namespace

TensorDesc before(const Ending& ending, const TensorDesc& output) {
  TensorDesc result = output;
  if (ending.bias) result.type = DType::f32;
  return result;
}

std::unique_ptr<Kernel> then(std::unique_ptr<Kernel> product, const Ending& ending, const TensorDesc& output,
                             const Libraries& libraries) {
  if (!ending.any() || product == nullptr) return product;
  const TensorDesc between = before(ending, output);
  Pointwise chain{output.shape, output.layout, {between}, {}, {output}, {}};
  int last = 0;
  if (ending.bias) {
    Shape shape = output.shape;
    for (int axis = 0; axis + 1 < shape.rank(); ++axis) shape[axis] = 1;
    chain.inputs.push_back({DType::f32, shape, Layout::plain});
    chain.instructions.push_back({PointwiseOp::add, 0, 1, 0, 0});
    last = 2;
  }
  switch (ending.activation.kind) {
    case Activation::Kind::none:
      break;
    case Activation::Kind::leaky_relu:
      chain.instructions.push_back({PointwiseOp::leaky_relu, last, 0, ending.activation.slope, 0});
      break;
    case Activation::Kind::tanh:
      chain.instructions.push_back({PointwiseOp::tanh, last, 0, 0, 0});
      break;
    case Activation::Kind::sigmoid:
      chain.instructions.push_back({PointwiseOp::sigmoid, last, 0, 0, 0});
      break;
  }
  chain.results = {static_cast<int>(chain.inputs.size() + chain.instructions.size()) - 1};
  std::unique_ptr<Kernel> pass = cuda::make_pointwise(chain, libraries.device);
  if (!ending.bias) return std::make_unique<Bent>(std::move(product), std::move(pass));
  return std::make_unique<Ended>(std::move(product), std::move(pass), between.type == output.type ? 0 : between.bytes());
}

std::unique_ptr<Kernel> after_widening(const std::vector<TensorDesc>& inputs, std::unique_ptr<Kernel> product,
                                       const Libraries& libraries) {
  if (product == nullptr) return nullptr;
  return std::make_unique<Widened>(inputs, std::move(product), libraries.device);
}

}  // namespace gannet::kernels::vendor
