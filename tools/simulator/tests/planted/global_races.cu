#include "planted.h"

// racecheck: blocks of one launch, and operations of different streams.
namespace planted {
namespace {

__global__ void neighbours(int* x, int* y, bool fixed) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  x[i] = i;
  y[i] = fixed ? x[i] : x[(i + 64) % 256];
}
void blocks_read_each_other(bool fixed) {
  int* x = device_array<int>(256);
  int* y = device_array<int>(256);
  neighbours<<<4, 64>>>(x, y, fixed);
  cudaDeviceSynchronize();
  cudaFree(x);
  cudaFree(y);
}

__global__ void increment(int* count, bool fixed) {
  if (threadIdx.x != 0) return;
  if (fixed)
    atomicAdd(count, 1);
  else
    *count = *count + 1;
}
void blocks_count(bool fixed) {
  int* count = device_array<int>(1);
  increment<<<8, 32>>>(count, fixed);
  cudaDeviceSynchronize();
  cudaFree(count);
}

// The last block sums what the others left: only right when they published it with a fence before they counted themselves.
__global__ void last_block_sums(int* partial, int* count, int* sum, bool fixed) {
  __shared__ bool is_last;
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = static_cast<int>(blockIdx.x);
    if (fixed) __threadfence();
    is_last = atomicAdd(count, 1) == static_cast<int>(gridDim.x) - 1;
    if (fixed) __threadfence();
  }
  __syncthreads();
  if (!is_last || threadIdx.x != 0) return;
  int all = 0;
  for (int n = 0; n < static_cast<int>(gridDim.x); ++n) all += partial[n];
  *sum = all;
}
void missing_fence(bool fixed) {
  int* memory = device_array<int>(16);
  last_block_sums<<<8, 32>>>(memory, memory + 8, memory + 9, fixed);
  cudaDeviceSynchronize();
  cudaFree(memory);
}

// An atomic of block scope promises nothing to other blocks.
__global__ void count_in_block_scope(int* count, bool fixed) {
  if (fixed)
    atomicAdd(count, 1);
  else
    atomicAdd_block(count, 1);
}
void atomic_of_the_block(bool fixed) {
  int* count = device_array<int>(1);
  count_in_block_scope<<<8, 32>>>(count, fixed);
  cudaDeviceSynchronize();
  cudaFree(count);
}

__global__ void produce(int* x) { x[threadIdx.x] = static_cast<int>(threadIdx.x); }
__global__ void consume(const int* x, int* y) { y[threadIdx.x] = x[threadIdx.x]; }

struct TwoStreams {
  cudaStream_t first{}, second{};
  cudaEvent_t event{};
  int *x = nullptr, *y = nullptr;
  TwoStreams() {
    cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    x = device_array<int>(64);
    y = device_array<int>(64);
    cudaDeviceSynchronize();
  }
  ~TwoStreams() {
    cudaDeviceSynchronize();
    cudaFree(x);
    cudaFree(y);
    cudaEventDestroy(event);
    cudaStreamDestroy(first);
    cudaStreamDestroy(second);
  }
  void order() {
    cudaEventRecord(event, first);
    cudaStreamWaitEvent(second, event);
  }
};

void missing_event(bool fixed) {
  TwoStreams s;
  produce<<<1, 64, 0, s.first>>>(s.x);
  if (fixed) s.order();
  consume<<<1, 64, 0, s.second>>>(s.x, s.y);
}

// The event is there, and recorded before the work that it should stand for.
void event_too_early(bool fixed) {
  TwoStreams s;
  if (!fixed) s.order();
  produce<<<1, 64, 0, s.first>>>(s.x);
  if (fixed) s.order();
  consume<<<1, 64, 0, s.second>>>(s.x, s.y);
}

void overwritten_while_read(bool fixed) {
  TwoStreams s;
  consume<<<1, 64, 0, s.first>>>(s.x, s.y);
  if (fixed) s.order();
  produce<<<1, 64, 0, s.second>>>(s.x);
}

void copy_beside_kernel(bool fixed) {
  TwoStreams s;
  int* host = nullptr;
  cudaMallocHost(&host, 256);
  for (int n = 0; n < 64; ++n) host[n] = n;
  cudaMemcpyAsync(s.x, host, 256, cudaMemcpyHostToDevice, s.first);
  if (fixed) s.order();
  consume<<<1, 64, 0, s.second>>>(s.x, s.y);
  cudaDeviceSynchronize();
  cudaFreeHost(host);
}

void memset_beside_kernel(bool fixed) {
  TwoStreams s;
  cudaMemsetAsync(s.x, 0, 256, s.first);
  if (fixed) s.order();
  produce<<<1, 64, 0, s.second>>>(s.x);
}

// Memory that is there in the order of one stream, used by another.
void use_before_allocation(bool fixed) {
  TwoStreams s;
  int* x = nullptr;
  cudaMallocAsync(&x, 256, s.first);
  if (fixed) s.order();
  produce<<<1, 64, 0, s.second>>>(x);
  cudaStreamSynchronize(s.second);
  cudaFreeAsync(x, s.first);
}

}  // namespace

std::vector<Case> global_race_cases() {
  const char* const blocks = "race between thread blocks";
  const char* const streams = "race between streams";
  return {{"blocks_read_each_other", blocks, blocks_read_each_other},
          {"blocks_count", blocks, blocks_count},
          {"missing_fence", blocks, missing_fence},
          {"atomic_of_the_block", blocks, atomic_of_the_block},
          {"use_before_allocation", streams, use_before_allocation},
          {"missing_event", streams, missing_event},
          {"event_too_early", streams, event_too_early},
          {"overwritten_while_read", streams, overwritten_while_read},
          {"copy_beside_kernel", streams, copy_beside_kernel},
          {"memset_beside_kernel", streams, memset_beside_kernel}};
}

}  // namespace planted
