#include <cstdint>

#include "planted.h"

// memcheck: accesses outside of what is there, in each space.
namespace planted {
namespace {

__global__ void add_one(float* x, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] += 1;
}

__global__ void write_at(float* x, long offset) { x[offset + threadIdx.x] = 1; }
__global__ void read_at(const float* x, long offset, float* y) { y[threadIdx.x] = x[offset + threadIdx.x]; }

void past_the_end(bool fixed) {
  float* x = device_array<float>(100);
  add_one<<<1, 128>>>(x, fixed ? 100 : 101);
  cudaDeviceSynchronize();
  cudaFree(x);
}

void before_the_start(bool fixed) {
  float* x = device_array<float>(64);
  write_at<<<1, 32>>>(x, fixed ? 0 : -1);
  cudaDeviceSynchronize();
  cudaFree(x);
}

void far_away(bool fixed) {
  float* x = device_array<float>(64);
  float* y = device_array<float>(64);
  read_at<<<1, 32>>>(x, fixed ? 0 : 1L << 32, y);
  cudaDeviceSynchronize();
  cudaFree(x);
  cudaFree(y);
}

// The last vector begins inside and ends outside.
__global__ void copy4(const float4* x, float4* y) { y[threadIdx.x] = x[threadIdx.x]; }
void vector_past_the_end(bool fixed) {
  auto* x = device_array<float>(fixed ? 128 : 126);
  auto* y = device_array<float4>(32);
  copy4<<<1, 32>>>(reinterpret_cast<float4*>(x), y);
  cudaDeviceSynchronize();
  cudaFree(x);
  cudaFree(y);
}

void misaligned(bool fixed) {
  auto* x = device_array<char>(1024);
  auto* y = device_array<float4>(32);
  copy4<<<1, 32>>>(reinterpret_cast<float4*>(x + (fixed ? 16 : 8)), y);
  cudaDeviceSynchronize();
  cudaFree(x);
  cudaFree(y);
}

void null_pointer(bool fixed) {
  float* x = device_array<float>(32);
  write_at<<<1, 32>>>(fixed ? x : nullptr, 0);
  cudaDeviceSynchronize();
  cudaFree(x);
}

void after_free(bool fixed) {
  float* x = device_array<float>(32);
  if (!fixed) cudaFree(x);
  write_at<<<1, 32>>>(x, 0);
  cudaDeviceSynchronize();
  if (fixed) cudaFree(x);
}

// The memory of a stream-ordered free is gone for what comes later in the stream.
void after_async_free(bool fixed) {
  float* x = nullptr;
  cudaMallocAsync(&x, 128, nullptr);
  if (!fixed) cudaFreeAsync(x, nullptr);
  write_at<<<1, 32>>>(x, 0);
  if (fixed) cudaFreeAsync(x, nullptr);
  cudaDeviceSynchronize();
}

void host_pointer(bool fixed) {
  static float on_host[32];
  float* x = device_array<float>(32);
  write_at<<<1, 32>>>(fixed ? x : on_host, 0);
  cudaDeviceSynchronize();
  cudaFree(x);
}

__global__ void shared_past_the_end(float* y, int last) {
  __shared__ float tile[64];
  __shared__ float other[64];
  tile[threadIdx.x] = 1;
  other[threadIdx.x] = 2;
  __syncthreads();
  y[threadIdx.x] = other[threadIdx.x] + (threadIdx.x == 0 ? tile[last] : tile[threadIdx.x]);
}
void shared_static(bool fixed) {
  float* y = device_array<float>(64);
  shared_past_the_end<<<1, 64>>>(y, fixed ? 63 : 64);
  cudaDeviceSynchronize();
  cudaFree(y);
}

// Behind the only variable there is room that a block's memory is rounded up to.
__global__ void shared_shifted(float* y, int by) {
  __shared__ float tile[64];
  tile[threadIdx.x + by] = 1;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x + by];
}
void shared_only_variable(bool fixed) {
  float* y = device_array<float>(64);
  shared_shifted<<<1, 64>>>(y, fixed ? 0 : 1);
  cudaDeviceSynchronize();
  cudaFree(y);
}

// Between the last variable and the dynamic memory.
__global__ void shared_before_dynamic(float* y, int by) {
  __shared__ float tile[64];
  extern __shared__ float dynamic[];
  dynamic[threadIdx.x] = 2;
  tile[threadIdx.x + by] = 1;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x + by] + dynamic[63 - threadIdx.x];
}
void shared_into_dynamic(bool fixed) {
  float* y = device_array<float>(64);
  shared_before_dynamic<<<1, 64, 256>>>(y, fixed ? 0 : 1);
  cudaDeviceSynchronize();
  cudaFree(y);
}

__global__ void fill_dynamic(float* y) {
  extern __shared__ float dynamic[];
  dynamic[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = dynamic[63 - threadIdx.x];
}
void shared_dynamic(bool fixed) {
  float* y = device_array<float>(64);
  fill_dynamic<<<1, 64, fixed ? 256 : 252>>>(y);
  cudaDeviceSynchronize();
  cudaFree(y);
}

__global__ void local_index(float* y, int index) {
  float local[8];
  for (int n = 0; n < 8; ++n) local[(n * 3 + index) & 7] = static_cast<float>(n);
  y[threadIdx.x] = local[index + (threadIdx.x & 3)];
}
void local_array(bool fixed) {
  float* y = device_array<float>(32);
  local_index<<<1, 32>>>(y, fixed ? 2 : 1 << 20);
  cudaDeviceSynchronize();
  cudaFree(y);
}

__device__ float table[16];
__global__ void read_variable(float* y, int index) { y[threadIdx.x] = table[threadIdx.x + index]; }
void device_variable(bool fixed) {
  float* y = device_array<float>(16);
  read_variable<<<1, 16>>>(y, fixed ? 0 : 1);
  cudaDeviceSynchronize();
  cudaFree(y);
}

__constant__ float coefficients[16];
__global__ void read_constant(float* y, int index) { y[threadIdx.x] = coefficients[threadIdx.x + index]; }
void constant_variable(bool fixed) {
  float* y = device_array<float>(16);
  read_constant<<<1, 16>>>(y, fixed ? 0 : 4);
  cudaDeviceSynchronize();
  cudaFree(y);
}

__global__ void write_through(float* x) { x[threadIdx.x] = 1; }
void write_constant(bool fixed) {
  void* address = nullptr;
  cudaGetSymbolAddress(&address, coefficients);
  float* y = device_array<float>(16);
  write_through<<<1, 16>>>(fixed ? y : static_cast<float*>(address));
  cudaDeviceSynchronize();
  cudaFree(y);
}

__global__ void atomic_at(int* x, int offset) { atomicAdd(x + offset, 1); }
void atomic_past_the_end(bool fixed) {
  int* x = device_array<int>(4);
  atomic_at<<<1, 32>>>(x, fixed ? 3 : 4);
  cudaDeviceSynchronize();
  cudaFree(x);
}

void misaligned_atomic(bool fixed) {
  char* x = device_array<char>(64);
  atomic_at<<<1, 32>>>(reinterpret_cast<int*>(x + (fixed ? 4 : 2)), 0);
  cudaDeviceSynchronize();
  cudaFree(x);
}

__global__ void copy_async(const float* x, float* y) {
  __shared__ alignas(16) float tile[128];
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(tile + 4 * threadIdx.x));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(x + 4 * threadIdx.x) : "memory");
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();
  y[threadIdx.x] = tile[127 - threadIdx.x];
}
void async_copy_past_the_end(bool fixed) {
  float* x = device_array<float>(fixed ? 128 : 124);
  float* y = device_array<float>(32);
  copy_async<<<1, 32>>>(x, y);
  cudaDeviceSynchronize();
  cudaFree(x);
  cudaFree(y);
}

void other_device(bool fixed) {
  cudaSetDevice(1);
  float* x = device_array<float>(32);
  cudaDeviceSynchronize();
  cudaSetDevice(0);
  if (fixed) cudaDeviceEnablePeerAccess(1, 0);
  write_at<<<1, 32>>>(x, 0);
  cudaDeviceSynchronize();
  cudaFree(x);
}

__device__ __noinline__ int deep(int n, int* x) {
  volatile int local[256];
  local[n & 255] = n;
  return n == 0 ? 0 : deep(n - 1, x) + local[n & 255] + x[0];
}
__global__ void recurse(int* x, int depth) { x[1] = deep(depth, x); }
void endless_recursion(bool fixed) {
  int* x = device_array<int>(2);
  cudaDeviceSetLimit(cudaLimitStackSize, 16 << 10);
  recurse<<<1, 1>>>(x, fixed ? 3 : 1 << 20);
  cudaDeviceSynchronize();
  cudaFree(x);
}
// Four frames of 1 KiB and the default limit.
void deeper_than_the_limit(bool fixed) {
  int* x = device_array<int>(2);
  if (fixed) cudaDeviceSetLimit(cudaLimitStackSize, 16 << 10);
  recurse<<<1, 1>>>(x, 3);
  cudaDeviceSynchronize();
  cudaFree(x);
}

__global__ void trap_if(int bad) {
  if (bad == static_cast<int>(threadIdx.x)) __trap();
}
void trapped(bool fixed) { trap_if<<<1, 32>>>(fixed ? -1 : 7); }

__global__ void call(void (*function)()) { function(); }
__device__ void nothing() {}
__device__ void (*pointer)() = nothing;
void bad_function_pointer(bool fixed) {
  void (*function)() = nullptr;
  cudaMemcpyFromSymbol(&function, pointer, sizeof(function));
  if (!fixed) function = reinterpret_cast<void (*)()>(reinterpret_cast<std::uintptr_t>(function) + 4);
  call<<<1, 1>>>(function);
}

void leaked(bool fixed) {
  float* x = device_array<float>(32);
  if (fixed) cudaFree(x);
}

}  // namespace

std::vector<Case> memory_cases() {
  return {{"past_the_end", "out-of-bounds access", past_the_end},
          {"before_the_start", "out-of-bounds access", before_the_start},
          {"far_away", "out-of-bounds access", far_away},
          {"vector_past_the_end", "out-of-bounds access", vector_past_the_end},
          {"misaligned", "misaligned access", misaligned},
          {"null_pointer", "invalid address", null_pointer},
          {"after_free", "use after free", after_free},
          {"after_async_free", "use after free", after_async_free},
          {"host_pointer", "access to host memory", host_pointer},
          {"shared_static", "out-of-bounds access", shared_static},
          {"shared_only_variable", "out-of-bounds access", shared_only_variable},
          {"shared_into_dynamic", "out-of-bounds access", shared_into_dynamic},
          {"shared_dynamic", "out-of-bounds access", shared_dynamic},
          {"local_array", "out-of-bounds access", local_array},
          {"device_variable", "out-of-bounds access", device_variable},
          {"constant_variable", "out-of-bounds access", constant_variable},
          {"write_constant", "write to read-only memory", write_constant},
          {"atomic_past_the_end", "out-of-bounds access", atomic_past_the_end},
          {"misaligned_atomic", "misaligned access", misaligned_atomic},
          {"async_copy_past_the_end", "out-of-bounds access", async_copy_past_the_end},
          {"other_device", "access to another device's memory", other_device},
          {"endless_recursion", "stack overflow", endless_recursion},
          {"deeper_than_the_limit", "stack overflow", deeper_than_the_limit},
          {"trapped", "trap", trapped},
          {"bad_function_pointer", "illegal instruction", bad_function_pointer},
          {"leaked", "leak", leaked}};
}

}  // namespace planted
