// Several devices: each has its memory, streams and variables; copies between them, and access when it was enabled. Run with
// --devices 4.
#include "check.h"

__device__ int own = 7;

__global__ void store(int* x, int value) { *x = value; }
__global__ void store_own(int value) { own = value; }

int main() {
  int count = 0;
  OK(cudaGetDeviceCount(&count));
  EXPECT(count >= 2);
  if (count < 2) return finish();
  std::vector<int*> memory(count);
  for (int d = 0; d < count; ++d) {
    OK(cudaSetDevice(d));
    OK(cudaMalloc(&memory[d], 4));
    store<<<1, 1>>>(memory[d], 100 + d);
    store_own<<<1, 1>>>(d);
    cudaPointerAttributes a{};
    OK(cudaPointerGetAttributes(&a, memory[d]));
    EXPECT_EQ(a.device, d);
  }
  for (int d = 0; d < count; ++d) {
    int value = -1;
    OK(cudaSetDevice(d));
    OK(cudaMemcpyFromSymbol(&value, own, 4));
    EXPECT_EQ(value, d);
    OK(cudaMemcpyPeer(memory[d], d, memory[(d + 1) % count], (d + 1) % count, 4));
    OK(cudaDeviceSynchronize());
    OK(cudaMemcpy(&value, memory[d], 4, cudaMemcpyDeviceToHost));
    EXPECT_EQ(value, 100 + (d + 1 < count ? d + 1 : 1));  // device 0 has been overwritten by then
  }
  int can = 0;
  OK(cudaDeviceCanAccessPeer(&can, 0, 1));
  EXPECT_EQ(can, 1);
  OK(cudaDeviceCanAccessPeer(&can, 0, 0));
  EXPECT_EQ(can, 0);
  OK(cudaSetDevice(0));
  EXPECT_ERROR(cudaErrorPeerAccessNotEnabled, cudaDeviceDisablePeerAccess(1));
  OK(cudaDeviceEnablePeerAccess(1, 0));
  EXPECT_ERROR(cudaErrorPeerAccessAlreadyEnabled, cudaDeviceEnablePeerAccess(1, 0));
  EXPECT_ERROR(cudaErrorInvalidDevice, cudaDeviceEnablePeerAccess(0, 0));
  store<<<1, 1>>>(memory[1], 55);
  OK(cudaDeviceSynchronize());
  int value = 0;
  OK(cudaMemcpy(&value, memory[1], 4, cudaMemcpyDeviceToHost));
  EXPECT_EQ(value, 55);

  // An event of one device orders a stream of another.
  cudaStream_t s0, s1;
  cudaEvent_t e;
  OK(cudaStreamCreateWithFlags(&s0, cudaStreamNonBlocking));
  OK(cudaEventCreate(&e));
  OK(cudaSetDevice(1));
  OK(cudaStreamCreateWithFlags(&s1, cudaStreamNonBlocking));
  EXPECT_ERROR(cudaErrorInvalidResourceHandle, cudaEventRecord(e, s1));
  OK(cudaSetDevice(0));
  store<<<1, 1, 0, s0>>>(memory[0], 77);
  OK(cudaEventRecord(e, s0));
  OK(cudaStreamWaitEvent(s1, e, 0));
  OK(cudaMemcpyPeerAsync(memory[1], 1, memory[0], 0, 4, s1));
  OK(cudaStreamSynchronize(s1));
  OK(cudaMemcpy(&value, memory[1], 4, cudaMemcpyDefault));
  EXPECT_EQ(value, 77);
  int device = -1;
  OK(cudaStreamGetDevice(s1, &device));
  EXPECT_EQ(device, 1);
  OK(cudaStreamDestroy(s0));
  OK(cudaStreamDestroy(s1));
  OK(cudaEventDestroy(e));
  for (int* m : memory) OK(cudaFree(m));
  return finish();
}
