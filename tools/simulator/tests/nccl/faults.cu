// Programs that use NCCL wrongly: faults CASE. What each must lead to is in nccl_test.py. Two ranks are threads of this process
// unless the case says otherwise.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <map>
#include <string>

#include "ranks.h"

namespace {

using Body = std::function<void(int rank, ncclComm_t comm, float* data, cudaStream_t stream)>;

constexpr std::size_t kCount = 1 << 12;

/// Both ranks do what `body` says, then wait for their streams and tell what came of it.
void two_ranks(const Body& body) {
  ncclUniqueId id;
  NCCL(ncclGetUniqueId(&id));
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      OK(cudaSetDevice(r));
      ncclComm_t comm = nullptr;
      NCCL(ncclCommInitRank(&comm, 2, id, r));
      cudaStream_t stream;
      OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
      float* data = upload(std::vector<float>(kCount, static_cast<float>(r)));
      body(r, comm, data, stream);
      const cudaError_t error = cudaStreamSynchronize(stream);
      ncclResult_t state = ncclSuccess;
      NCCL(ncclCommGetAsyncError(comm, &state));
      std::printf("rank %d: %s, %s\n", r, cudaGetErrorName(error), ncclGetErrorString(state));
      std::fflush(stdout);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// So that the calls that follow do not wait on the host.
void connect(int rank, ncclComm_t comm, float* data, cudaStream_t stream) {
  NCCL(ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, comm, stream));
  NCCL(ncclGroupStart());
  NCCL(ncclSend(data, 0, ncclFloat32, 1 - rank, comm, stream));
  NCCL(ncclRecv(data, 0, ncclFloat32, 1 - rank, comm, stream));
  NCCL(ncclGroupEnd());
}

__global__ void write(float* data, std::size_t count) {
  const std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
  if (i < count) data[i] = 1;
}

__global__ void increase(float* data, std::size_t count) {
  const std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
  if (i < count) data[i] += 1;
}

/// Rank 1 is a child process that is killed; it takes part in one collective and not in the second.
void peer_dies(bool aborts) {
  ncclUniqueId id;
  int pipes[2];
  if (pipe(pipes) != 0) return;
  const pid_t child = fork();
  if (child == 0 && read(pipes[0], &id, sizeof id) != sizeof id) _exit(1);
  const int rank = child == 0 ? 1 : 0;
  if (rank == 0) {
    NCCL(ncclGetUniqueId(&id));
    if (::write(pipes[1], &id, sizeof id) != sizeof id) return;
  }
  OK(cudaSetDevice(rank));
  ncclComm_t comm = nullptr;
  NCCL(ncclCommInitRank(&comm, 2, id, rank));
  float* data = upload(std::vector<float>(kCount, 1));
  NCCL(ncclAllReduce(data, data, kCount, ncclFloat32, ncclSum, comm, 0));
  OK(cudaDeviceSynchronize());
  if (rank == 1) kill(getpid(), SIGKILL);
  NCCL(ncclAllReduce(data, data, kCount, ncclFloat32, ncclSum, comm, 0));
  ncclResult_t state = ncclSuccess;
  if (aborts) {
    cudaStreamQuery(0);
    while (state == ncclSuccess) NCCL(ncclCommGetAsyncError(comm, &state));
    NCCL(ncclCommAbort(comm));
  }
  const cudaError_t error = cudaDeviceSynchronize();
  if (!aborts) NCCL(ncclCommGetAsyncError(comm, &state));
  std::printf("rank 0: %s, %s\n", cudaGetErrorName(error), ncclGetErrorString(state));
  waitpid(child, nullptr, 0);
}

#define CALL(...) [](int r, ncclComm_t comm, float* data, cudaStream_t stream) { __VA_ARGS__; }

const std::map<std::string, std::function<void()>> kCases = {
    {"count", [] { two_ranks(CALL(ncclAllReduce(data, data, 16 + r, ncclFloat32, ncclSum, comm, stream))); }},
    {"type", [] { two_ranks(CALL(ncclAllReduce(data, data, 16, r == 0 ? ncclFloat32 : ncclInt32, ncclSum, comm, stream))); }},
    {"operator", [] { two_ranks(CALL(ncclAllReduce(data, data, 16, ncclFloat32, r == 0 ? ncclSum : ncclMax, comm, stream))); }},
    {"root", [] { two_ranks(CALL(ncclBroadcast(data, data, 16, ncclFloat32, r, comm, stream))); }},
    {"order",
     [] {
       two_ranks(CALL(
           if (r == 0) {
             ncclAllReduce(data, data, 16, ncclFloat32, ncclSum, comm, stream);
             ncclBroadcast(data, data, 16, ncclFloat32, 0, comm, stream);
           } else {
             ncclBroadcast(data, data, 16, ncclFloat32, 0, comm, stream);
             ncclAllReduce(data, data, 16, ncclFloat32, ncclSum, comm, stream);
           }));
     }},
    {"transfer",
     [] {
       two_ranks(CALL(
           if (r == 0) { ncclSend(data, 16, ncclFloat32, 1, comm, stream); } else {
             ncclRecv(data, 15, ncclFloat32, 0, comm, stream);
           }));
     }},
    {"absent",
     [] {
       two_ranks(CALL(connect(r, comm, data, stream);
                      if (r == 0) ncclAllReduce(data, data, 16, ncclFloat32, ncclSum, comm, stream);));
     }},
    // Both send first: nobody receives.
    {"crossed",
     [] {
       two_ranks(CALL(connect(r, comm, data, stream); ncclSend(data, 16, ncclFloat32, 1 - r, comm, stream);
                      ncclRecv(data + 16, 16, ncclFloat32, 1 - r, comm, stream)));
     }},
    {"transfer and collective",
     [] {
       two_ranks(CALL(
           connect(r, comm, data, stream); if (r == 0) { ncclSend(data, 16, ncclFloat32, 1, comm, stream); } else {
             ncclAllReduce(data, data, 16, ncclFloat32, ncclSum, comm, stream);
           }));
     }},
    // The same stream, two communicators, in different orders.
    {"two communicators",
     [] {
       ncclUniqueId id;
       NCCL(ncclGetUniqueId(&id));
       two_ranks([&](int r, ncclComm_t comm, float* data, cudaStream_t stream) {
         ncclComm_t second = nullptr;
         NCCL(ncclCommInitRank(&second, 2, id, r));
         connect(r, comm, data, stream);
         connect(r, second, data, stream);
         for (int i = 0; i < 2; ++i) NCCL(ncclAllReduce(data, data, 16, ncclFloat32, ncclSum, i == r ? comm : second, stream));
       });
     }},
    // One thread and two devices without a group.
    {"no group in init",
     [] {
       ncclUniqueId id;
       NCCL(ncclGetUniqueId(&id));
       ncclComm_t comms[2];
       for (int r = 0; r < 2; ++r) {
         OK(cudaSetDevice(r));
         NCCL(ncclCommInitRank(&comms[r], 2, id, r));
       }
     }},
    {"no group",
     [] {
       ncclComm_t comms[2];
       NCCL(ncclCommInitAll(comms, 2, nullptr));
       for (int r = 0; r < 2; ++r) {
         OK(cudaSetDevice(r));
         float* data = upload(std::vector<float>(16, 1));
         NCCL(ncclAllReduce(data, data, 16, ncclFloat32, ncclSum, comms[r], 0));
       }
     }},
    {"peer dies", [] { peer_dies(false); }},
    {"peer dies, abort", [] { peer_dies(true); }},
    {"exit",
     [] {
       on_ranks(2, [](int r, ncclComm_t comm) {
         float* data = upload(std::vector<float>(16, 1));
         connect(r, comm, data, 0);
         OK(cudaDeviceSynchronize());
         static std::atomic<int> ready{0};
         if (r == 0) NCCL(ncclAllReduce(data, data, 16, ncclFloat32, ncclSum, comm, 0));
         if (r == 0) cudaStreamQuery(0);
         ++ready;
         while (r == 0 || ready < 2) usleep(1000);
         std::printf("leaving\n");
         std::exit(5);
       });
     }},
    {"graph after destroy",
     [] {
       ncclComm_t comm;
       NCCL(ncclCommInitAll(&comm, 1, nullptr));
       cudaStream_t stream;
       OK(cudaStreamCreate(&stream));
       float* data = upload(std::vector<float>(16, 1));
       cudaGraph_t graph;
       cudaGraphExec_t executable;
       OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
       NCCL(ncclAllReduce(data, data, 16, ncclFloat32, ncclSum, comm, stream));
       OK(cudaStreamEndCapture(stream, &graph));
       OK(cudaGraphInstantiate(&executable, graph, 0));
       NCCL(ncclCommDestroy(comm));
       OK(cudaGraphLaunch(executable, stream));
       std::printf("%s\n", cudaGetErrorName(cudaStreamSynchronize(stream)));
     }},
    {"too long",
     [] { two_ranks(CALL(ncclAllReduce(data, data, kCount + (r == 0 ? 1 : 1), ncclFloat32, ncclSum, comm, stream))); }},
    {"host memory",
     [] {
       static float memory[2][16];
       two_ranks(CALL((void)data; ncclAllReduce(memory[r], memory[r], 16, ncclFloat32, ncclSum, comm, stream)));
     }},
    {"uninitialized",
     [] {
       two_ranks([](int, ncclComm_t comm, float*, cudaStream_t stream) {
         float* fresh = nullptr;
         OK(cudaMalloc(&fresh, 64));
         NCCL(ncclAllReduce(fresh, fresh, 16, ncclFloat32, ncclSum, comm, stream));
       });
     }},
    // A kernel in another stream, without an event between them.
    {"race",
     [] {
       two_ranks(CALL(NCCL(ncclAllReduce(data, data, kCount, ncclFloat32, ncclSum, comm, stream));
                      write<<<kCount / 128, 128, 0, cudaStreamPerThread>>>(data, kCount);
                      OK(cudaStreamSynchronize(cudaStreamPerThread)); (void)r));
     }},
    {"in order",
     [] {
       two_ranks(CALL(write<<<kCount / 128, 128, 0, stream>>>(data, kCount);
                      NCCL(ncclAllReduce(data, data, kCount, ncclFloat32, ncclSum, comm, stream));
                      write<<<kCount / 128, 128, 0, stream>>>(data, kCount); (void)r));
     }},
    // The root of a broadcast does not wait for the others.
    {"no barrier",
     [] {
       static std::atomic<float*> of_root{nullptr};
       static std::atomic<int> ready{0};
       two_ranks(CALL(if (r == 0) of_root = data; if (r == 1) OK(cudaDeviceEnablePeerAccess(0, 0));
                      float* const token = upload(std::vector<float>(4, 0)); ++ready;
                      while (ready < 2) std::this_thread::yield();
                      if (r == 1) write<<<kCount / 128, 128, 0, stream>>>(of_root, kCount);
                      NCCL(ncclBroadcast(token, token, 4, ncclFloat32, 0, comm, stream));
                      if (r == 0) increase<<<kCount / 128, 128, 0, stream>>>(data, kCount)));
     }},
    {"not simulated",
     [] {
       ncclSimInfo_t info = NCCL_SIM_INFO_INITIALIZER;
       ncclGroupStart();
       ncclGroupSimulateEnd(&info);
     }},
};

}  // namespace

int main(int argc, char** argv) {
  const auto found = kCases.find(argc > 1 ? argv[1] : "");
  if (found == kCases.end()) {
    for (const auto& [name, body] : kCases) std::printf("%s\n", name.c_str());
    return 64;
  }
  found->second();
  return verdict();
}
