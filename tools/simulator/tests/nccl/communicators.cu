// Making and ending communicators: from threads, in groups, not blocking, split, shrunk, revoked, aborted; and calls that are
// wrong.
#include <chrono>
#include <numeric>

#include "ranks.h"

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

void settle(ncclComm_t comm, ncclResult_t expected = ncclSuccess) {
  ncclResult_t state = ncclInProgress;
  const auto end = steady_clock::now() + std::chrono::seconds(20);
  while (state == ncclInProgress && steady_clock::now() < end) {
    NCCL(ncclCommGetAsyncError(comm, &state));
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(static_cast<int>(state), static_cast<int>(expected));
}

void await_error(ncclComm_t comm, ncclResult_t expected) {
  ncclResult_t state = ncclSuccess;
  const auto end = steady_clock::now() + std::chrono::seconds(20);
  while (state == ncclSuccess && steady_clock::now() < end) NCCL(ncclCommGetAsyncError(comm, &state));
  EXPECT_EQ(static_cast<int>(state), static_cast<int>(expected));
}

/// The sum of 1 over the ranks is their number.
void check_works(ncclComm_t comm, int ranks) {
  int count = 0;
  NCCL(ncclCommCount(comm, &count));
  EXPECT_EQ(count, ranks);
  int device = 0;
  NCCL(ncclCommCuDevice(comm, &device));
  OK(cudaSetDevice(device));
  cudaStream_t stream;
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  int* one = upload(std::vector<int>{1});
  const ncclResult_t result = ncclAllReduce(one, one, 1, ncclInt32, ncclSum, comm, stream);
  if (result == ncclInProgress) {
    settle(comm);
  } else {
    EXPECT_EQ(static_cast<int>(result), static_cast<int>(ncclSuccess));
  }
  OK(cudaStreamSynchronize(stream));
  EXPECT_EQ(download(one, 1)[0], ranks);
  OK(cudaFree(one));
  OK(cudaStreamDestroy(stream));
}

void on_threads(int ranks, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) threads.emplace_back(body, r);
  for (std::thread& thread : threads) thread.join();
}

// One thread, all ranks, in a group; the devices in an order of their own.
void grouped() {
  ncclUniqueId id;
  NCCL(ncclGetUniqueId(&id));
  ncclComm_t comms[4];
  NCCL(ncclGroupStart());
  for (int r = 0; r < 4; ++r) {
    OK(cudaSetDevice(3 - r));
    NCCL(ncclCommInitRank(&comms[r], 4, id, r));
  }
  NCCL(ncclGroupEnd());
  for (int r = 0; r < 4; ++r) {
    int device = -1;
    NCCL(ncclCommCuDevice(comms[r], &device));
    EXPECT_EQ(device, 3 - r);
  }
  on_threads(4, [&](int r) { check_works(comms[r], 4); });
  // The parent's ranks, backwards, in two halves; rank 3 belongs to none.
  ncclComm_t halves[4];
  NCCL(ncclGroupStart());
  for (int r = 0; r < 4; ++r) NCCL(ncclCommSplit(comms[r], r == 3 ? NCCL_SPLIT_NOCOLOR : r % 2, -r, &halves[r], nullptr));
  NCCL(ncclGroupEnd());
  EXPECT(halves[3] == nullptr);
  int rank = -1;
  NCCL(ncclCommUserRank(halves[0], &rank));
  EXPECT_EQ(rank, 1);
  NCCL(ncclCommUserRank(halves[2], &rank));
  EXPECT_EQ(rank, 0);
  on_threads(3, [&](int r) { check_works(halves[r], r == 1 ? 1 : 2); });
  // Without rank 1, which does not call it.
  ncclComm_t shrunk[4] = {};
  int excluded[] = {1};
  NCCL(ncclGroupStart());
  for (int r = 0; r < 4; ++r) {
    if (r != 1) NCCL(ncclCommShrink(comms[r], excluded, 1, &shrunk[r], nullptr, NCCL_SHRINK_DEFAULT));
  }
  NCCL(ncclGroupEnd());
  NCCL(ncclCommUserRank(shrunk[3], &rank));
  EXPECT_EQ(rank, 2);
  on_threads(4, [&](int r) {
    if (r != 1) check_works(shrunk[r], 3);
  });
  for (int r = 0; r < 4; ++r) {
    for (ncclComm_t comm : {comms[r], halves[r], shrunk[r]}) NCCL(ncclCommDestroy(comm));
  }
}

void not_blocking() {
  ncclUniqueId id;
  NCCL(ncclGetUniqueId(&id));
  on_threads(3, [&](int r) {
    OK(cudaSetDevice(r));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    if (r == 2) std::this_thread::sleep_for(milliseconds(300));
    EXPECT_NCCL(ncclInProgress, ncclCommInitRankConfig(&comm, 3, id, r, &config));
    EXPECT(comm != nullptr);
    ncclResult_t state = ncclSuccess;
    NCCL(ncclCommGetAsyncError(comm, &state));
    if (r == 0) EXPECT_EQ(static_cast<int>(state), static_cast<int>(ncclInProgress));
    int count = 0;
    // It must not be used yet.
    if (r == 0) EXPECT_NCCL(ncclInvalidArgument, ncclCommCount(comm, &count));
    settle(comm);
    check_works(comm, 3);
    ncclComm_t pair = nullptr;
    EXPECT_NCCL(ncclInProgress, ncclCommSplit(comm, r == 1 ? NCCL_SPLIT_NOCOLOR : 0, r, &pair, nullptr));
    settle(comm);
    if (r != 1) {
      settle(pair);
      check_works(pair, 2);
      EXPECT_NCCL(ncclInProgress, ncclCommFinalize(pair));
      settle(pair);
      NCCL(ncclCommDestroy(pair));
    }
    EXPECT_NCCL(ncclInProgress, ncclCommFinalize(comm));
    settle(comm);
    NCCL(ncclCommDestroy(comm));
  });
  // Ended before all have come.
  NCCL(ncclGetUniqueId(&id));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t comm = nullptr;
  OK(cudaSetDevice(0));
  EXPECT_NCCL(ncclInProgress, ncclCommInitRankConfig(&comm, 2, id, 0, &config));
  std::this_thread::sleep_for(milliseconds(100));
  NCCL(ncclCommAbort(comm));
}

// A rank waits for others that do not come: abort lets its stream go on, and the device is as good as before.
void aborted() {
  ncclUniqueId id;
  NCCL(ncclGetUniqueId(&id));
  ncclComm_t comms[2];
  on_threads(2, [&](int r) {
    OK(cudaSetDevice(r));
    NCCL(ncclCommInitRank(&comms[r], 2, id, r));
    check_works(comms[r], 2);
  });
  OK(cudaSetDevice(0));
  cudaStream_t stream;
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  int* value = upload(std::vector<int>{5});
  NCCL(ncclAllReduce(value, value, 1, ncclInt32, ncclSum, comms[0], stream));
  std::thread waits([&] {
    OK(cudaSetDevice(0));
    OK(cudaStreamSynchronize(stream));
  });
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_ERROR(cudaErrorNotReady, cudaStreamQuery(stream));
  NCCL(ncclCommAbort(comms[0]));
  waits.join();
  EXPECT_EQ(download(value, 1)[0], 5);
  // The other rank sees that its peer has gone, is told so, and aborts in turn.
  OK(cudaSetDevice(1));
  int* other = upload(std::vector<int>{5});
  NCCL(ncclAllReduce(other, other, 1, ncclInt32, ncclSum, comms[1], cudaStreamPerThread));
  std::thread aborts([&] {
    await_error(comms[1], ncclRemoteError);
    NCCL(ncclCommAbort(comms[1]));
  });
  OK(cudaStreamSynchronize(cudaStreamPerThread));
  aborts.join();
  OK(cudaFree(other));
  OK(cudaSetDevice(0));
  OK(cudaFree(value));
  OK(cudaStreamDestroy(stream));
}

// Revoked: what runs ends, nothing new begins, but the ranks that are left can shrink.
void revoked() {
  ncclUniqueId id;
  NCCL(ncclGetUniqueId(&id));
  on_threads(3, [&](int r) {
    OK(cudaSetDevice(r));
    ncclComm_t comm = nullptr, rest = nullptr;
    NCCL(ncclCommInitRank(&comm, 3, id, r));
    check_works(comm, 3);
    int* value = upload(std::vector<int>{5});
    if (r == 2) {
      std::this_thread::sleep_for(milliseconds(300));
      NCCL(ncclCommAbort(comm));
      OK(cudaFree(value));
      return;
    }
    NCCL(ncclAllReduce(value, value, 1, ncclInt32, ncclSum, comm, cudaStreamPerThread));
    std::this_thread::sleep_for(milliseconds(100));
    int excluded[] = {2};
    if (r == 0) {
      NCCL(ncclCommRevoke(comm, NCCL_REVOKE_DEFAULT));
      EXPECT_NCCL(ncclInvalidUsage, ncclAllReduce(value, value, 1, ncclInt32, ncclSum, comm, cudaStreamPerThread));
      NCCL(ncclCommShrink(comm, excluded, 1, &rest, nullptr, NCCL_SHRINK_DEFAULT));
    } else {
      NCCL(ncclCommShrink(comm, excluded, 1, &rest, nullptr, NCCL_SHRINK_ABORT));
    }
    OK(cudaStreamSynchronize(cudaStreamPerThread));
    check_works(rest, 2);
    NCCL(ncclCommDestroy(rest));
    NCCL(ncclCommAbort(comm));
    OK(cudaFree(value));
  });
}

void scalable() {
  ncclUniqueId ids[2];
  for (ncclUniqueId& id : ids) NCCL(ncclGetUniqueId(&id));
  on_threads(4, [&](int r) {
    OK(cudaSetDevice(r));
    ncclComm_t comm = nullptr;
    NCCL(ncclCommInitRankScalable(&comm, 4, r, 2, ids, nullptr));
    check_works(comm, 4);
    NCCL(ncclCommDestroy(comm));
  });
}

void wrong_calls() {
  OK(cudaSetDevice(0));
  ncclComm_t comm = nullptr;
  ncclUniqueId id;
  NCCL(ncclGetUniqueId(&id));
  EXPECT_NCCL(ncclInvalidArgument, ncclCommInitRank(&comm, 2, id, 2));
  EXPECT_NCCL(ncclInvalidArgument, ncclCommInitRank(&comm, 0, id, 0));
  EXPECT_NCCL(ncclInvalidArgument, ncclCommInitRank(nullptr, 1, id, 0));
  ncclConfig_t config{};
  EXPECT_NCCL(ncclInvalidArgument, ncclCommInitRankConfig(&comm, 1, id, 0, &config));
  const int twice[] = {0, 0}, beyond[] = {0, 99};
  ncclComm_t comms[2];
  EXPECT_NCCL(ncclInvalidUsage, ncclCommInitAll(comms, 2, twice));
  EXPECT_NCCL(ncclInvalidArgument, ncclCommInitAll(comms, 2, beyond));
  EXPECT_NCCL(ncclInvalidUsage, ncclGroupEnd());
  // Two ranks on one device.
  on_threads(2, [&](int r) {
    ncclComm_t own = nullptr;
    OK(cudaSetDevice(0));
    EXPECT_NCCL(ncclInvalidUsage, ncclCommInitRank(&own, 2, id, r));
    EXPECT(own == nullptr);
  });
  // An id serves one communicator.
  EXPECT_NCCL(ncclInvalidUsage, ncclCommInitRank(&comm, 1, id, 0));
  NCCL(ncclGetUniqueId(&id));
  NCCL(ncclCommInitRank(&comm, 1, id, 0));
  float* data = upload(std::vector<float>{1});
  EXPECT_NCCL(ncclInvalidArgument, ncclAllReduce(data, data, 1, ncclNumTypes, ncclSum, comm, 0));
  EXPECT_NCCL(ncclInvalidArgument, ncclAllReduce(data, data, 1, ncclFloat32, static_cast<ncclRedOp_t>(77), comm, 0));
  EXPECT_NCCL(ncclInvalidArgument, ncclBroadcast(data, data, 1, ncclFloat32, 1, comm, 0));
  EXPECT_NCCL(ncclInvalidArgument, ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, nullptr, 0));
  EXPECT_NCCL(ncclInvalidUsage, ncclSend(data, 1, ncclFloat32, 0, comm, 0));
  // A failed call spoils its group; the next one is good again.
  NCCL(ncclGroupStart());
  EXPECT_NCCL(ncclInvalidArgument, ncclBroadcast(data, data, 1, ncclFloat32, 1, comm, 0));
  NCCL(ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, comm, 0));
  EXPECT_NCCL(ncclInvalidArgument, ncclGroupEnd());
  NCCL(ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, comm, 0));
  // The stream of another device.
  OK(cudaSetDevice(1));
  cudaStream_t other;
  OK(cudaStreamCreate(&other));
  EXPECT_NCCL(ncclUnhandledCudaError, ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, comm, other));
  OK(cudaStreamDestroy(other));
  int device = -1;
  OK(cudaGetDevice(&device));
  EXPECT_EQ(device, 1);
  OK(cudaSetDevice(0));
  void *memory = nullptr, *handle = nullptr;
  NCCL(ncclMemAlloc(&memory, 4096));
  NCCL(ncclCommRegister(comm, memory, 4096, &handle));
  NCCL(ncclCommDeregister(comm, handle));
  EXPECT_NCCL(ncclInvalidArgument, ncclCommDeregister(comm, memory));
  NCCL(ncclMemFree(memory));
  NCCL(ncclCommDestroy(comm));
  NCCL(ncclCommDestroy(nullptr));
  EXPECT_NCCL(ncclInvalidArgument, ncclCommDestroy(comm));
  OK(cudaFree(data));
  EXPECT(std::strcmp(ncclGetErrorString(ncclRemoteError), "remote process exited or there was a network error") == 0);
}

}  // namespace

int main() {
  grouped();
  not_blocking();
  aborted();
  revoked();
  scalable();
  wrong_calls();
  return verdict();
}
