// What the threads of a block do together: sums in a fixed order, and being the last of several blocks.
#pragma once

#include <cstdint>

namespace gannet::kernels::cuda {

// The sum over each group of `width` neighbouring lanes (a power of two up to 32), in every lane. All lanes of the warp call.
template <typename T>
__device__ inline T sum_of_lanes(T value, int width = 32) {
  for (int distance = width / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, distance);
  return value;
}

// The sum over the block (whole warps) in thread 0; all threads call. May be called again at once.
template <typename T>
__device__ inline T sum_of_block(T value) {
  __shared__ T of_warp[32];
  value = sum_of_lanes(value);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x < 32) value = sum_of_lanes(threadIdx.x < blockDim.x / 32 ? of_warp[threadIdx.x] : T(0));
  __syncthreads();
  return value;
}

// True in all threads of the last of `blocks` blocks to come here; what the others have written to global memory before is
// visible to it. The counter is 0 again afterwards. All threads call.
__device__ inline bool last_of(unsigned int* counter, unsigned int blocks) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicInc(counter, blocks - 1) == blocks - 1;
  __syncthreads();
  if (last) __threadfence();
  return last;
}

}  // namespace gannet::kernels::cuda
