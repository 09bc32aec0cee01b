// What a device says of itself, by properties and by attributes; kernels' attributes and occupancy.
#include <cstring>
#include <string>

#include "check.h"

__global__ void __launch_bounds__(128) bounded(int* x) { x[threadIdx.x] = 1; }
__global__ void with_shared(float* x) {
  __shared__ float tile[1024];
  extern __shared__ float more[];
  tile[threadIdx.x] = x[threadIdx.x];
  more[threadIdx.x] = 1;
  __syncthreads();
  x[threadIdx.x] = tile[1023 - threadIdx.x] + more[threadIdx.x ^ 1];
}

static int attribute(cudaDeviceAttr a) {
  int value = -1;
  OK(cudaDeviceGetAttribute(&value, a, 0));
  return value;
}

int main() {
  int count = 0, device = -1, version = 0;
  OK(cudaGetDeviceCount(&count));
  EXPECT(count >= 1);
  OK(cudaGetDevice(&device));
  EXPECT_EQ(device, 0);
  EXPECT_ERROR(cudaErrorInvalidDevice, cudaSetDevice(count));
  OK(cudaRuntimeGetVersion(&version));
  EXPECT(version >= 13000 && version < 14000);
  OK(cudaDriverGetVersion(&version));
  EXPECT(version >= 13000);
  cudaDeviceProp p;
  OK(cudaGetDeviceProperties(&p, 0));
  EXPECT(std::strstr(p.name, "Simulated") != nullptr);
  EXPECT_EQ(attribute(cudaDevAttrComputeCapabilityMajor), p.major);
  EXPECT_EQ(attribute(cudaDevAttrComputeCapabilityMinor), p.minor);
  EXPECT_EQ(attribute(cudaDevAttrMultiProcessorCount), p.multiProcessorCount);
  EXPECT_EQ(attribute(cudaDevAttrMaxSharedMemoryPerBlock), p.sharedMemPerBlock);
  EXPECT_EQ(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin), p.sharedMemPerBlockOptin);
  EXPECT_EQ(attribute(cudaDevAttrWarpSize), 32);
  EXPECT_EQ(attribute(cudaDevAttrMaxThreadsPerBlock), 1024);
  EXPECT_EQ(attribute(cudaDevAttrCooperativeLaunch), 1);
  char bus[32];
  OK(cudaDeviceGetPCIBusId(bus, sizeof bus, 0));
  OK(cudaDeviceGetByPCIBusId(&device, bus));
  EXPECT_EQ(device, 0);
  std::size_t limit = 0;
  OK(cudaDeviceGetLimit(&limit, cudaLimitMallocHeapSize));
  EXPECT_EQ(limit, 8u << 20);
  OK(cudaDeviceSetLimit(cudaLimitMallocHeapSize, 16 << 20));
  OK(cudaDeviceGetLimit(&limit, cudaLimitMallocHeapSize));
  EXPECT_EQ(limit, 16u << 20);

  cudaFuncAttributes f;
  OK(cudaFuncGetAttributes(&f, bounded));
  EXPECT_EQ(f.maxThreadsPerBlock, 128);
  EXPECT_EQ(f.sharedSizeBytes, 0u);
  EXPECT(f.numRegs > 0 && f.numRegs <= 255);
  OK(cudaFuncGetAttributes(&f, with_shared));
  EXPECT_EQ(f.sharedSizeBytes, 4096u);
  EXPECT_EQ(f.maxDynamicSharedSizeBytes, 48 * 1024 - 4096);
  EXPECT_EQ(f.maxThreadsPerBlock, 1024);
  const char* name = nullptr;
  OK(cudaFuncGetName(&name, reinterpret_cast<const void*>(with_shared)));
  EXPECT(name != nullptr && std::strstr(name, "with_shared") != nullptr);
  static int no_kernel;
  EXPECT_ERROR(cudaErrorInvalidDeviceFunction, cudaFuncGetAttributes(&f, &no_kernel));

  // Occupancy on sm_80: 2048 threads, 164 KB of shared memory less 1 KB a block, 32 blocks.
  if (p.major == 8 && p.minor == 0) {
    int blocks = 0;
    OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, bounded, 128, 0));
    EXPECT_EQ(blocks, 16);
    OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, bounded, 32, 0));
    EXPECT_EQ(blocks, 32);
    OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, with_shared, 64, 36 * 1024));
    EXPECT_EQ(blocks, 4);  // 164 / (36 + 4 + 1)
    OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, bounded, 256, 0));
    EXPECT_EQ(blocks, 0);  // more than its bound
    int grid = 0, block = 0;
    OK(cudaOccupancyMaxPotentialBlockSize(&grid, &block, bounded, 0, 0));
    EXPECT_EQ(block, 128);
    EXPECT_EQ(grid, 16 * p.multiProcessorCount);
    std::size_t bytes = 0;
    OK(cudaOccupancyAvailableDynamicSMemPerBlock(&bytes, with_shared, 2, 128));
    EXPECT_EQ(bytes, 82 * 1024 - 1024 - 4096);
  }
  return finish();
}
