#include "planted.h"

// initcheck: memory that is read and was never written.
namespace planted {
namespace {

__global__ void sum(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x] + x[threadIdx.x + 32]; }

void global_memory(bool fixed) {
  float* x = device_array<float>(64, fixed);
  float* y = device_array<float>(32);
  sum<<<1, 32>>>(x, y);
  cudaDeviceSynchronize();
  cudaFree(x);
  cudaFree(y);
}

void half_initialized(bool fixed) {
  float* x = device_array<float>(64, false);
  float* y = device_array<float>(32);
  cudaMemset(x, 0, fixed ? 256 : 252);
  sum<<<1, 32>>>(x, y);
  cudaDeviceSynchronize();
  cudaFree(x);
  cudaFree(y);
}

void only_some_by_a_kernel(bool fixed);
__global__ void fill(float* x, int n) {
  if (static_cast<int>(threadIdx.x) < n) x[threadIdx.x] = 1;
}
void only_some_by_a_kernel(bool fixed) {
  float* x = device_array<float>(64, false);
  float* y = device_array<float>(32);
  fill<<<1, 64>>>(x, fixed ? 64 : 63);
  sum<<<1, 32>>>(x, y);
  cudaDeviceSynchronize();
  cudaFree(x);
  cudaFree(y);
}

__global__ void shared_sum(float* y, int n) {
  __shared__ float tile[64];
  if (static_cast<int>(threadIdx.x) < n) tile[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}
void shared_memory(bool fixed) {
  float* y = device_array<float>(64);
  shared_sum<<<1, 64>>>(y, fixed ? 64 : 48);
  cudaDeviceSynchronize();
  cudaFree(y);
}

__global__ void local_sum(float* y, int n) {
  float local[16];
#pragma unroll 1
  for (int i = 0; i < n; ++i) local[(i + threadIdx.x) & 15] = 1;
  y[threadIdx.x] = local[(threadIdx.x + 15) & 15];
}
void local_memory(bool fixed) {
  float* y = device_array<float>(32);
  local_sum<<<1, 32>>>(y, fixed ? 16 : 8);
  cudaDeviceSynchronize();
  cudaFree(y);
}

__global__ void count(int* x) { atomicAdd(x, 1); }
void atomic_on_fresh_memory(bool fixed) {
  int* x = device_array<int>(1, fixed);
  count<<<1, 32>>>(x);
  cudaDeviceSynchronize();
  cudaFree(x);
}

void copied_out(bool fixed) {
  float* x = device_array<float>(16, fixed);
  float host[16];
  cudaMemcpy(host, x, sizeof(host), cudaMemcpyDeviceToHost);
  cudaFree(x);
}

}  // namespace

std::vector<Case> initialization_cases() {
  return {{"global_memory", "uninitialized global memory read", global_memory},
          {"half_initialized", "uninitialized global memory read", half_initialized},
          {"only_some_by_a_kernel", "uninitialized global memory read", only_some_by_a_kernel},
          {"shared_memory", "uninitialized shared memory read", shared_memory},
          {"local_memory", "uninitialized local memory read", local_memory},
          {"atomic_on_fresh_memory", "uninitialized global memory read", atomic_on_fresh_memory},
          {"copied_out", "copy of uninitialized memory", copied_out}};
}

}  // namespace planted
