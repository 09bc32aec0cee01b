// The tiles of products on tensor cores whose inner index comes in pairs, with 64x64 a warp, and their kernels.
#pragma once

#include "kernels/cuda/implicit_gemm.cuh"

namespace gannet::kernels::cuda {

template <ProductMath Math, ProductForm Form, ProductTile Tile>
struct PairTileOf;
template <ProductMath Math, ProductForm Form, int M, int N, int Stages, int Blocks>
using PairConfig = ProductConfig<Form, Math, ProductAccess::pairs, 16, 16, M, N, 64, 64, Stages, Blocks>;
template <ProductMath Math, ProductForm Form>
struct PairTileOf<Math, Form, ProductTile::wide> {
  using Config = PairConfig<Math, Form, 256, 128, 4, 1>;
};
template <ProductMath Math, ProductForm Form>
struct PairTileOf<Math, Form, ProductTile::large> {
  using Config = PairConfig<Math, Form, 128, 128, 4, 2>;
};
template <ProductMath Math, ProductForm Form>
struct PairTileOf<Math, Form, ProductTile::tall> {
  using Config = PairConfig<Math, Form, 256, 64, 4, 2>;
};
template <ProductMath Math, ProductForm Form>
struct PairTileOf<Math, Form, ProductTile::medium> {
  using Config = PairConfig<Math, Form, 128, 64, 3, 4>;
};
template <ProductMath Math, ProductForm Form, ProductTile Tile>
using PairTile = typename PairTileOf<Math, Form, Tile>::Config;

template <ProductMath Math, ProductForm Form>
ProductKernel find_pair_tile(ProductTile tile) {
  switch (tile) {
    case ProductTile::wide:
      return prepare<PairTile<Math, Form, ProductTile::wide>>();
    case ProductTile::large:
      return prepare<PairTile<Math, Form, ProductTile::large>>();
    case ProductTile::tall:
      if constexpr (Form == ProductForm::wgrad) break;
      return prepare<PairTile<Math, Form, ProductTile::tall>>();
    case ProductTile::medium:
      return prepare<PairTile<Math, Form, ProductTile::medium>>();
    case ProductTile::small:
      break;
  }
  return {};
}

// fprop or dgrad with wgrad, where both have blocks of as many threads: wide tiles of both, or large or tall and large ones.
template <ProductMath Math, ProductForm Form>
ProductKernel find_tiles_of_two(ProductTile first, ProductTile wgrad) {
  using enum ProductTile;
  constexpr ProductForm second = ProductForm::wgrad;
  if (first == wide && wgrad == wide) return prepare<PairTile<Math, Form, wide>, PairTile<Math, second, wide>>();
  if (first == large && wgrad == large) return prepare<PairTile<Math, Form, large>, PairTile<Math, second, large>>();
  if (first == tall && wgrad == large) return prepare<PairTile<Math, Form, tall>, PairTile<Math, second, large>>();
  return {};
}

template <ProductMath Math>
ProductKernel find_tiles_of_two(const ProductVariant& first, const ProductVariant& wgrad) {
  if (first.access != ProductAccess::pairs || wgrad.access != ProductAccess::pairs) return {};
  if (wgrad.form != ProductForm::wgrad) return {};
  if (first.form == ProductForm::fprop) return find_tiles_of_two<Math, ProductForm::fprop>(first.tile, wgrad.tile);
  if (first.form == ProductForm::dgrad) return find_tiles_of_two<Math, ProductForm::dgrad>(first.tile, wgrad.tile);
  return {};
}

}  // namespace gannet::kernels::cuda
