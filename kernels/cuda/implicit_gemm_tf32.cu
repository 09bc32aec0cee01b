// The variants that multiply fp32 on tensor cores, rounded to tf32.
#include "kernels/cuda/implicit_gemm.cuh"

namespace gannet::kernels::cuda {
namespace {

template <ProductForm Form, int BytesA, int BytesB, int M, int N, int WarpM, int WarpN, int Blocks>
using Config = ProductConfig<Form, ProductMath::tf32, BytesA, BytesB, M, N, WarpM, WarpN, 4, Blocks>;

template <ProductForm Form>
ProductKernel find(const ProductVariant& variant) {
  if (variant.access == ProductAccess::word) return prepare<Config<Form, 4, 4, 64, 64, 32, 32, 3>>();
  if constexpr (Form == ProductForm::wgrad) {
    if (variant.access == ProductAccess::mixed) return prepare<Config<Form, 16, 4, 64, 64, 32, 32, 3>>();
  }
  if constexpr (Form != ProductForm::transposed) {
    switch (variant.tile) {
      case ProductTile::large:
        return prepare<Config<Form, 16, 16, 128, 128, 64, 64, 2>>();
      case ProductTile::medium:
        return prepare<Config<Form, 16, 16, 128, 64, 64, 32, 3>>();
      case ProductTile::small:
        return prepare<Config<Form, 16, 16, 64, 64, 32, 32, 4>>();
    }
  }
  return {};
}

}  // namespace

ProductKernel find_tf32_kernel(const ProductVariant& variant) {
  return with_form(variant.form, [&]<ProductForm Form>() { return find<Form>(variant); });
}

}  // namespace gannet::kernels::cuda
