// Products of matrices: convolutions of pictures of one pixel.
#include "kernels/cuda/factories.h"
#include "kernels/cuda/implicit_gemm.h"

namespace gannet::kernels::cuda {

std::unique_ptr<Kernel> make_matmul(const Matmul& spec, const Device& device) {
  ImplicitGemm product;
  product.m = static_cast<int>(spec.c.shape[0]);
  product.n = static_cast<int>(spec.c.shape[1]);
  product.inner = static_cast<int>(spec.a.shape[spec.transpose_a ? 0 : 1]);
  product.elements = spec.c.elements();
  product.has_bias = spec.bias;
  product.columns_per_bias = Divider(static_cast<std::uint32_t>(product.n));
  product.activation = spec.activation.kind;
  product.slope = spec.activation.slope;
  product.output_bf16 = spec.c.type == DType::bf16;
  product.a_pitch = static_cast<int>(spec.a.shape[1]);
  product.b_pitch = static_cast<int>(spec.b.shape[1]);
  // The picture is the operand whose rows are gathered: a, or b where only a is transposed.
  const bool only_a = spec.transpose_a && !spec.transpose_b;
  product.channels = only_a ? product.n : product.inner;
  product.pixel_class[0].rows = only_a ? product.inner : product.m;
  const ProductForm form = spec.transpose_a   ? spec.transpose_b ? ProductForm::transposed : ProductForm::wgrad
                           : spec.transpose_b ? ProductForm::fprop
                                              : ProductForm::dgrad;
  const ProductMath math = spec.a.type == DType::bf16 ? ProductMath::bf16 : device.tf32 ? ProductMath::tf32 : ProductMath::f32;
  return make_product({form, math, product, {}}, device);
}

}  // namespace gannet::kernels::cuda
