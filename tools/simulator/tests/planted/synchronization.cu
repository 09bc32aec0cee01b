#include "planted.h"

// synccheck: barriers and warp operations that not everyone reaches.
namespace planted {
namespace {

template <void (*kernel)(int*, bool)>
__global__ void launch(int* y, bool fixed) {
  kernel(y, fixed);
}

template <void (*kernel)(int*, bool), int threads>
void run(bool fixed) {
  int* y = device_array<int>(256);
  launch<kernel><<<1, threads>>>(y, fixed);
  cudaDeviceSynchronize();
  cudaFree(y);
}

// Half of a warp waits at one barrier, half at another.
__device__ void two_barriers(int* y, bool fixed) {
  if (fixed) {
    __syncthreads();
    y[threadIdx.x] = 1;
  } else if (threadIdx.x % 2 == 0) {
    y[threadIdx.x] = 1;
    __syncthreads();
  } else {
    y[threadIdx.x] = 2;
    __syncthreads();
  }
}

// Half of a warp waits, the other half goes on.
__device__ void half_a_warp(int* y, bool fixed) {
  if (fixed || threadIdx.x % 32 < 16) __syncthreads();
  y[threadIdx.x] = 1;
}

// A barrier in a loop that not all threads of a warp run equally often.
__device__ void unequal_loop(int* y, bool fixed) {
  const int rounds = fixed ? 4 : static_cast<int>(threadIdx.x % 4);
  for (int n = 0; n < rounds; ++n) {
    y[threadIdx.x] += n;
    __syncthreads();
  }
  y[threadIdx.x] += 1;
}

// Each warp waits for the other at a barrier of its own.
__device__ void crossed_barriers(int* y, bool fixed) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  asm volatile("bar.sync %0, 64;" ::"r"(fixed ? 1 : 1 + warp) : "memory");
  asm volatile("bar.sync %0, 64;" ::"r"(fixed ? 2 : 2 - warp) : "memory");
  y[threadIdx.x] = 1;
}

__device__ void barrier_for_too_many(int* y, bool fixed) {
  if (fixed)
    asm volatile("bar.sync 1, 64;" ::: "memory");
  else
    asm volatile("bar.sync 1, 96;" ::: "memory");
  y[threadIdx.x] = 1;
}

__device__ void barrier_of_odd_count(int* y, bool fixed) {
  const int count = fixed ? 64 : 48;
  asm volatile("bar.sync 1, %0;" ::"r"(count) : "memory");
  y[threadIdx.x] = 1;
}

__device__ void barrier_number(int* y, bool fixed) {
  const int id = fixed ? 15 : 16;
  asm volatile("bar.sync %0, 64;" ::"r"(id) : "memory");
  y[threadIdx.x] = 1;
}

// The mask names lanes that wait elsewhere.
__device__ void shuffle_in_a_branch(int* y, bool fixed) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x < 16) {
    value = __shfl_xor_sync(fixed ? 0xffffu : 0xffffffffu, value, 1);
  } else {
    __syncwarp(fixed ? 0xffff0000u : 0xffffffffu);
    value = __shfl_xor_sync(fixed ? 0xffff0000u : 0xffffffffu, value, 2);
  }
  y[threadIdx.x] = value;
}

__device__ void vote_without_some(int* y, bool fixed) {
  bool all = false;
  if (fixed || threadIdx.x < 24)
    all = __all_sync(0xffffffffu, threadIdx.x < 32) != 0;
  else
    __syncthreads();
  y[threadIdx.x] = all;
}

__device__ void not_in_own_mask(int* y, bool fixed) {
  const unsigned mask = fixed ? 0xffffffffu : 0x7fffffffu;
  y[threadIdx.x] = __shfl_sync(mask, static_cast<int>(threadIdx.x), 0);
}

__device__ void shuffle_from_absent_lane(int* y, bool fixed) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x < 16) value = __shfl_sync(0xffffu, value, fixed ? 3 : 20);
  y[threadIdx.x] = value;
}

// Two lanes each hold a lock and wait for the other's.
__device__ void locks(int* y, bool fixed) {
  __shared__ int lock[2];
  if (threadIdx.x < 2) lock[threadIdx.x] = 0;
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    const int first = fixed ? 0 : static_cast<int>(threadIdx.x) / 32;
    while (atomicCAS(&lock[first], 0, 1) != 0) __nanosleep(10);
    __nanosleep(1000);
    while (atomicCAS(&lock[1 - first], 0, 1) != 0) __nanosleep(10);
    __threadfence_block();
    atomicExch(&lock[1 - first], 0);
    atomicExch(&lock[first], 0);
  }
  __syncthreads();
  y[threadIdx.x] = 1;
}

__device__ void endless_wait(int* y, bool fixed) {
  volatile int* flag = y + 128;
  if (fixed && threadIdx.x == 0) *flag = 1;
  if (threadIdx.x == 32) {
    while (*flag == 0) {
    }
  }
}

}  // namespace

std::vector<Case> synchronization_cases() {
  return {{"two_barriers", "divergent barrier", run<two_barriers, 64>},
          {"half_a_warp", "divergent barrier", run<half_a_warp, 64>},
          {"unequal_loop", "divergent barrier", run<unequal_loop, 64>},
          {"crossed_barriers", "deadlock", run<crossed_barriers, 64>},
          {"barrier_for_too_many", "deadlock", run<barrier_for_too_many, 64>},
          {"barrier_of_odd_count", "invalid barrier", run<barrier_of_odd_count, 64>},
          {"barrier_number", "invalid barrier", run<barrier_number, 64>},
          {"shuffle_in_a_branch", "missing lanes", run<shuffle_in_a_branch, 32>},
          {"vote_without_some", "missing lanes", run<vote_without_some, 32>},
          {"not_in_own_mask", "invalid mask", run<not_in_own_mask, 32>},
          {"shuffle_from_absent_lane", "missing lanes", run<shuffle_from_absent_lane, 32>},
          {"locks", "timeout", run<locks, 64>},
          {"endless_wait", "timeout", run<endless_wait, 64>}};
}

}  // namespace planted
