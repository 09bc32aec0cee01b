// How the blocks that share a tile, each with a part of the inner index, add up what they have: two by two, as in a binary
// tree. Of two that meet the first leaves its sums in memory and is done; the second adds them to its own, which stay in
// registers, and goes on to the next meeting. The tree is fixed and a + b is b + a, so that the sum does not depend on who
// comes when. Half as many places as splits are written and read, each thread 16 bytes next to its neighbour's.
#pragma once

#include "kernels/cuda/implicit_gemm_products.cuh"

namespace gannet::kernels::cuda {

// What has been written before a word came to have this value is visible after.
__device__ __forceinline__ unsigned int load_acquire(const unsigned int* from) {
  unsigned int value;
  asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}

// True in the block that ends with the whole sum. All threads call; `word` is in shared memory.
template <typename Config, typename Product>
__device__ __forceinline__ bool meet_splits(const TileGroup& group, Product& warp, unsigned int* word, int tile, int split) {
  constexpr std::int64_t size = Config::m * Config::n;
  unsigned int* meetings = group.meetings + static_cast<std::int64_t>(tile) * group.splits;
  // This thread's part of the place of splits first and first + 1.
  const auto place = [&](int first) {
    return group.partial + (static_cast<std::int64_t>(tile) * ((group.splits + 1) / 2) + first / 2) * size + threadIdx.x * 4;
  };
#pragma unroll 1
  for (int span = 1; span < group.splits; span *= 2) {
    // The splits mine … mine + span - 1 have been added up here, those of `other` are or will be elsewhere.
    const int mine = split & -span, other = mine ^ span;
    if (other >= group.splits) continue;
    unsigned int* meeting = meetings + (mine | span);
    if (threadIdx.x == 0) *word = atomicAdd(meeting, 1u);
    __syncthreads();
    const unsigned int arrived = *word;
    if (arrived == 0) {
      // The place of the first two of `mine`, which nobody needs any more.
      float* to = place(mine);
      warp.for_fours([&](int i, float a, float b, float c, float d) {
        __stcg(reinterpret_cast<float4*>(to + i * Config::threads * 4), make_float4(a, b, c, d));
      });
      __threadfence();
      __syncthreads();
      if (threadIdx.x == 0) atomicAdd(meeting, 1u);
      return false;
    }
    if (threadIdx.x == 0) {
      // 1: the other block is just writing. It is past its last wait.
      while (arrived == 1 && load_acquire(meeting) != 3) {
      }
      atomicExch(meeting, 0u);
    }
    __threadfence();
    __syncthreads();
    __threadfence();
    const float* from = place(other);
    warp.for_fours([&](int i, float& a, float& b, float& c, float& d) {
      const float4 v = __ldcg(reinterpret_cast<const float4*>(from + i * Config::threads * 4));
      a += v.x, b += v.y, c += v.z, d += v.w;
    });
  }
  return true;
}

}  // namespace gannet::kernels::cuda
