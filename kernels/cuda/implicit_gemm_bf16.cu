// The variants that multiply bf16 on tensor cores.
#include "kernels/cuda/implicit_gemm.cuh"

namespace gannet::kernels::cuda {
namespace {

template <ProductForm Form, ProductAccess Access, int BytesA, int BytesB, int M, int N, int WarpM, int WarpN, int Stages,
          int Blocks>
using Config = ProductConfig<Form, ProductMath::bf16, Access, BytesA, BytesB, M, N, WarpM, WarpN, Stages, Blocks>;
template <ProductForm Form, int M, int N, int Stages, int Blocks>
using Pairs = Config<Form, ProductAccess::pairs, 16, 16, M, N, 64, 64, Stages, Blocks>;

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
    switch (variant.tile) {
      case ProductTile::wide:
        return prepare<Pairs<Form, 256, 128, 4, 1>>();
      case ProductTile::large:
        return prepare<Pairs<Form, 128, 128, 4, 2>>();
      case ProductTile::tall:
        if constexpr (Form == ProductForm::wgrad) break;
        return prepare<Pairs<Form, 256, 64, 4, 2>>();
      case ProductTile::medium:
        return prepare<Pairs<Form, 128, 64, 3, 4>>();
      case ProductTile::small:
        break;
    }
  }
  return {};
}

}  // namespace

ProductKernel find_bf16_kernel(const ProductVariant& variant) {
  return with_form(variant.form, [&]<ProductForm Form>() { return find<Form>(variant); });
}

}  // namespace gannet::kernels::cuda
