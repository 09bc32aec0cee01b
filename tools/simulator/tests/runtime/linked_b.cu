#include <cuda_runtime.h>

__device__ int shared_counter = 5;
__constant__ int shared_constant[3] = {10, 20, 30};
__device__ int twice(int x) { return 2 * x; }
__device__ const char* word_of_b() { return "word of b"; }
template <class T>
__device__ T both(T x) {
  return x + 1;
}
static __device__ int local_name(int x) { return x + 2000; }

__global__ void kernel_of_b(int* out) {
  out[5] = local_name(both(2));
  out[6] = ++shared_counter;
}

void launch_b(int* out) { kernel_of_b<<<1, 1>>>(out); }
