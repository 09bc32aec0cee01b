// A fault of the device stays with it: every later call says so, until the device is reset. It is a finding, so the exit code
// is 3.
#include "check.h"

__global__ void fault(int* x) { *x = 1; }
__global__ void fine(int* x) { *x = 2; }

int main() {
  int *x, value = 0;
  OK(cudaMalloc(&x, 4));
  fault<<<1, 1>>>(nullptr);
  OK(cudaGetLastError());  // the launch itself was possible
  EXPECT_ERROR(cudaErrorIllegalAddress, cudaDeviceSynchronize());
  EXPECT_ERROR(cudaErrorIllegalAddress, cudaMemcpy(&value, x, 4, cudaMemcpyDeviceToHost));
  EXPECT_ERROR(cudaErrorIllegalAddress, cudaMalloc(&x, 4));
  fine<<<1, 1>>>(x);
  EXPECT(cudaGetLastError() == cudaErrorIllegalAddress);
  OK(cudaDeviceReset());
  OK(cudaMalloc(&x, 4));
  fine<<<1, 1>>>(x);
  OK(cudaMemcpy(&value, x, 4, cudaMemcpyDeviceToHost));
  EXPECT_EQ(value, 2);
  OK(cudaFree(x));
  return finish();
}
