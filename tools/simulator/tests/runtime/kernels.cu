// Kernels and the runtime: symbols, managed variables, device printf and malloc, cooperative launches, launches by handle.
#include <cooperative_groups.h>

#include <cstring>

#include "check.h"

__device__ int counter = 3;
__constant__ float table[4] = {1, 2, 3, 4};
__managed__ int managed_value = 11;
__device__ int* pointer_to_counter = &counter;

__global__ void use_symbols(float* out) {
  for (int i = 0; i < 4; ++i) out[i] = table[i] * 10;
  *pointer_to_counter += 1;
  managed_value *= 2;
}

static void symbols() {
  EXPECT_EQ(managed_value, 11);
  managed_value = 21;
  float *out, host[4];
  OK(cudaMalloc(&out, 16));
  const float other[2] = {7, 8};
  OK(cudaMemcpyToSymbol(table, other, 8, 8));
  use_symbols<<<1, 1>>>(out);
  OK(cudaMemcpy(host, out, 16, cudaMemcpyDeviceToHost));
  EXPECT(host[0] == 10 && host[1] == 20 && host[2] == 70 && host[3] == 80);
  int value = 0;
  OK(cudaMemcpyFromSymbol(&value, counter, 4));
  EXPECT_EQ(value, 4);
  EXPECT_EQ(managed_value, 42);
  void* address = nullptr;
  std::size_t bytes = 0;
  OK(cudaGetSymbolAddress(&address, counter));
  OK(cudaGetSymbolSize(&bytes, table));
  EXPECT_EQ(bytes, 16u);
  OK(cudaMemset(address, 0, 4));
  OK(cudaMemcpyFromSymbol(&value, counter, 4));
  EXPECT_EQ(value, 0);
  static int no_symbol;
  EXPECT_ERROR(cudaErrorInvalidSymbol, cudaMemcpyToSymbol(no_symbol, &value, 4));
  EXPECT_ERROR(cudaErrorInvalidValue, cudaMemcpyToSymbol(counter, other, 8));
  OK(cudaFree(out));
}

__global__ void allocate(int** list, int n) {
  int* mine = static_cast<int*>(malloc(sizeof(int) * (threadIdx.x + 1)));
  for (int i = 0; i <= threadIdx.x; ++i) mine[i] = threadIdx.x;
  list[threadIdx.x] = mine;
}
__global__ void sum_and_free(int** list, int* sum) {
  for (int i = 0; i <= threadIdx.x; ++i) atomicAdd(sum, list[threadIdx.x][i]);
  free(list[threadIdx.x]);
}

static void device_memory() {
  int **list, *sum, value = 0, expected = 0;
  OK(cudaMalloc(&list, 64 * sizeof(int*)));
  OK(cudaMalloc(&sum, 4));
  OK(cudaMemset(sum, 0, 4));
  allocate<<<1, 64>>>(list, 64);
  sum_and_free<<<1, 64>>>(list, sum);
  OK(cudaMemcpy(&value, sum, 4, cudaMemcpyDeviceToHost));
  for (int i = 0; i < 64; ++i) expected += i * (i + 1);
  EXPECT_EQ(value, expected);
  OK(cudaFree(list));
  OK(cudaFree(sum));
}

__global__ void grid_sum(const int* in, int* partial, int* out) {
  const auto grid = cooperative_groups::this_grid();
  int own = 0;
  for (unsigned i = grid.thread_rank(); i < 4096; i += grid.size()) own += in[i];
  atomicAdd(&partial[blockIdx.x], own);
  grid.sync();
  if (grid.thread_rank() == 0)
    for (unsigned b = 0; b < gridDim.x; ++b) *out += partial[b];
}

static void cooperative() {
  int *in, *partial, *out, value = 0;
  OK(cudaMallocManaged(&in, 4096 * 4));
  for (int i = 0; i < 4096; ++i) in[i] = i;
  OK(cudaMalloc(&partial, 64 * 4));
  OK(cudaMalloc(&out, 4));
  OK(cudaMemset(partial, 0, 64 * 4));
  OK(cudaMemset(out, 0, 4));
  void* arguments[] = {&in, &partial, &out};
  OK(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(grid_sum), dim3(8), dim3(64), arguments, 0, nullptr));
  OK(cudaMemcpy(&value, out, 4, cudaMemcpyDeviceToHost));
  EXPECT_EQ(value, 4096 * 4095 / 2);
  EXPECT_ERROR(
      cudaErrorCooperativeLaunchTooLarge,
      cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(grid_sum), dim3(100000), dim3(1024), arguments, 0, nullptr));
  OK(cudaFree(in));
  OK(cudaFree(partial));
  OK(cudaFree(out));
}

__global__ void scale(double* x, double by, char shift) { x[threadIdx.x] = x[threadIdx.x] * by + shift; }

// A barrier made by hand: it ends when as many blocks are there at once as the device holds.
__global__ void meet(unsigned* count) {
  if (threadIdx.x == 0) {
    atomicAdd(count, 1);
    while (*static_cast<volatile unsigned*>(count) < gridDim.x) {
    }
  }
  __syncthreads();
}

static void resident() {
  int device = 0, processors = 0, blocks = 0;
  OK(cudaGetDevice(&device));
  OK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, meet, 64, 40 << 10));
  unsigned *count, host = 0;
  OK(cudaMalloc(&count, 4));
  OK(cudaMemset(count, 0, 4));
  meet<<<processors * blocks, 64, 40 << 10>>>(count);
  OK(cudaMemcpy(&host, count, 4, cudaMemcpyDeviceToHost));
  EXPECT_EQ(host, static_cast<unsigned>(processors * blocks));
  OK(cudaFree(count));
}

// What is left in local memory is no zero, however much of it there is.
__global__ void read_ahead(unsigned* out, int wrote) {
  volatile unsigned local[1024];
  local[wrote] = 1;
  out[threadIdx.x] = local[wrote + 1];
}

static void large_local_memory() {
  unsigned *out, host[1024];
  OK(cudaMalloc(&out, sizeof host));
  for (int round = 0; round < 2; ++round) {
    read_ahead<<<1, 1024>>>(out, 1 - round);
    OK(cudaMemcpy(host, out, sizeof host, cudaMemcpyDeviceToHost));
    for (unsigned value : host) EXPECT(value > 1);
  }
  OK(cudaFree(out));
}

static void by_handle() {
  double* x;
  OK(cudaMallocManaged(&x, 8 * sizeof(double)));
  for (int i = 0; i < 8; ++i) x[i] = i;
  double by = 0.5;
  char shift = 3;
  void* arguments[] = {&x, &by, &shift};
  cudaFunction_t function;
  cudaKernel_t kernel;
  OK(cudaGetFuncBySymbol(&function, reinterpret_cast<const void*>(scale)));
  OK(cudaGetKernel(&kernel, reinterpret_cast<const void*>(scale)));
  OK(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(1), dim3(8), arguments, 0, nullptr));
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(8);
  OK(cudaLaunchKernelEx(&config, scale, x, 2.0, static_cast<char>(-1)));
  OK(cudaDeviceSynchronize());
  for (int i = 0; i < 8; ++i) EXPECT_EQ(x[i], (i * 0.5 + 3) * 2 - 1);
  std::size_t offset = 0, bytes = 0;
  OK(cudaFuncGetParamInfo(reinterpret_cast<const void*>(scale), 2, &offset, &bytes));
  EXPECT(offset == 16 && bytes == 1);
  OK(cudaFree(x));
}

__device__ __noinline__ int nested(int n) {
  volatile int local[64];
  local[n % 64] = n;
  return n == 0 ? 0 : nested(n - 1) + local[n % 64];
}

__global__ void recurse(int* out, int depth) { *out = nested(depth); }

/// 400 frames of 256 bytes: the stack is as large as the program has asked for.
static void deep_recursion() {
  int* out;
  OK(cudaMallocManaged(&out, 4));
  OK(cudaDeviceSetLimit(cudaLimitStackSize, 128 << 10));
  recurse<<<1, 1>>>(out, 400);
  OK(cudaDeviceSynchronize());
  EXPECT_EQ(*out, 400 * 401 / 2);
  std::size_t limit = 0;
  OK(cudaDeviceGetLimit(&limit, cudaLimitStackSize));
  EXPECT_EQ(limit, std::size_t{128 << 10});
  EXPECT_ERROR(cudaErrorInvalidValue, cudaDeviceSetLimit(cudaLimitStackSize, 1 << 20));
  OK(cudaFree(out));
}

int main() {
  symbols();
  device_memory();
  cooperative();
  resident();
  large_local_memory();
  by_handle();
  deep_recursion();
  return finish();
}
