#include "planted.h"

// racecheck: threads of one block and their shared memory.
namespace planted {
namespace {

template <void (*kernel)(int*, bool)>
__global__ void launch(int* y, bool fixed) {
  kernel(y, fixed);
}

template <void (*kernel)(int*, bool), int threads>
void run(bool fixed) {
  int* y = device_array<int>(1024);
  launch<kernel><<<1, threads>>>(y, fixed);
  cudaDeviceSynchronize();
  cudaFree(y);
}

// A warp reads what another wrote.
__device__ void read_after_write(int* y, bool fixed) {
  __shared__ int tile[128];
  tile[threadIdx.x] = threadIdx.x;
  if (fixed) __syncthreads();
  y[threadIdx.x] = tile[127 - threadIdx.x];
}

// A warp overwrites what another may still read.
__device__ void write_after_read(int* y, bool fixed) {
  __shared__ int tile[128];
  tile[threadIdx.x] = threadIdx.x;
  __syncthreads();
  y[threadIdx.x] = tile[127 - threadIdx.x];
  if (fixed) __syncthreads();
  tile[threadIdx.x] = 0;
}

__device__ void write_after_write(int* y, bool fixed) {
  __shared__ int last;
  if (threadIdx.x % 32 == 0 && (!fixed || threadIdx.x == 0)) last = threadIdx.x;
  __syncthreads();
  y[threadIdx.x] = last;
}

__device__ void two_lanes_write(int* y, bool fixed) {
  __shared__ int tile[32];
  tile[fixed ? threadIdx.x : threadIdx.x / 2] = threadIdx.x;
  if (fixed) __syncwarp();
  if (fixed) y[threadIdx.x] = tile[31 - threadIdx.x];
}

__device__ void missing_syncwarp(int* y, bool fixed) {
  __shared__ int tile[32];
  tile[threadIdx.x] = threadIdx.x;
  if (fixed) __syncwarp();
  y[threadIdx.x] = tile[31 - threadIdx.x];
}

// The last steps of a reduction within a warp, as was done before warps could diverge.
__device__ void implicit_warp_reduction(int* y, bool fixed) {
  __shared__ int tile[64];
  tile[threadIdx.x] = threadIdx.x;
  tile[threadIdx.x + 32] = threadIdx.x;
  __syncwarp();
#pragma unroll 1
  for (int half = 32; half > 0; half /= 2) {
    const int other = tile[threadIdx.x + half];
    if (fixed) __syncwarp();
    if (static_cast<int>(threadIdx.x) < half) tile[threadIdx.x] = tile[threadIdx.x] + other;
    if (fixed) __syncwarp();
  }
  y[threadIdx.x] = tile[0];
}

// Only some of the lanes that share the data meet.
__device__ void partial_syncwarp(int* y, bool fixed) {
  __shared__ int tile[32];
  tile[threadIdx.x] = threadIdx.x;
  __syncwarp(fixed ? 0xffffffffu : threadIdx.x < 16 ? 0xffffu : 0xffff0000u);
  y[threadIdx.x] = tile[31 - threadIdx.x];
}

__device__ void plain_beside_atomic(int* y, bool fixed) {
  __shared__ int sum;
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  atomicAdd(&sum, 1);
  if (fixed) __syncthreads();
  y[threadIdx.x] = sum;
}

__device__ void unprotected_counter(int* y, bool fixed) {
  __shared__ int count;
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    if (fixed)
      atomicAdd(&count, 1);
    else
      count = count + 1;
  }
  __syncthreads();
  y[threadIdx.x] = count;
}

// A double-buffered loop with one barrier too few.
__device__ void one_buffer(int* y, bool fixed) {
  __shared__ int tile[2][64];
  int sum = 0;
  for (int n = 0; n < 4; ++n) {
    tile[fixed ? n & 1 : 0][threadIdx.x] = n + threadIdx.x;
    __syncthreads();
    sum += tile[fixed ? n & 1 : 0][63 - threadIdx.x];
  }
  y[threadIdx.x] = sum;
}

// Both halves of the block use the same named barrier's number for different data.
__device__ void wrong_named_barrier(int* y, bool fixed) {
  __shared__ int tile[128];
  const int half = static_cast<int>(threadIdx.x) / 64;
  tile[threadIdx.x] = threadIdx.x;
  asm volatile("bar.sync %0, 64;" ::"r"(1 + half) : "memory");
  y[threadIdx.x] = tile[fixed ? half * 64 + 63 - threadIdx.x % 64 : 127 - threadIdx.x];
}

__device__ void neighbours_bytes(int* y, bool fixed) {
  __shared__ short tile[128];
  tile[threadIdx.x] = static_cast<short>(threadIdx.x);
  __syncthreads();
  const int place = fixed ? threadIdx.x : threadIdx.x ^ 64;
  const short mine = tile[place];
  tile[threadIdx.x] = static_cast<short>(mine + 1);
  y[threadIdx.x] = mine;
}

__device__ void copy_not_waited(int* y, bool fixed) {
  __shared__ alignas(16) int tile[128];
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(tile + 4 * threadIdx.x));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(to), "l"(y + 4 * threadIdx.x) : "memory");
  asm volatile("cp.async.commit_group;" ::: "memory");
  if (fixed) asm volatile("cp.async.wait_group 0;" ::: "memory");
  __syncthreads();
  y[512 + threadIdx.x] = tile[127 - threadIdx.x];
}

// One group too many is left under way.
__device__ void copy_waited_too_little(int* y, bool fixed) {
  __shared__ alignas(16) int tile[2][128];
  for (int n = 0; n < 2; ++n) {
    const auto to = static_cast<unsigned>(__cvta_generic_to_shared(tile[n] + 4 * threadIdx.x));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(to), "l"(y + 4 * threadIdx.x) : "memory");
    asm volatile("cp.async.commit_group;" ::: "memory");
  }
  if (fixed)
    asm volatile("cp.async.wait_group 0;" ::: "memory");
  else
    asm volatile("cp.async.wait_group 1;" ::: "memory");
  __syncthreads();
  y[512 + threadIdx.x] = tile[1][127 - threadIdx.x];
}

// The thread's own copies have arrived; those of the others need a barrier.
__device__ void copy_without_barrier(int* y, bool fixed) {
  __shared__ alignas(16) int tile[256];
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(tile + 4 * threadIdx.x));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(to), "l"(y + 4 * threadIdx.x) : "memory");
  asm volatile("cp.async.wait_all;" ::: "memory");
  if (fixed) __syncthreads();
  y[512 + threadIdx.x] = tile[255 - threadIdx.x];
}

__device__ void same_value(int* y, bool fixed) {
  __shared__ int flag;
  if (threadIdx.x == 0) flag = 0;
  __syncthreads();
  if (fixed ? threadIdx.x == 5 : threadIdx.x > 60) flag = 1;
  __syncthreads();
  y[threadIdx.x] = flag;
}

}  // namespace

std::vector<Case> shared_race_cases() {
  const char* const race = "race in shared memory";
  const char* const copy = "cp.async not waited for";
  return {{"read_after_write", race, run<read_after_write, 128>},
          {"write_after_read", race, run<write_after_read, 128>},
          {"write_after_write", race, run<write_after_write, 128>},
          {"two_lanes_write", race, run<two_lanes_write, 32>},
          {"missing_syncwarp", race, run<missing_syncwarp, 32>},
          {"implicit_warp_reduction", race, run<implicit_warp_reduction, 32>},
          {"partial_syncwarp", race, run<partial_syncwarp, 32>},
          {"plain_beside_atomic", race, run<plain_beside_atomic, 128>},
          {"unprotected_counter", race, run<unprotected_counter, 128>},
          {"one_buffer", race, run<one_buffer, 64>},
          {"wrong_named_barrier", race, run<wrong_named_barrier, 128>},
          {"neighbours_bytes", race, run<neighbours_bytes, 128>},
          {"copy_not_waited", copy, run<copy_not_waited, 32>},
          {"copy_waited_too_little", copy, run<copy_waited_too_little, 32>},
          {"copy_without_barrier", race, run<copy_without_barrier, 64>},
          {"same_value", "race in shared memory with the same value", run<same_value, 128>}};
}

}  // namespace planted
