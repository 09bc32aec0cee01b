// Kernels whose counters can be worked out by hand: profile_test.py has the expectations and how they come about.
#include <cstdint>
#include <cstdio>

#define CHECK(call)                                              \
  do {                                                           \
    if (cudaError_t error = (call); error != cudaSuccess) {      \
      std::printf("%s: %s\n", #call, cudaGetErrorString(error)); \
      return 1;                                                  \
    }                                                            \
  } while (0)

__device__ int thread() { return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }

__global__ void coalesced(const float* x, float* y) { y[thread()] = x[thread()]; }
__global__ void strided2(const float* x, float* y) { y[thread()] = x[2 * thread()]; }
__global__ void strided32(const float* x, float* y) { y[thread()] = x[32 * thread()]; }
__global__ void shifted(const float* x, float* y) { y[thread()] = x[thread() + 1]; }
__global__ void vector4(const float4* x, float4* y) { y[thread()] = x[thread()]; }
__global__ void doubles(const double* x, double* y) { y[thread()] = x[thread()]; }
__global__ void bytes(const std::uint8_t* x, std::uint8_t* y) { y[thread()] = x[thread()]; }
__global__ void broadcast(const float* x, float* y) { y[thread()] = x[blockIdx.x]; }

__global__ void transpose_naive(const float* x, float* y) {
  y[threadIdx.x * 32 + threadIdx.y] = x[threadIdx.y * 32 + threadIdx.x];
}

template <int pitch>
__device__ void transpose_tile(const float* x, float* y) {
  __shared__ float tile[32 * pitch];
  tile[threadIdx.y * pitch + threadIdx.x] = x[threadIdx.y * 32 + threadIdx.x];
  __syncthreads();
  y[threadIdx.y * 32 + threadIdx.x] = tile[threadIdx.x * pitch + threadIdx.y];
}
__global__ void transpose_shared(const float* x, float* y) { transpose_tile<32>(x, y); }
__global__ void transpose_padded(const float* x, float* y) { transpose_tile<33>(x, y); }

__global__ void reduce_shared(const float* x, float* y) {
  __shared__ float partial[256];
  partial[threadIdx.x] = x[thread()];
  __syncthreads();
#pragma unroll 1
  for (int half = 128; half > 0; half /= 2) {
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) y[blockIdx.x] = partial[0];
}

__global__ void reduce_shuffle(const float* x, float* y) {
  float sum = x[thread()];
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  if (threadIdx.x % 32 == 0) y[thread() / 32] = sum;
}

__global__ void count_all(int* y) { atomicAdd(y, 1); }
__global__ void count_lanes(int* y) { atomicAdd(y + threadIdx.x % 32, 1); }

__global__ void count_shared(int* y) {
  __shared__ int count;
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  atomicAdd(&count, 1);
  __syncthreads();
  if (threadIdx.x == 0) y[blockIdx.x] = atomicExch(y + gridDim.x + blockIdx.x, count);
}

__global__ void shared_stride2(float* y) {
  __shared__ float tile[512];
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  tile[threadIdx.x + 256] = 0;
  __syncthreads();
  y[thread()] = tile[2 * threadIdx.x];
}

__global__ void shared_vector4(float4* y) {
  __shared__ float4 tile[256];
  tile[threadIdx.x] = make_float4(1, 2, 3, static_cast<float>(threadIdx.x));
  __syncthreads();
  y[thread()] = tile[255 - threadIdx.x];
}

__global__ void divergent(const int* x, int* y) {
  int value = x[thread()];
  if (value % 2 == 0) {
#pragma unroll 1
    for (int n = 0; n < 3; ++n) value = value * 3 + n;
  }
  y[thread()] = value;
}

__global__ void polynomial(const float* x, float* y) {
  float value = x[thread()], sum = 1;
#pragma unroll
  for (int n = 0; n < 10; ++n) sum = fmaf(sum, value, 1.0f);
  y[thread()] = sum;
}

// 16 bytes a lane from global to shared memory, without a register between.
__global__ void async_copy(const float4* x, float4* y) {
  __shared__ float4 tile[256];
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(&tile[threadIdx.x]));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(x + thread()) : "memory");
  asm volatile("cp.async.wait_all;" ::: "memory");
  y[thread()] = tile[threadIdx.x];
}

__global__ void tensor_tile(const unsigned* a, const unsigned* b, float* d) {
  float c[4] = {0, 0, 0, 0};
  for (int k = 0; k < 4; ++k) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[threadIdx.x]), "r"(a[threadIdx.x]), "r"(a[threadIdx.x]), "r"(a[threadIdx.x]), "r"(b[threadIdx.x]),
                   "r"(b[threadIdx.x]));
  }
  d[threadIdx.x] = c[0] + c[1] + c[2] + c[3];
}

int main() {
  void *x = nullptr, *y = nullptr;
  constexpr int kBytes = 256 * 1024;
  CHECK(cudaMalloc(&x, kBytes));
  CHECK(cudaMalloc(&y, kBytes));
  CHECK(cudaMemset(x, 0, kBytes));
  CHECK(cudaMemset(y, 0, kBytes));
  const dim3 tile(32, 32);
  auto* fx = static_cast<float*>(x);
  auto* fy = static_cast<float*>(y);
  coalesced<<<4, 256>>>(fx, fy);
  strided2<<<4, 256>>>(fx, fy);
  strided32<<<4, 256>>>(fx, fy);
  shifted<<<4, 256>>>(fx, fy);
  vector4<<<4, 256>>>(static_cast<float4*>(x), static_cast<float4*>(y));
  doubles<<<4, 256>>>(static_cast<double*>(x), static_cast<double*>(y));
  bytes<<<4, 256>>>(static_cast<std::uint8_t*>(x), static_cast<std::uint8_t*>(y));
  broadcast<<<4, 256>>>(fx, fy);
  transpose_naive<<<1, tile>>>(fx, fy);
  transpose_shared<<<1, tile>>>(fx, fy);
  transpose_padded<<<1, tile>>>(fx, fy);
  reduce_shared<<<4, 256>>>(fx, fy);
  reduce_shuffle<<<4, 256>>>(fx, fy);
  count_all<<<4, 256>>>(static_cast<int*>(y));
  count_lanes<<<4, 256>>>(static_cast<int*>(y));
  count_shared<<<4, 256>>>(static_cast<int*>(y));
  shared_stride2<<<4, 256>>>(fy);
  shared_vector4<<<4, 256>>>(static_cast<float4*>(y));
  int lanes[1024];
  for (int n = 0; n < 1024; ++n) lanes[n] = n;
  CHECK(cudaMemcpy(x, lanes, sizeof(lanes), cudaMemcpyHostToDevice));
  divergent<<<4, 256>>>(static_cast<int*>(x), static_cast<int*>(y));
  CHECK(cudaMemset(x, 0, kBytes));
  polynomial<<<4, 256>>>(fx, fy);
  async_copy<<<4, 256>>>(static_cast<float4*>(x), static_cast<float4*>(y));
  tensor_tile<<<1, 32>>>(static_cast<unsigned*>(x), static_cast<unsigned*>(x), fy);
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaFree(x));
  CHECK(cudaFree(y));
}
