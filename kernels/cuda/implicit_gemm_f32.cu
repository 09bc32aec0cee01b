// The variants that multiply fp32 on CUDA cores.
#include "kernels/cuda/implicit_gemm.cuh"

namespace gannet::kernels::cuda {
namespace {

template <ProductForm Form, ProductAccess Access, int BytesA, int BytesB, int M, int N, int WarpM, int WarpN, int Blocks>
using Config = ProductConfig<Form, ProductMath::f32, Access, BytesA, BytesB, M, N, WarpM, WarpN, 4, Blocks>;

template <ProductForm Form>
ProductKernel find(const ProductVariant& variant) {
  if (variant.access == ProductAccess::word) return prepare<Config<Form, ProductAccess::word, 4, 4, 64, 64, 32, 32, 2>>();
  if constexpr (Form == ProductForm::wgrad) {
    if (variant.access == ProductAccess::mixed) return prepare<Config<Form, ProductAccess::mixed, 16, 4, 64, 64, 32, 32, 3>>();
  }
  if constexpr (Form != ProductForm::transposed) {
    if (variant.tile == ProductTile::small) return prepare<Config<Form, ProductAccess::vector, 16, 16, 64, 64, 32, 32, 3>>();
    return prepare<Config<Form, ProductAccess::vector, 16, 16, 128, 64, 64, 32, 2>>();
  }
  return {};
}

}  // namespace

ProductKernel find_f32_kernel(const ProductVariant& variant) {
  return with_form(variant.form, [&]<ProductForm Form>() { return find<Form>(variant); });
}

}  // namespace gannet::kernels::cuda
