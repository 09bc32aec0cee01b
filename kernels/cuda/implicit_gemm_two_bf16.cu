// The kernels of two products that multiply bf16 on tensor cores.
#include "kernels/cuda/implicit_gemm_pair_tiles.cuh"

namespace gannet::kernels::cuda {

ProductKernel find_bf16_kernel(const ProductVariant& first, const ProductVariant& wgrad) {
  return find_tiles_of_two<ProductMath::bf16>(first, wgrad);
}

}  // namespace gannet::kernels::cuda
