// Which variant a product runs in, and its launch.
#include "kernels/cuda/implicit_gemm.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "kernels/check.h"

namespace gannet::kernels::cuda {
namespace {

struct TileTraits {
  int m, n, warps, resident;  // resident: blocks on a multiprocessor
  double share_of_peak;       // of the tensor cores, when there are warps enough: what loads of operands leave
};
TileTraits traits_of(ProductTile tile) {
  switch (tile) {
    case ProductTile::wide:
      return {256, 128, 8, 1, 0.95};
    case ProductTile::large:
      return {128, 128, 4, 2, 0.9};
    case ProductTile::tall:
      return {256, 64, 4, 2, 0.87};
    case ProductTile::medium:
      return {128, 64, 2, 4, 0.83};
    case ProductTile::small:
      break;
  }
  return {64, 64, 4, 4, 0.6};
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

constexpr ProductTile small_tile[] = {ProductTile::small}, large_tile[] = {ProductTile::large},
                      float_tiles[] = {ProductTile::medium, ProductTile::small},
                      pair_tiles[] = {ProductTile::wide, ProductTile::large, ProductTile::tall, ProductTile::medium},
                      wgrad_tiles[] = {ProductTile::wide, ProductTile::large, ProductTile::medium};

struct Plan {
  ProductTile tile;
  int splits;
};

// The tile and the number of splits that a model of the device finds fastest, in clocks of a multiprocessor.
Plan plan(ProductForm form, ProductMath math, ProductAccess access, const ImplicitGemm& product, const Device& device) {
  const double processors = std::max(1, device.multiprocessors);
  const double products_per_clock = math == ProductMath::bf16 ? 1024 : math == ProductMath::tf32 ? 512 : 64;
  const double depth = math == ProductMath::bf16 ? 32 : 16, bytes_per_clock = 10;
  const double fill = 1200, second_launch = 3000;
  const std::int64_t iterations = iterations_of(form, math, product), rows = rows_of(form, product);
  Plan best{ProductTile::small, 1};
  double least = std::numeric_limits<double>::infinity();
  std::span<const ProductTile> tiles = small_tile;
  if (math == ProductMath::f32 && access == ProductAccess::vector) tiles = float_tiles;
  // Few iterations, whose beginning and end weigh most: the fewer warps the better.
  if (access == ProductAccess::half && rows > 64) tiles = large_tile;
  if (access == ProductAccess::pairs) tiles = pair_tiles;
  if (access == ProductAccess::pairs && form == ProductForm::wgrad) tiles = wgrad_tiles;
  for (const ProductTile tile : tiles) {
    const TileTraits traits = traits_of(tile);
    const auto blocks = static_cast<double>(ceil_divide(rows, traits.m) * ceil_divide(product.n, traits.n) * product.classes);
    for (int splits = 1; splits <= 64 && (splits == 1 || iterations / splits >= 8); ++splits) {
      const double in_turn = std::ceil(blocks * splits / processors);
      // Few warps can't hide their own waits.
      const double warps = std::min<double>(in_turn, traits.resident) * traits.warps;
      const double hidden = warps >= 8 ? 1 : warps >= 4 ? 0.7 : 0.45;
      const double work = traits.m * traits.n * depth * static_cast<double>(ceil_divide(iterations, splits));
      double clocks = fill + in_turn * work / (products_per_clock * traits.share_of_peak * hidden);
      if (splits > 1)
        clocks += second_launch + 8.0 * splits * static_cast<double>(product.elements) / (processors * bytes_per_clock);
      if (clocks < least) least = clocks, best = {tile, splits};
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
    product_.splits = chosen.splits;
    const TileTraits extents = traits_of(chosen.tile);
    grid_ =
        dim3(static_cast<unsigned>(ceil_divide(rows_of(form, product), extents.m)),
             static_cast<unsigned>(ceil_divide(product.n, extents.n)), static_cast<unsigned>(product.classes * chosen.splits));
    GANNET_CHECK(grid_.y <= 65535, "[product] {} columns are more than a launch can have", product.n);
  }

  std::size_t workspace_bytes() const override {
    return product_.splits == 1 ? 0 : sizeof(float) * static_cast<std::size_t>(product_.splits * product_.elements);
  }

  void run(const Arguments& arguments) override {
    ImplicitGemm product = product_;
    product.a = arguments.inputs[order_.a];
    product.b = arguments.inputs[order_.b];
    if (product.has_bias) product.bias = static_cast<const float*>(arguments.inputs[2]);
    product.c = arguments.outputs[0];
    product.partial = static_cast<float*>(arguments.workspace);
    void* parameters[] = {&product};
    GANNET_CUDA(cudaLaunchKernel(kernel_.function, grid_, dim3(static_cast<unsigned>(kernel_.threads)), parameters,
                                 static_cast<std::size_t>(kernel_.shared_bytes), stream_));
    if (product.splits > 1) launch_sum_of_splits(product, stream_);
  }

 private:
  ImplicitGemm product_;
  OperandOrder order_;
  cudaStream_t stream_;
  ProductKernel kernel_;
  dim3 grid_;
};

}  // namespace

std::unique_ptr<Kernel> make_product(ProductForm form, ProductMath math, const ImplicitGemm& product, OperandOrder order,
                                     const Device& device) {
  if (can_implement_thin(form, product))
    return make_thin_product(form, math == ProductMath::bf16 ? DType::bf16 : DType::f32, product, order, device);
  return std::make_unique<Product>(form, math, product, order, device);
}

}  // namespace gannet::kernels::cuda
