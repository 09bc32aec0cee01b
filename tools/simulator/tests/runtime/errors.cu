// Launches that are refused, and the last error.
#include <cstring>

#include "check.h"

__global__ void plain(int* x) {
  if (x != nullptr) x[threadIdx.x] = 1;
}
__global__ void __launch_bounds__(64) bounded(int* x) {
  if (x != nullptr) x[threadIdx.x] = 1;
}
__global__ void dynamic(int* x, int n) {
  extern __shared__ int s[];
  for (int i = threadIdx.x; i < n; i += blockDim.x) s[i] = i;
  __syncthreads();
  if (threadIdx.x == 0) *x = s[n - 1];
}

template <class Launch>
static cudaError_t launch(Launch&& l) {
  l();
  return cudaGetLastError();
}

int main() {
  int* x;
  OK(cudaMalloc(&x, 4096));
  EXPECT_ERROR(cudaErrorInvalidConfiguration, launch([&] { plain<<<1, 1025>>>(x); }));
  EXPECT_ERROR(cudaErrorInvalidConfiguration, launch([&] { plain<<<0, 32>>>(x); }));
  EXPECT_ERROR(cudaErrorInvalidConfiguration, launch([&] { plain<<<dim3(1, 65536), 32>>>(x); }));
  EXPECT_ERROR(cudaErrorInvalidConfiguration, launch([&] { plain<<<1, dim3(1, 1, 65)>>>(x); }));
  EXPECT_ERROR(cudaErrorInvalidValue, launch([&] { bounded<<<1, 65>>>(x); }));
  EXPECT_ERROR(cudaSuccess, launch([&] { bounded<<<1, 64>>>(x); }));
  // Above 48 KB of shared memory has to be asked for.
  constexpr int bytes = 60 * 1024;
  EXPECT_ERROR(cudaErrorInvalidValue, launch([&] { dynamic<<<1, 32, bytes>>>(x, bytes / 4); }));
  EXPECT_ERROR(cudaErrorInvalidValue, cudaFuncSetAttribute(dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, 512 * 1024));
  OK(cudaFuncSetAttribute(dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  OK(launch([&] { dynamic<<<1, 32, bytes>>>(x, bytes / 4); }));
  EXPECT_ERROR(cudaErrorInvalidValue, launch([&] { dynamic<<<1, 32, bytes + 4>>>(x, 1); }));
  int last = 0;
  OK(cudaMemcpy(&last, x, 4, cudaMemcpyDeviceToHost));
  EXPECT_EQ(last, bytes / 4 - 1);

  // The last error stays until it is asked for, and is not what a later success says.
  EXPECT(cudaSetDevice(99) == cudaErrorInvalidDevice);
  OK(cudaMemset(x, 0, 4));
  (void)0;
  EXPECT(cudaSetDevice(99) == cudaErrorInvalidDevice);
  EXPECT(cudaMemset(x, 0, 4) == cudaSuccess);
  EXPECT(cudaPeekAtLastError() == cudaErrorInvalidDevice);
  EXPECT(cudaGetLastError() == cudaErrorInvalidDevice);
  EXPECT(cudaGetLastError() == cudaSuccess);

  EXPECT(std::strcmp(cudaGetErrorName(cudaErrorIllegalAddress), "cudaErrorIllegalAddress") == 0);
  EXPECT(std::strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory") == 0);
  EXPECT(std::strcmp(cudaGetErrorString(static_cast<cudaError_t>(12345)), "unrecognized error code") == 0);
  void* entry = &last;
  cudaDriverEntryPointQueryResult found;
  OK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found));
  EXPECT(entry == nullptr && found == cudaDriverEntryPointSymbolNotFound);
  OK(cudaFree(x));
  return finish();
}
