// Two sources compiled apart (nvcc -rdc=true): functions, variables and literals of one are used by the other.
#include <cstring>

#include "check.h"

extern __device__ int shared_counter;
extern __constant__ int shared_constant[3];
__device__ int twice(int x);
__device__ const char* word_of_b();
template <class T>
__device__ T both(T x) {
  return x + 1;
}
static __device__ int local_name(int x) { return x + 1000; }

__global__ void kernel_of_a(int* out) {
  const char* word = "word of a";
  out[0] = twice(21);
  out[1] = shared_counter + shared_constant[2];
  out[2] = local_name(both(1));
  out[3] = word[out[7]];
  out[4] = word_of_b()[out[7]];
}

void launch_b(int* out);

int main() {
  int *out, host[8];
  OK(cudaMallocManaged(&out, 32));
  out[7] = 8;
  kernel_of_a<<<1, 1>>>(out);
  launch_b(out);
  OK(cudaDeviceSynchronize());
  std::memcpy(host, out, 32);
  EXPECT_EQ(host[0], 42);
  EXPECT_EQ(host[1], 5 + 30);
  EXPECT_EQ(host[2], 1002);
  EXPECT_EQ(host[3], 'a');
  EXPECT_EQ(host[4], 'b');
  EXPECT_EQ(host[5], 2003);
  EXPECT_EQ(host[6], 6);
  int value = 0;
  OK(cudaMemcpyFromSymbol(&value, shared_counter, 4));
  EXPECT_EQ(value, 6);
  OK(cudaFree(out));
  return finish();
}
