// Which variant a product runs in, and its launch.
#include "kernels/cuda/implicit_gemm.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "kernels/check.h"
#include "kernels/cuda/device_array.h"

namespace gannet::kernels::cuda {
namespace {

struct TileTraits {
  int m, n, warps, resident;  // resident: blocks on a multiprocessor
};
TileTraits traits_of(ProductTile tile) {
  switch (tile) {
    case ProductTile::wide:
      return {256, 128, 8, 1};
    case ProductTile::large:
      return {128, 128, 4, 2};
    case ProductTile::tall:
      return {256, 64, 4, 2};
    case ProductTile::medium:
      return {128, 64, 2, 4};
    case ProductTile::small:
      break;
  }
  return {64, 64, 4, 4};
}

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Pieces of operands lie at multiples of what both contiguous extents can be divided by.
ProductAccess access_of(ProductForm form, ProductMath math, const ImplicitGemm& product) {
  int first = product.channels, second = product.channels;
  if (form == ProductForm::dgrad) second = product.n;
  if (form == ProductForm::wgrad) second = product.m;
  if (form == ProductForm::transposed) first = product.m, second = product.inner;
  const auto divisible = [&](int by) { return first % by == 0 && second % by == 0; };
  const bool bf16 = math == ProductMath::bf16;
  const int piece = bf16 ? 8 : 4;
  const int pair = bf16 ? 64 : 32;
  if (form != ProductForm::transposed && divisible(piece)) {
    const int inner = form == ProductForm::wgrad ? product.inner : product.channels;
    return math != ProductMath::f32 && inner % pair == 0 ? ProductAccess::pairs : ProductAccess::vector;
  }
  if (form == ProductForm::wgrad && product.m % piece == 0) return ProductAccess::mixed;
  if (bf16 && form == ProductForm::dgrad && product.channels % 4 == 0 && product.n % 8 == 0) return ProductAccess::half;
  if (bf16 && form == ProductForm::wgrad && product.m % 4 == 0 && product.channels % 8 == 0) return ProductAccess::half;
  if (bf16 && (form == ProductForm::transposed || !divisible(2))) return ProductAccess::element;
  return ProductAccess::word;
}

std::int64_t rows_of(ProductForm form, const ImplicitGemm& product) {
  if (form == ProductForm::wgrad || form == ProductForm::transposed) return product.m;
  int rows = 0;
  for (int i = 0; i < product.classes; ++i) rows = std::max(rows, product.pixel_class[i].rows);
  return rows;
}

std::int64_t iterations_of(ProductForm form, ProductMath math, const ImplicitGemm& product) {
  const std::int64_t iterations = ceil_divide(product.inner, math == ProductMath::bf16 ? 32 : 16);
  if (form != ProductForm::dgrad) return iterations;
  std::int64_t taps = 0;
  for (int i = 0; i < product.classes; ++i)
    taps = std::max<std::int64_t>(taps, product.pixel_class[i].taps_h * product.pixel_class[i].taps_w);
  return iterations * taps;
}

// Do all classes take as long?
bool alike(const ImplicitGemm& product) {
  const auto taps = [](const PixelClass& pixels) { return pixels.taps_h * pixels.taps_w; };
  return std::all_of(product.pixel_class, product.pixel_class + product.classes,
                     [&](const PixelClass& pixels) { return taps(pixels) == taps(product.pixel_class[0]); });
}

constexpr ProductTile small_tile[] = {ProductTile::small}, large_tile[] = {ProductTile::large},
                      float_tiles[] = {ProductTile::medium, ProductTile::small},
                      pair_tiles[] = {ProductTile::wide, ProductTile::large, ProductTile::tall, ProductTile::medium},
                      wgrad_tiles[] = {ProductTile::wide, ProductTile::large, ProductTile::medium};

struct Plan {
  ProductTile tile;
  int splits;
};

// A multiprocessor of an A100 has, a clock: 1024 products of bf16 (512 of tf32, 64 of fp32) and, when all want it, 30 bytes of
// the L2 cache, three times what memory gives; an H100 has a third more of each. A meeting through memory takes 1500 clocks,
// as does the way from a launch to the first product. Fewer than 8 warps can't hide their own waits.
struct DeviceModel {
  double products, l2_bytes = 30, latency = 1500;
};

struct Estimate {
  double clocks, bytes;  // bytes: between the multiprocessors and the L2 cache
  // A third of the bytes less is worth a tenth of the time: what a plan moves needlessly the device pays for in power.
  double cost() const { return clocks * std::pow(bytes, 0.3); }
};

// The clocks that a product takes: its blocks one after the other on the busiest multiprocessor, each limited by the tensor
// cores or by what its tiles bring from the L2 cache, where re-reads of tiles end. Splits add the meetings of a tile's blocks:
// a tile of sums out, and in again.
Estimate estimate(const DeviceModel& model, ProductForm form, ProductMath math, const ImplicitGemm& product, TileTraits tile,
                  int splits, int multiprocessors) {
  const std::int64_t rows = rows_of(form, product), iterations = iterations_of(form, math, product);
  const double processors = std::max(1, multiprocessors), depth = math == ProductMath::bf16 ? 32 : 16;
  const double element = math == ProductMath::bf16 ? 2 : 4, output = product.output_bf16 ? 2 : 4;
  const auto tiles = static_cast<double>(ceil_divide(rows, tile.m) * ceil_divide(product.n, tile.n) * product.classes);
  const double in_turn = std::ceil(tiles * splits / processors), sums = 4.0 * tile.m * tile.n;
  const double warps = std::min<double>(in_turn, tile.resident) * tile.warps;
  const double hidden = warps >= 8 ? 0.95 : warps >= 4 ? 0.7 : 0.45;
  const double multiply = tile.m * tile.n * depth / (model.products * hidden);
  const double operands = (tile.m + tile.n) * depth * element;
  const double work = std::max(multiply, operands / model.l2_bytes) * static_cast<double>(ceil_divide(iterations, splits));
  // What no other block on the multiprocessor hides: the way in and out of the last ones, or of each that is alone.
  const double alone = model.latency + tile.m * tile.n * output / model.l2_bytes;
  double clocks = in_turn * work + (tile.resident == 1 ? in_turn : 1) * alone;
  for (int span = 1; span < splits; span *= 2) clocks += model.latency + 2 * sums / ((span == 1 ? 1 : 2) * model.l2_bytes);
  return {clocks, tiles * (static_cast<double>(iterations) * operands + 2 * (splits - 1) * sums) +
                      output * static_cast<double>(product.elements)};
}

Plan plan(ProductForm form, ProductMath math, ProductAccess access, const ImplicitGemm& product, const Device& device) {
  const DeviceModel model{.products = math == ProductMath::bf16 ? 1024.0 : math == ProductMath::tf32 ? 512.0 : 64.0};
  const std::int64_t iterations = iterations_of(form, math, product);
  std::span<const ProductTile> tiles = small_tile;
  if (math == ProductMath::f32 && access == ProductAccess::vector) tiles = float_tiles;
  // Few iterations, whose beginning and end weigh most: the fewer warps the better.
  if (access == ProductAccess::half && rows_of(form, product) > 64) tiles = large_tile;
  if (access == ProductAccess::pairs) tiles = pair_tiles;
  if (access == ProductAccess::pairs && form == ProductForm::wgrad) tiles = wgrad_tiles;
  Plan best{tiles[0], 1};
  double least = std::numeric_limits<double>::infinity();
  for (const ProductTile tile : tiles) {
    for (int splits = 1; splits <= 64 && (splits == 1 || iterations / splits >= 8); ++splits) {
      const double cost = estimate(model, form, math, product, traits_of(tile), splits, device.multiprocessors).cost();
      if (cost < least) least = cost, best = {tile, splits};
    }
  }
  return best;
}

class Product final : public Kernel {
 public:
  Product(ProductForm form, ProductMath math, const ImplicitGemm& product, OperandOrder order, const Device& device)
      : product_(product), order_(order), stream_(device.stream) {
    const ProductAccess access = access_of(form, math, product);
    const Plan chosen = plan(form, math, access, product, device);
    const ProductVariant variant{form, math, access, chosen.tile};
    kernel_ = math == ProductMath::bf16   ? find_bf16_kernel(variant)
              : math == ProductMath::tf32 ? find_tf32_kernel(variant)
                                          : find_f32_kernel(variant);
    if (kernel_.function == nullptr) throw RuntimeError("there is no kernel for this form of product");
    const TileTraits extents = traits_of(chosen.tile);
    const std::int64_t row_tiles = ceil_divide(rows_of(form, product), extents.m),
                       column_tiles = ceil_divide(product.n, extents.n), tiles = row_tiles * column_tiles * product.classes;
    GANNET_CHECK(tiles * chosen.splits <= std::numeric_limits<int>::max(),
                 "[product] ({},{}) are more rows and columns than a launch can have", row_tiles * extents.m, product.n);
    const auto divider = [](std::int64_t by) { return Divider(static_cast<std::uint32_t>(by)); };
    product_.splits = chosen.splits;
    product_.tiles = divider(tiles);
    product_.together = divider(alike(product) ? product.classes : 1);
    product_.column_tiles = divider(column_tiles);
    product_.row_tiles = divider(row_tiles);
    blocks_ = static_cast<unsigned>(tiles * chosen.splits);
    if (chosen.splits == 1) return;
    workspace_bytes_ = sizeof(float) * static_cast<std::size_t>(tiles * ((chosen.splits + 1) / 2) * extents.m * extents.n);
    meetings_ = std::make_unique<DeviceArray<unsigned int>>(std::vector<unsigned int>(blocks_, 0), device);
    product_.meetings = meetings_->data();
  }

  std::size_t workspace_bytes() const override { return workspace_bytes_; }

  void run(const Arguments& arguments) override {
    ImplicitGemm product = product_;
    product.a = arguments.inputs[order_.a];
    product.b = arguments.inputs[order_.b];
    const void* const* last = arguments.inputs + 2;
    if (product.has_bias) product.bias = static_cast<const float*>(*last++);
    if (product.slope_of.kind != Activation::Kind::none) product.slope_of.activated = *last;
    product.c = arguments.outputs[0];
    product.partial = static_cast<float*>(arguments.workspace);
    void* parameters[] = {&product};
    GANNET_CUDA(cudaLaunchKernel(kernel_.function, dim3(blocks_), dim3(static_cast<unsigned>(kernel_.threads)), parameters,
                                 static_cast<std::size_t>(kernel_.shared_bytes), stream_));
  }

 private:
  ImplicitGemm product_;
  OperandOrder order_;
  cudaStream_t stream_;
  ProductKernel kernel_;
  unsigned blocks_ = 0;
  std::size_t workspace_bytes_ = 0;
  std::unique_ptr<DeviceArray<unsigned int>> meetings_;
};

}  // namespace

std::unique_ptr<Kernel> make_product(ProductForm form, ProductMath math, const ImplicitGemm& product, OperandOrder order,
                                     const Device& device) {
  if (can_implement_thin(form, product))
    return make_thin_product(form, math == ProductMath::bf16 ? DType::bf16 : DType::f32, product, order, device);
  return std::make_unique<Product>(form, math, product, order, device);
}

}  // namespace gannet::kernels::cuda
