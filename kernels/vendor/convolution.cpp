// Convolutions by cuDNN; those that are products of matrices (pictures of y are one pixel, and filters as large as those of x)
// by cuBLASLt.
#include <utility>

#include "kernels/cuda/factories.h"
#include "kernels/operands.h"
#include "kernels/slope_of.h"
#include "kernels/vendor/composed.h"
#include "kernels/vendor/factories.h"
#include "kernels/vendor/plan.h"

namespace gannet::kernels::vendor {
namespace {

using namespace cudnn;

class ConvolutionKernel final : public Kernel {
 public:
  ConvolutionKernel(ConvolutionKind kind, Plan plan, const Libraries& libraries)
      : libraries_(libraries), plan_(std::move(plan)) {
    switch (kind) {
      case ConvolutionKind::fprop:
        ids_ = {id_x, id_w, id_y};
        break;
      case ConvolutionKind::dgrad:
        ids_ = {id_y, id_w, id_x};
        break;
      case ConvolutionKind::wgrad:
        ids_ = {id_x, id_y, id_w};
        break;
    }
  }

  std::size_t workspace_bytes() const override { return with_alignment(plan_.workspace_bytes); }

  // cuDNN makes a small object of the host's memory in each call for the pointers.
  void run(const Arguments& arguments) override {
    const std::array<const void*, 3> data{arguments.inputs[0], arguments.inputs[1], arguments.outputs[0]};
    Descriptor pointers(libraries_.cudnn, Kind::pointers);
    pointers.set(Attribute::pointers_ids, Type::int64, std::span<const std::int64_t>(ids_))
        .set(Attribute::pointers_data, Type::pointer, std::span<const void* const>(data))
        .set(Attribute::pointers_workspace, Type::pointer, aligned_workspace(arguments.workspace))
        .finalize();
    GANNET_CUDNN(libraries_.cudnn, execute(libraries_.cudnn_handle, plan_.plan.raw(), pointers.raw()));
  }

 private:
  const Libraries& libraries_;
  Plan plan_;
  std::array<std::int64_t, 3> ids_{};
};

// Without bias, activation and slope.
std::unique_ptr<Kernel> make_plain(const Convolution& spec, const Libraries& libraries) {
  auto plan = plan_convolution(libraries.cudnn, {libraries.cudnn_handle, nullptr}, spec, libraries.device.tf32);
  if (!plan) return nullptr;
  const bool widened = plan->widened;
  auto kernel = std::make_unique<ConvolutionKernel>(spec.kind, std::move(*plan), libraries);
  if (!widened) return kernel;
  return after_widening(operands_of(spec).inputs, std::move(kernel), libraries);
}

bool is_product(const Convolution& spec) {
  return spec.y.shape[1] == 1 && spec.y.shape[2] == 1 && spec.pad == 0 && spec.x.shape[1] == spec.w.shape[1] &&
         spec.x.shape[2] == spec.w.shape[2];
}

// wgrad's inputs are the other way round: y^T x, not x^T y.
Matmul as_product(const Convolution& spec) {
  const std::int64_t samples = spec.x.shape[0], filters = spec.w.shape[0], vector = spec.x.elements() / samples;
  const TensorDesc x{spec.x.type, {samples, vector}}, w{spec.w.type, {filters, vector}}, y{spec.y.type, {samples, filters}};
  Matmul product;
  switch (spec.kind) {
    case ConvolutionKind::fprop:
      product.a = x, product.b = w, product.c = y, product.transpose_b = true;
      break;
    case ConvolutionKind::dgrad:
      product.a = y, product.b = w, product.c = x;
      break;
    case ConvolutionKind::wgrad:
      product.a = y, product.b = x, product.c = w, product.transpose_a = true;
      break;
  }
  return product;
}

class Swapped final : public Kernel {
 public:
  explicit Swapped(std::unique_ptr<Kernel> product) : product_(std::move(product)) {}
  std::size_t workspace_bytes() const override { return product_->workspace_bytes(); }
  void run(const Arguments& arguments) override {
    const void* const inputs[] = {arguments.inputs[1], arguments.inputs[0]};
    product_->run({inputs, arguments.outputs, arguments.workspace});
  }

 private:
  std::unique_ptr<Kernel> product_;
};

}  // namespace

std::unique_ptr<Kernel> make_convolution(const Convolution& spec, const Libraries& libraries) {
  if (spec.slope_of.kind != Activation::Kind::none) {
    Convolution first = spec;
    first.slope_of = {};
    std::unique_ptr<Kernel> product = make_convolution(first, libraries);
    if (product == nullptr) return nullptr;
    return then_slope(std::move(product), cuda::make_pointwise(slope_chain(spec), libraries.device));
  }
  const Ending ending{spec.bias, spec.activation};
  Convolution plain = spec;
  plain.bias = false, plain.activation = {};
  TensorDesc& output = spec.kind == ConvolutionKind::fprop ? plain.y : spec.kind == ConvolutionKind::dgrad ? plain.x : plain.w;
  const TensorDesc given = output;
  output = before(ending, given);
  std::unique_ptr<Kernel> product =
      is_product(plain) ? make_matmul(as_product(plain), libraries) : make_plain(plain, libraries);
  if (product != nullptr && is_product(plain) && spec.kind == ConvolutionKind::wgrad)
    product = std::make_unique<Swapped>(std::move(product));
  return then(std::move(product), ending, given, libraries);
}

}  // namespace gannet::kernels::vendor
