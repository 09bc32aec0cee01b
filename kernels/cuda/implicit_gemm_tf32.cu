// The variants that multiply fp32 on tensor cores, rounded to tf32.
#include "kernels/cuda/implicit_gemm_pair_tiles.cuh"

namespace gannet::kernels::cuda {
namespace {

template <ProductForm Form, ProductAccess Access, int BytesA, int BytesB, int M, int N, int WarpM, int WarpN, int Stages,
          int Blocks>
using Config = ProductConfig<Form, ProductMath::tf32, Access, BytesA, BytesB, M, N, WarpM, WarpN, Stages, Blocks>;

template <ProductForm Form>
ProductKernel find(const ProductVariant& variant) {
  if (variant.access == ProductAccess::word) return prepare<Config<Form, ProductAccess::word, 4, 4, 64, 64, 32, 32, 4, 3>>();
  if constexpr (Form == ProductForm::wgrad) {
    if (variant.access == ProductAccess::mixed)
      return prepare<Config<Form, ProductAccess::mixed, 16, 4, 64, 64, 32, 32, 4, 3>>();
  }
  if constexpr (Form != ProductForm::transposed) {
    if (variant.access == ProductAccess::vector)
      return prepare<Config<Form, ProductAccess::vector, 16, 16, 64, 64, 32, 32, 4, 4>>();
    if (variant.access == ProductAccess::pairs) return find_pair_tile<ProductMath::tf32, Form>(variant.tile);
  }
  return {};
}

}  // namespace

ProductKernel find_tf32_kernel(const ProductVariant& variant) {
  return with_form(variant.form, [&]<ProductForm Form>() { return find<Form>(variant); });
}

}  // namespace gannet::kernels::cuda
