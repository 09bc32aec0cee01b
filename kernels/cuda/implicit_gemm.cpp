// Launches of products: of one, or of two together.
#include "kernels/cuda/implicit_gemm.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/check.h"
#include "kernels/cuda/device_array.h"
#include "kernels/cuda/implicit_gemm_plan.h"

namespace gannet::kernels::cuda {
namespace {

Divider divider(std::int64_t by) { return Divider(static_cast<std::uint32_t>(by)); }

ProductKernel checked(const ProductKernel& kernel) {
  if (kernel.function == nullptr) throw RuntimeError("there is no kernel for this form of product");
  return kernel;
}

ProductKernel find_kernel(const ProductVariant& variant) {
  return checked(variant.math == ProductMath::bf16   ? find_bf16_kernel(variant)
                 : variant.math == ProductMath::tf32 ? find_tf32_kernel(variant)
                                                     : find_f32_kernel(variant));
}

ProductKernel find_kernel(const ProductVariant& first, const ProductVariant& wgrad) {
  return checked(first.math == ProductMath::bf16 ? find_bf16_kernel(first, wgrad) : find_tf32_kernel(first, wgrad));
}

ProductVariant variant_of(const ProductSpec& spec, const ProductPlan& plan) {
  return {spec.form, spec.math, access_of(spec), plan.tile};
}

// A product with its place in a launch: which blocks are its own, and where they leave their sums.
class Prepared {
 public:
  Prepared(const ProductSpec& spec, const ProductPlan& plan, const Device& device)
      : product_(spec.product), order_(spec.order), shares_(plan.shares) {
    const TileTraits extents = traits_of(plan.tile);
    const TileCounts tiles = tiles_of(spec, plan.tile);
    product_.together = divider(alike(spec.product) ? spec.product.classes : 1);
    product_.column_tiles = divider(tiles.columns);
    product_.row_tiles = divider(tiles.rows);
    std::int64_t first = 0, places = 0, meetings = 0;
    for (std::size_t i = 0; i < shares_.size(); ++i) {
      const TileShare& share = shares_[i];
      GANNET_CHECK(share.blocks() <= std::numeric_limits<int>::max(),
                   "[product] ({},{}) are more rows and columns than a launch can have", tiles.rows * extents.m,
                   spec.product.n);
      TileGroup& group = product_.groups[i];
      group.first_tile = static_cast<int>(first);
      first += share.tiles;
      if (share.tiles == 0) continue;
      group.blocks = static_cast<unsigned>(share.blocks());
      group.splits = share.splits;
      group.tiles = divider(share.tiles);
      if (share.splits == 1) continue;
      first_place_[i] = places * extents.m * extents.n;
      places += share.tiles * ((share.splits + 1) / 2);
      first_meeting_[i] = meetings;
      meetings += share.blocks();
    }
    workspace_bytes_ = sizeof(float) * static_cast<std::size_t>(places * extents.m * extents.n);
    if (meetings == 0) return;
    meetings_ =
        std::make_unique<DeviceArray<unsigned int>>(std::vector<unsigned int>(static_cast<std::size_t>(meetings), 0), device);
    for (std::size_t i = 0; i < shares_.size(); ++i) product_.groups[i].meetings = meetings_->data() + first_meeting_[i];
  }

  const std::array<TileShare, 2>& shares() const { return shares_; }
  std::size_t workspace_bytes() const { return workspace_bytes_; }

  // Gives a group its blocks, from `block` on; returns the block after them.
  unsigned place(std::size_t group, unsigned block) {
    product_.groups[group].first_block = block;
    return block + product_.groups[group].blocks;
  }

  ImplicitGemm with(const Arguments& arguments, void* output, void* workspace) const {
    ImplicitGemm product = product_;
    product.a = arguments.inputs[order_.a];
    product.b = arguments.inputs[order_.b];
    const void* const* last = arguments.inputs + 2;
    if (product.has_bias) product.bias = static_cast<const float*>(*last++);
    if (product.slope_of.kind != Activation::Kind::none) product.slope_of.activated = *last;
    product.c = output;
    for (std::size_t i = 0; i < shares_.size(); ++i)
      product.groups[i].partial = static_cast<float*>(workspace) + first_place_[i];
    return product;
  }

 private:
  ImplicitGemm product_;
  OperandOrder order_;
  std::array<TileShare, 2> shares_;
  std::array<std::int64_t, 2> first_place_{}, first_meeting_{};
  std::size_t workspace_bytes_ = 0;
  std::unique_ptr<DeviceArray<unsigned int>> meetings_;
};

void launch(const ProductKernel& kernel, unsigned blocks, void* parameters, cudaStream_t stream) {
  GANNET_CUDA(cudaLaunchKernel(kernel.function, dim3(blocks), dim3(static_cast<unsigned>(kernel.threads)), &parameters,
                               static_cast<std::size_t>(kernel.shared_bytes), stream));
}

class Product final : public Kernel {
 public:
  Product(const ProductSpec& spec, const ProductPlan& plan, const Device& device)
      : kernel_(find_kernel(variant_of(spec, plan))), product_(spec, plan, device), stream_(device.stream) {
    for (std::size_t group : {0, 1}) blocks_ = product_.place(group, blocks_);
  }

  std::size_t workspace_bytes() const override { return product_.workspace_bytes(); }

  void run(const Arguments& arguments) override {
    ImplicitGemm product = product_.with(arguments, arguments.outputs[0], arguments.workspace);
    launch(kernel_, blocks_, &product, stream_);
  }

 private:
  ProductKernel kernel_;
  Prepared product_;
  cudaStream_t stream_;
  unsigned blocks_ = 0;
};

class Products final : public Kernel {
 public:
  Products(const ProductSpec& first, const ProductSpec& wgrad, const PairPlan& plan, const Device& device)
      : kernel_(find_kernel(variant_of(first, plan.first), variant_of(wgrad, plan.wgrad))),
        products_{Prepared(first, plan.first, device), Prepared(wgrad, plan.wgrad, device)},
        stream_(device.stream) {
    // The longest blocks first.
    std::array<std::size_t, 4> order{0, 1, 2, 3};
    const auto clocks = [&](std::size_t i) { return products_[i / 2].shares()[i % 2].clocks; };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return clocks(a) > clocks(b); });
    for (const std::size_t i : order) blocks_ = products_[i / 2].place(i % 2, blocks_);
  }

  std::size_t workspace_bytes() const override { return products_[0].workspace_bytes() + products_[1].workspace_bytes(); }

  void run(const Arguments& arguments) override {
    void* const workspace = static_cast<char*>(arguments.workspace) + products_[0].workspace_bytes();
    ProductPair pair{products_[0].with(arguments, arguments.outputs[0], arguments.workspace),
                     products_[1].with(arguments, arguments.outputs[1], workspace)};
    launch(kernel_, blocks_, &pair, stream_);
  }

 private:
  ProductKernel kernel_;
  std::array<Prepared, 2> products_;
  cudaStream_t stream_;
  unsigned blocks_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> make_product(const ProductSpec& spec, const Device& device) {
  if (can_implement_thin(spec.form, spec.product))
    return make_thin_product(spec.form, spec.math == ProductMath::bf16 ? DType::bf16 : DType::f32, spec.product, spec.order,
                             device);
  return std::make_unique<Product>(spec, plan_product(spec, device), device);
}

std::unique_ptr<Kernel> make_products(const ProductSpec& first, const ProductSpec& wgrad, const Device& device) {
  const std::optional<PairPlan> plan = plan_products(first, wgrad, device);
  return plan ? std::make_unique<Products>(first, wgrad, *plan, device) : nullptr;
}

bool can_implement_products(const ProductSpec& first, const ProductSpec& wgrad, const Device& device) {
  return plan_products(first, wgrad, device).has_value();
}

}  // namespace gannet::kernels::cuda
