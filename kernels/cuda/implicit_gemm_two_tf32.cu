// The kernels of two products that multiply fp32 on tensor cores, rounded to tf32.
#include "kernels/cuda/implicit_gemm_pair_tiles.cuh"

namespace gannet::kernels::cuda {

ProductKernel find_tf32_kernel(const ProductVariant& first, const ProductVariant& wgrad) {
  return find_tiles_of_two<ProductMath::tf32>(first, wgrad);
}

}  // namespace gannet::kernels::cuda
