// In which tiles a product is computed, and how many blocks share each: what a model of the device takes for the fastest.
#pragma once

#include <array>
#include <optional>

#include "kernels/cuda/implicit_gemm.h"

namespace gannet::kernels::cuda {

// Extents of a tile, and of its block: warps, and how many blocks a multiprocessor holds.
struct TileTraits {
  int m, n, warps, resident;
};
TileTraits traits_of(ProductTile tile);

// How a product's operands are read.
ProductAccess access_of(const ProductSpec& spec);

// How many tiles a product has.
struct TileCounts {
  std::int64_t rows, columns, all;
};
TileCounts tiles_of(const ProductSpec& spec, ProductTile tile);

// Do all classes take as long?
bool alike(const ImplicitGemm& product);

// Tiles one after the other, each shared by as many blocks. clocks: of a block at the multiprocessor's full speed.
struct TileShare {
  std::int64_t tiles = 0;
  int splits = 1;
  double clocks = 0;
  std::int64_t blocks() const { return tiles * splits; }
};

struct ProductPlan {
  ProductTile tile = ProductTile::small;
  std::array<TileShare, 2> shares;  // the longer blocks first
};

ProductPlan plan_product(const ProductSpec& spec, const Device& device);

// Of two products in one launch; none where no kernel does both, or two launches are faster.
struct PairPlan {
  ProductPlan first, wgrad;
};
std::optional<PairPlan> plan_products(const ProductSpec& first, const ProductSpec& wgrad, const Device& device);

}  // namespace gannet::kernels::cuda
