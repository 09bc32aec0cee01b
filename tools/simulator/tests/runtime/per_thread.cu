// Threads of the host with streams of their own (nvcc --default-stream per-thread).
#include <thread>

#include "check.h"

__global__ void add(int* x, int n) {
  for (int i = 0; i < n; ++i) atomicAdd(x, 1);
}

int main() {
  int* x;
  OK(cudaMallocManaged(&x, 4));
  *x = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 50; ++j) {
        int *y, host = 0;
        add<<<1, 32>>>(x, 2);
        OK(cudaGetLastError());
        OK(cudaMallocAsync(&y, 64, 0));
        OK(cudaMemsetAsync(y, 0, 64, 0));
        add<<<1, 1>>>(y, 5);
        OK(cudaMemcpyAsync(&host, y, 4, cudaMemcpyDefault, 0));
        OK(cudaStreamSynchronize(0));
        EXPECT_EQ(host, 5);
        OK(cudaFreeAsync(y, 0));
      }
      OK(cudaStreamSynchronize(0));
    });
  for (std::thread& t : threads) t.join();
  OK(cudaDeviceSynchronize());
  EXPECT_EQ(*x, 6 * 50 * 64);
  OK(cudaFree(x));
  return finish();
}
