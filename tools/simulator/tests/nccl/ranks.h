#pragma once
// What the programs that test NCCL share: checks of results, and ranks that are threads.
#include <nccl.h>

#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "../runtime/check.h"

#define EXPECT_NCCL(expected, call)                                                                                         \
  do {                                                                                                                      \
    const ncclResult_t result_ = (call);                                                                                    \
    if (result_ != (expected)) {                                                                                            \
      ++failures;                                                                                                           \
      std::printf("%s:%d: %s gives %d (%s; %s), not %d\n", __FILE__, __LINE__, #call, result_, ncclGetErrorString(result_), \
                  ncclGetLastError(nullptr), expected);                                                                     \
    }                                                                                                                       \
  } while (0)

#define NCCL(call) EXPECT_NCCL(ncclSuccess, call)

/// A thread for each rank; rank r uses device r.
inline void on_ranks(int ranks, const std::function<void(int, ncclComm_t)>& body) {
  ncclUniqueId id;
  NCCL(ncclGetUniqueId(&id));
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      OK(cudaSetDevice(r));
      ncclComm_t comm = nullptr;
      NCCL(ncclCommInitRank(&comm, ranks, id, r));
      body(r, comm);
      NCCL(ncclCommDestroy(comm));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

template <class T>
T* upload(const std::vector<T>& values) {
  T* memory = nullptr;
  OK(cudaMalloc(&memory, std::max<std::size_t>(values.size(), 1) * sizeof(T)));
  OK(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  return memory;
}

template <class T>
std::vector<T> download(const T* memory, std::size_t count) {
  std::vector<T> values(count);
  OK(cudaMemcpy(values.data(), memory, count * sizeof(T), cudaMemcpyDeviceToHost));
  return values;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

inline int verdict() {
  std::printf(failures == 0 ? "PASSED\n" : "FAILED: %d\n", failures);
  return failures == 0 ? 0 : 1;
}
