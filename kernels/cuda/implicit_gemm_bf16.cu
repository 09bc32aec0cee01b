// The variants that multiply bf16 on tensor cores.
#include "kernels/cuda/implicit_gemm_pair_tiles.cuh"

namespace gannet::kernels::cuda {
namespace {

template <ProductForm Form, ProductAccess Access, int BytesA, int BytesB, int M, int N, int WarpM, int WarpN, int Stages,
          int Blocks>
using Config = ProductConfig<Form, ProductMath::bf16, Access, BytesA, BytesB, M, N, WarpM, WarpN, Stages, Blocks>;

template <ProductForm Form>
ProductKernel find(const ProductVariant& variant) {
  if (variant.access == ProductAccess::element)
    return prepare<Config<Form, ProductAccess::element, 2, 2, 64, 64, 32, 32, 4, 2>>();
  if (variant.access == ProductAccess::word) return prepare<Config<Form, ProductAccess::word, 4, 4, 64, 64, 32, 32, 4, 4>>();
  if constexpr (Form == ProductForm::wgrad) {
    if (variant.access == ProductAccess::mixed)
      return prepare<Config<Form, ProductAccess::mixed, 16, 2, 64, 64, 32, 32, 4, 3>>();
  }
  if constexpr (Form == ProductForm::dgrad || Form == ProductForm::wgrad) {
    if (variant.access == ProductAccess::half && variant.tile == ProductTile::large)
      return prepare<Config<Form, ProductAccess::half, 8, 16, 128, 128, 64, 64, 4, 2>>();
    if (variant.access == ProductAccess::half) return prepare<Config<Form, ProductAccess::half, 8, 16, 64, 64, 32, 32, 4, 4>>();
  }
  if constexpr (Form != ProductForm::transposed) {
    if (variant.access == ProductAccess::vector)
      return prepare<Config<Form, ProductAccess::vector, 16, 16, 64, 64, 32, 32, 4, 4>>();
    if (variant.access == ProductAccess::pairs) return find_pair_tile<ProductMath::bf16, Form>(variant.tile);
  }
  return {};
}

}  // namespace

ProductKernel find_bf16_kernel(const ProductVariant& variant) {
  return with_form(variant.form, [&]<ProductForm Form>() { return find<Form>(variant); });
}

}  // namespace gannet::kernels::cuda
