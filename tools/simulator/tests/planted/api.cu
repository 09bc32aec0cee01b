#include "planted.h"

// Misuse of the API that the device would notice late or never.
namespace planted {
namespace {

__global__ void set(int* x, int value) { x[threadIdx.x] = value; }

void freed_twice(bool fixed) {
  int* x = device_array<int>(32);
  cudaFree(x);
  if (!fixed) cudaFree(x);
}

void freed_inside(bool fixed) {
  int* x = device_array<int>(32);
  if (!fixed) cudaFree(x + 4);
  cudaFree(x);
}

void copy_too_long(bool fixed) {
  int* x = device_array<int>(32);
  int host[64] = {};
  cudaMemcpy(x, host, fixed ? 128 : 256, cudaMemcpyHostToDevice);
  cudaFree(x);
}

void memset_too_long(bool fixed) {
  int* x = device_array<int>(32, false);
  cudaMemset(x, 0, fixed ? 128 : 132);
  cudaFree(x);
}

void copy_after_free(bool fixed) {
  int* x = device_array<int>(32);
  int host[32] = {};
  if (!fixed) cudaFree(x);
  cudaMemcpy(x, host, 128, cudaMemcpyHostToDevice);
  if (fixed) cudaFree(x);
}

// The kernel reads pinned memory that the host has changed meanwhile.
void host_writes_too_early(bool fixed) {
  int* host = nullptr;
  cudaMallocHost(&host, 128);
  int* x = device_array<int>(32);
  cudaStream_t stream{};
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  for (int n = 0; n < 32; ++n) host[n] = n;
  cudaDeviceSynchronize();
  cudaMemcpyAsync(x, host, 128, cudaMemcpyHostToDevice, stream);
  if (fixed) cudaStreamSynchronize(stream);
  cudaMemset(host, 0, 128);
  cudaStreamSynchronize(stream);
  cudaStreamDestroy(stream);
  cudaFree(x);
  cudaFreeHost(host);
}

// A buffer of a captured graph is freed, and then the graph runs.
void freed_after_capture(bool fixed) {
  int* x = device_array<int>(32);
  cudaStream_t stream{};
  cudaStreamCreate(&stream);
  cudaGraph_t graph{};
  cudaGraphExec_t executable{};
  cudaDeviceSynchronize();
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
  set<<<1, 32, 0, stream>>>(x, 1);
  cudaStreamEndCapture(stream, &graph);
  cudaGraphInstantiate(&executable, graph, 0);
  if (!fixed) cudaFree(x);
  cudaGraphLaunch(executable, stream);
  cudaStreamSynchronize(stream);
  if (fixed) cudaFree(x);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

// Replays overwrite what another stream still reads.
void replay_beside_reader(bool fixed) {
  int* x = device_array<int>(32);
  cudaStream_t stream{}, other{};
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  cudaGraph_t graph{};
  cudaGraphExec_t executable{};
  cudaDeviceSynchronize();
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
  set<<<1, 32, 0, stream>>>(x, 1);
  cudaStreamEndCapture(stream, &graph);
  cudaGraphInstantiate(&executable, graph, 0);
  set<<<1, 32, 0, other>>>(x, 2);
  if (fixed) cudaStreamSynchronize(other);
  cudaGraphLaunch(executable, stream);
  cudaDeviceSynchronize();
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
  cudaStreamDestroy(other);
  cudaFree(x);
}

}  // namespace

std::vector<Case> api_cases() {
  return {{"freed_twice", "double free", freed_twice},
          {"freed_inside", "invalid free", freed_inside},
          {"copy_too_long", "out-of-bounds access", copy_too_long},
          {"memset_too_long", "out-of-bounds access", memset_too_long},
          {"copy_after_free", "use after free", copy_after_free},
          {"host_writes_too_early", "race between streams", host_writes_too_early},
          {"freed_after_capture", "use after free", freed_after_capture},
          {"replay_beside_reader", "race between streams", replay_beside_reader}};
}

}  // namespace planted
