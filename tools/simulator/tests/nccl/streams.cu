// Ranks are threads. Communications take their place in streams and in graphs: kernels before and after them, several streams,
// several communicators, replays, many small operations, a large one.
#include <atomic>
#include <chrono>

#include "ranks.h"

namespace {

__global__ void fill(float* data, std::size_t count, float value) {
  const std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
  if (i < count) data[i] = value + static_cast<float>(i % 16);
}

__global__ void scale(float* data, std::size_t count, const float* factor) {
  const std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
  if (i < count) data[i] *= *factor;
}

__global__ void add_one(float* value) { *value += 1; }

unsigned blocks(std::size_t count) { return static_cast<unsigned>((count + 255) / 256); }

// A kernel writes, the ranks add, a kernel reads; nothing but the stream orders them.
void kernels_before_and_after(int ranks) {
  on_ranks(ranks, [&](int r, ncclComm_t comm) {
    constexpr std::size_t kCount = 5000;
    cudaStream_t stream;
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    float* data = upload(std::vector<float>(kCount, -1));
    float* factor = upload(std::vector<float>{2});
    for (int step = 0; step < 10; ++step) {
      fill<<<blocks(kCount), 256, 0, stream>>>(data, kCount, static_cast<float>(r + step));
      NCCL(ncclAllReduce(data, data, kCount, ncclFloat32, ncclSum, comm, stream));
      scale<<<blocks(kCount), 256, 0, stream>>>(data, kCount, factor);
    }
    OK(cudaStreamSynchronize(stream));
    const std::vector<float> result = download(data, kCount);
    const float base = static_cast<float>(ranks * (ranks - 1) / 2 + ranks * 9);
    for (std::size_t i = 0; i < kCount; ++i)
      EXPECT_EQ(result[i], 2 * (base + static_cast<float>(ranks) * static_cast<float>(i % 16)));
    OK(cudaStreamDestroy(stream));
    OK(cudaFree(data));
    OK(cudaFree(factor));
  });
}

// What was captured communicates anew in every launch, with the data of then; launches and eager calls mix.
void graphs(int ranks) {
  on_ranks(ranks, [&](int r, ncclComm_t comm) {
    cudaStream_t stream;
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    float* value = upload(std::vector<float>{static_cast<float>(r)});
    float* sum = upload(std::vector<float>{0});
    float* from_left = upload(std::vector<float>{0});
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    add_one<<<1, 1, 0, stream>>>(value);
    NCCL(ncclAllReduce(value, sum, 1, ncclFloat32, ncclSum, comm, stream));
    add_one<<<1, 1, 0, stream>>>(sum);
    NCCL(ncclGroupStart());
    NCCL(ncclSend(value, 1, ncclFloat32, (r + 1) % ranks, comm, stream));
    NCCL(ncclRecv(from_left, 1, ncclFloat32, (r + ranks - 1) % ranks, comm, stream));
    NCCL(ncclGroupEnd());
    OK(cudaStreamEndCapture(stream, &graph));
    OK(cudaGraphInstantiate(&executable, graph, 0));
    // Nothing has happened yet.
    OK(cudaStreamSynchronize(stream));
    EXPECT_EQ(download(value, 1)[0], static_cast<float>(r));
    const float start = static_cast<float>(ranks * (ranks - 1) / 2);
    for (int launch = 1; launch <= 25; ++launch) {
      OK(cudaGraphLaunch(executable, stream));
      if (launch % 5 == 0) {
        NCCL(ncclAllReduce(value, sum, 1, ncclFloat32, ncclMax, comm, stream));
        OK(cudaStreamSynchronize(stream));
        EXPECT_EQ(download(sum, 1)[0], static_cast<float>(ranks - 1 + launch));
      } else if (launch % 5 == 1) {
        OK(cudaStreamSynchronize(stream));
        EXPECT_EQ(download(sum, 1)[0], start + static_cast<float>(ranks * launch + 1));
        EXPECT_EQ(download(from_left, 1)[0], static_cast<float>((r + ranks - 1) % ranks + launch));
      }
    }
    OK(cudaStreamSynchronize(stream));
    OK(cudaGraphExecDestroy(executable));
    OK(cudaGraphDestroy(graph));
    OK(cudaStreamDestroy(stream));
    for (float* memory : {value, sum, from_left}) OK(cudaFree(memory));
  });
}

// A capture that spreads over two streams, with the communication in the second.
void captured_side_stream(int ranks) {
  on_ranks(ranks, [&](int r, ncclComm_t comm) {
    cudaStream_t main, side;
    cudaEvent_t fork, join;
    OK(cudaStreamCreateWithFlags(&main, cudaStreamNonBlocking));
    OK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
    OK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
    OK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
    float* a = upload(std::vector<float>{static_cast<float>(r)});
    float* b = upload(std::vector<float>{static_cast<float>(10 * r)});
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    OK(cudaStreamBeginCapture(main, cudaStreamCaptureModeThreadLocal));
    add_one<<<1, 1, 0, main>>>(a);
    OK(cudaEventRecord(fork, main));
    OK(cudaStreamWaitEvent(side, fork, 0));
    NCCL(ncclAllReduce(a, a, 1, ncclFloat32, ncclMax, comm, side));
    NCCL(ncclAllReduce(b, b, 1, ncclFloat32, ncclMin, comm, main));
    OK(cudaEventRecord(join, side));
    OK(cudaStreamWaitEvent(main, join, 0));
    add_one<<<1, 1, 0, main>>>(a);
    OK(cudaStreamEndCapture(main, &graph));
    OK(cudaGraphInstantiate(&executable, graph, 0));
    for (int launch = 0; launch < 3; ++launch) OK(cudaGraphLaunch(executable, main));
    OK(cudaStreamSynchronize(main));
    EXPECT_EQ(download(a, 1)[0], static_cast<float>(ranks - 1 + 6));
    EXPECT_EQ(download(b, 1)[0], 0.f);
    OK(cudaGraphExecDestroy(executable));
    OK(cudaGraphDestroy(graph));
    for (cudaEvent_t event : {fork, join}) OK(cudaEventDestroy(event));
    for (cudaStream_t stream : {main, side}) OK(cudaStreamDestroy(stream));
    OK(cudaFree(a));
    OK(cudaFree(b));
  });
}

// Streams of one group wait for each other; communications of one communicator keep their order whatever their streams.
void several_streams(int ranks) {
  on_ranks(ranks, [&](int r, ncclComm_t comm) {
    cudaStream_t streams[2];
    for (cudaStream_t& stream : streams) OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    constexpr std::size_t kCount = 3000;
    float* a = upload(std::vector<float>(kCount, 0));
    float* b = upload(std::vector<float>(kCount, 0));
    float* factor = upload(std::vector<float>{2});
    fill<<<blocks(kCount), 256, 0, streams[1]>>>(b, kCount, static_cast<float>(r));
    fill<<<blocks(kCount), 256, 0, streams[0]>>>(a, kCount, static_cast<float>(r));
    NCCL(ncclGroupStart());
    NCCL(ncclAllReduce(a, a, kCount, ncclFloat32, ncclSum, comm, streams[0]));
    NCCL(ncclBroadcast(b, b, kCount, ncclFloat32, ranks - 1, comm, streams[1]));
    NCCL(ncclGroupEnd());
    // The streams of a group are joined before and after it.
    scale<<<blocks(kCount), 256, 0, streams[1]>>>(b, kCount, factor);
    scale<<<blocks(kCount), 256, 0, streams[0]>>>(a, kCount, factor);
    NCCL(ncclAllReduce(b, b, kCount, ncclFloat32, ncclSum, comm, streams[1]));
    // One communication after the other, although their streams have nothing to do with each other.
    NCCL(ncclAllReduce(a, a, kCount, ncclFloat32, ncclSum, comm, streams[0]));
    NCCL(ncclAllReduce(a, a, kCount, ncclFloat32, ncclAvg, comm, streams[1]));
    for (cudaStream_t stream : streams) OK(cudaStreamSynchronize(stream));
    const float sum = static_cast<float>(ranks * (ranks - 1) / 2);
    EXPECT_EQ(download(a, kCount)[17], static_cast<float>(ranks) * 2 * (sum + static_cast<float>(ranks)));
    EXPECT_EQ(download(b, kCount)[17], static_cast<float>(ranks) * 2 * static_cast<float>(ranks - 1 + 1));
    OK(cudaFree(factor));
    for (cudaStream_t stream : streams) OK(cudaStreamDestroy(stream));
    OK(cudaFree(a));
    OK(cudaFree(b));
  });
}

// Two communicators over the same devices, each with its own stream: one may wait while the other works.
void two_communicators(int ranks) {
  ncclUniqueId ids[2];
  for (ncclUniqueId& id : ids) NCCL(ncclGetUniqueId(&id));
  std::atomic<bool> second_done{false};
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      OK(cudaSetDevice(r));
      ncclComm_t comms[2];
      cudaStream_t streams[2];
      float* data[2];
      for (int i = 0; i < 2; ++i) {
        NCCL(ncclCommInitRank(&comms[i], ranks, ids[i], r));
        OK(cudaStreamCreateWithFlags(&streams[i], cudaStreamNonBlocking));
        data[i] = upload(std::vector<float>{1});
        // So that the host does not wait below.
        NCCL(ncclAllReduce(data[i], data[i], 1, ncclFloat32, ncclMax, comms[i], streams[i]));
      }
      // The last rank joins the first communicator's operation only when the second's is done everywhere.
      if (r != ranks - 1) NCCL(ncclAllReduce(data[0], data[0], 1, ncclFloat32, ncclSum, comms[0], streams[0]));
      NCCL(ncclAllReduce(data[1], data[1], 1, ncclFloat32, ncclSum, comms[1], streams[1]));
      OK(cudaStreamSynchronize(streams[1]));
      if (r != ranks - 1) EXPECT_ERROR(cudaErrorNotReady, second_done ? cudaErrorNotReady : cudaStreamQuery(streams[0]));
      if (r == ranks - 1) {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        second_done = true;
        NCCL(ncclAllReduce(data[0], data[0], 1, ncclFloat32, ncclSum, comms[0], streams[0]));
      }
      OK(cudaStreamSynchronize(streams[0]));
      for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(download(data[i], 1)[0], static_cast<float>(ranks));
        NCCL(ncclCommDestroy(comms[i]));
        OK(cudaStreamDestroy(streams[i]));
        OK(cudaFree(data[i]));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Transfers in one group progress by themselves: rank 0's to rank 2 ends although rank 1 takes its part of the group only
// later.
void transfers_are_independent() {
  on_ranks(3, [&](int r, ncclComm_t comm) {
    float* data = upload(std::vector<float>{static_cast<float>(r), static_cast<float>(r)});
    // Connects; otherwise the host would wait.
    NCCL(ncclGroupStart());
    for (int p = 0; p < 3; ++p) {
      NCCL(ncclSend(data, 0, ncclFloat32, p, comm, 0));
      NCCL(ncclRecv(data, 0, ncclFloat32, p, comm, 0));
    }
    NCCL(ncclGroupEnd());
    OK(cudaDeviceSynchronize());
    if (r == 0) {
      NCCL(ncclGroupStart());
      NCCL(ncclSend(data, 1, ncclFloat32, 1, comm, 0));
      NCCL(ncclSend(data + 1, 1, ncclFloat32, 2, comm, 0));
      NCCL(ncclGroupEnd());
    } else if (r == 2) {
      NCCL(ncclRecv(data, 1, ncclFloat32, 0, comm, 0));
      OK(cudaStreamSynchronize(0));
      NCCL(ncclSend(data, 1, ncclFloat32, 1, comm, 0));
    } else {
      NCCL(ncclRecv(data, 1, ncclFloat32, 2, comm, 0));
      OK(cudaStreamSynchronize(0));
      NCCL(ncclRecv(data + 1, 1, ncclFloat32, 0, comm, 0));
    }
    OK(cudaDeviceSynchronize());
    if (r != 0) EXPECT_EQ(download(data, 1)[0], 0.f);
    OK(cudaFree(data));
  });
}

// Nothing but the collective orders a kernel that writes to a peer's memory and the peer's kernel that reads it: an all-reduce
// is a barrier, and what came before a broadcast of the root is over when it has arrived.
void collectives_order(bool barrier) {
  std::vector<float*> data(2);
  std::atomic<int> ready{0};
  on_ranks(2, [&](int r, ncclComm_t comm) {
    constexpr std::size_t kCount = 1000;
    cudaStream_t stream;
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    OK(cudaDeviceEnablePeerAccess(1 - r, 0));
    data[r] = upload(std::vector<float>(kCount, -1));
    float* token = upload(std::vector<float>{1});
    float* factor = upload(std::vector<float>{2});
    ++ready;
    while (ready < 2) std::this_thread::yield();
    for (int step = 0; step < 3; ++step) {
      if (r == 0 || barrier) fill<<<blocks(kCount), 256, 0, stream>>>(data[1 - r], kCount, static_cast<float>(step));
      if (barrier) {
        NCCL(ncclAllReduce(token, token, 1, ncclFloat32, ncclMax, comm, stream));
      } else {
        NCCL(ncclBroadcast(token, token, 1, ncclFloat32, 0, comm, stream));
      }
      if (r == 1 || barrier) scale<<<blocks(kCount), 256, 0, stream>>>(data[r], kCount, factor);
      NCCL(ncclAllReduce(token, token, 1, ncclFloat32, ncclMax, comm, stream));
    }
    OK(cudaStreamSynchronize(stream));
    if (r == 1 || barrier) EXPECT_EQ(download(data[r], kCount)[17], 2 * (2 + 1.f));
    ++ready;
    while (ready < 4) std::this_thread::yield();
    OK(cudaDeviceDisablePeerAccess(1 - r));
    for (float* memory : {data[r], token, factor}) OK(cudaFree(memory));
    OK(cudaStreamDestroy(stream));
  });
}

// The same between a send and its receive, in a graph.
void transfers_order() {
  float* data = nullptr;
  std::atomic<int> ready{0};
  on_ranks(2, [&](int r, ncclComm_t comm) {
    constexpr std::size_t kCount = 1000;
    cudaStream_t stream;
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    if (r == 0) OK(cudaDeviceEnablePeerAccess(1, 0));
    if (r == 1) data = upload(std::vector<float>(kCount, -1));
    float* token = upload(std::vector<float>{1});
    float* factor = upload(std::vector<float>{2});
    ++ready;
    while (ready < 2) std::this_thread::yield();
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    if (r == 0) {
      fill<<<blocks(kCount), 256, 0, stream>>>(data, kCount, 5);
      NCCL(ncclSend(token, 1, ncclFloat32, 1, comm, stream));
    } else {
      NCCL(ncclRecv(token, 1, ncclFloat32, 0, comm, stream));
      scale<<<blocks(kCount), 256, 0, stream>>>(data, kCount, factor);
    }
    OK(cudaStreamEndCapture(stream, &graph));
    OK(cudaGraphInstantiate(&executable, graph, 0));
    OK(cudaGraphLaunch(executable, stream));
    OK(cudaStreamSynchronize(stream));
    if (r == 1) EXPECT_EQ(download(data, kCount)[17], 2 * (5 + 1.f));
    ++ready;
    while (ready < 4) std::this_thread::yield();
    OK(cudaGraphExecDestroy(executable));
    OK(cudaGraphDestroy(graph));
    if (r == 0) OK(cudaDeviceDisablePeerAccess(1));
    if (r == 1) OK(cudaFree(data));
    OK(cudaFree(token));
    OK(cudaFree(factor));
    OK(cudaStreamDestroy(stream));
  });
}

void large(int ranks) {
  on_ranks(ranks, [&](int r, ncclComm_t comm) {
    constexpr std::size_t kCount = std::size_t{16} << 20;  // 64 MiB
    const std::vector<float> mine(kCount, static_cast<float>(r + 1));
    float* data = upload(mine);
    NCCL(ncclAllReduce(data, data, kCount, ncclFloat32, ncclSum, comm, 0));
    OK(cudaDeviceSynchronize());
    const std::vector<float> result = download(data, kCount);
    std::size_t wrong = 0;
    for (const float x : result) wrong += x != static_cast<float>(ranks * (ranks + 1) / 2);
    EXPECT_EQ(wrong, 0u);
    OK(cudaFree(data));
  });
}

}  // namespace

int main() {
  for (const int ranks : {1, 2, 4, 8}) {
    kernels_before_and_after(ranks);
    graphs(ranks);
    captured_side_stream(ranks);
    several_streams(ranks);
    if (ranks > 1) two_communicators(ranks);
  }
  transfers_are_independent();
  collectives_order(true);
  collectives_order(false);
  transfers_order();
  large(2);
  large(8);
  return verdict();
}
