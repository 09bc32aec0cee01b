// What order streams and events give, and what the host learns of it. Host functions tell the order in which things ran.
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "check.h"

static std::mutex mutex;
static std::vector<int> order;

static void note(void* what) {
  const std::lock_guard lock(mutex);
  order.push_back(static_cast<int>(reinterpret_cast<std::intptr_t>(what)));
}
static void enqueue(cudaStream_t stream, std::intptr_t what) {
  OK(cudaLaunchHostFunc(stream, note, reinterpret_cast<void*>(what)));
}
static bool before(int a, int b) {
  const std::lock_guard lock(mutex);
  std::size_t at_a = order.size(), at_b = order.size();
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (order[i] == a) at_a = i;
    if (order[i] == b) at_b = i;
  }
  return at_a < order.size() && at_b < order.size() && at_a < at_b;
}

static void in_order() {
  order.clear();
  cudaStream_t s;
  OK(cudaStreamCreate(&s));
  for (int i = 0; i < 50; ++i) enqueue(s, i);
  OK(cudaStreamSynchronize(s));
  EXPECT_EQ(order.size(), 50u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[i], i);
  OK(cudaStreamDestroy(s));
}

static void events() {
  order.clear();
  cudaStream_t a, b;
  cudaEvent_t e;
  OK(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
  OK(cudaEventCreate(&e));
  OK(cudaEventQuery(e));  // never recorded: complete
  OK(cudaStreamWaitEvent(b, e, 0));
  enqueue(a, 1);
  OK(cudaEventRecord(e, a));
  enqueue(a, 2);
  OK(cudaStreamWaitEvent(b, e, 0));
  enqueue(b, 3);
  OK(cudaStreamSynchronize(b));
  EXPECT(before(1, 3));
  OK(cudaEventSynchronize(e));
  OK(cudaDeviceSynchronize());
  EXPECT_EQ(order.size(), 3u);
  // A wait is for the record that was there when it was called.
  order.clear();
  enqueue(a, 1);
  OK(cudaEventRecord(e, a));
  OK(cudaStreamWaitEvent(b, e, 0));
  OK(cudaEventRecord(e, b));
  enqueue(b, 2);
  OK(cudaStreamSynchronize(b));
  EXPECT(before(1, 2));
  OK(cudaEventDestroy(e));
  OK(cudaStreamDestroy(a));
  OK(cudaStreamDestroy(b));
}

static void legacy() {
  order.clear();
  cudaStream_t blocking, free_one;
  OK(cudaStreamCreate(&blocking));
  OK(cudaStreamCreateWithFlags(&free_one, cudaStreamNonBlocking));
  // Often enough that an order by chance would be seen in the adversarial schedule.
  for (int round = 0; round < 100; round += 10) {
    enqueue(blocking, round + 1);
    enqueue(nullptr, round + 2);
    enqueue(blocking, round + 3);
    enqueue(cudaStreamPerThread, round + 4);
    enqueue(free_one, round + 5);
    OK(cudaStreamSynchronize(blocking));
    EXPECT(before(round + 1, round + 2) && before(round + 2, round + 3));
    OK(cudaDeviceSynchronize());
    EXPECT(before(round + 2, round + 4));
  }
  EXPECT_EQ(order.size(), 50u);
  unsigned flags = 99;
  OK(cudaStreamGetFlags(free_one, &flags));
  EXPECT_EQ(flags, unsigned{cudaStreamNonBlocking});
  OK(cudaStreamDestroy(blocking));
  OK(cudaStreamDestroy(free_one));
}

static void callback(cudaStream_t, cudaError_t status, void* data) {
  int count = 0;
  // CUDA may not be called from here.
  *static_cast<int*>(data) =
      status == cudaSuccess && cudaMalloc(reinterpret_cast<void**>(&count), 4) == cudaErrorNotPermitted ? 1 : -1;
}

static void callbacks() {
  cudaStream_t s;
  OK(cudaStreamCreate(&s));
  int result = 0;
  OK(cudaStreamAddCallback(s, callback, &result, 0));
  OK(cudaStreamSynchronize(s));
  EXPECT_EQ(result, 1);
  OK(cudaStreamDestroy(s));
}

/// A host that only looks at memory, or asks, gets there.
static void polling() {
  cudaStream_t s;
  OK(cudaStreamCreate(&s));
  volatile int* mapped;
  OK(cudaHostAlloc(const_cast<int**>(&mapped), 4, cudaHostAllocMapped));
  *mapped = 0;
  OK(cudaMemsetAsync(const_cast<int*>(mapped), 1, 4, s));
  while (*mapped == 0) std::this_thread::yield();
  EXPECT_EQ(*mapped, 0x01010101);
  OK(cudaMemsetAsync(const_cast<int*>(mapped), 2, 4, s));
  cudaError_t state;
  while ((state = cudaStreamQuery(s)) == cudaErrorNotReady) {
  }
  OK(state);
  EXPECT_EQ(*mapped, 0x02020202);
  OK(cudaFreeHost(const_cast<int*>(mapped)));
  OK(cudaStreamDestroy(s));
}

/// A stream that waits in a host function does not hold up another one.
static std::atomic<bool> gate{false};
static void wait_at_gate(void*) {
  while (!gate) std::this_thread::yield();
}

static void independent() {
  cudaStream_t a, b;
  OK(cudaStreamCreate(&a));
  OK(cudaStreamCreate(&b));
  OK(cudaLaunchHostFunc(a, wait_at_gate, nullptr));
  order.clear();
  enqueue(b, 7);
  OK(cudaStreamSynchronize(b));
  EXPECT_EQ(order.size(), 1u);
  EXPECT_ERROR(cudaErrorNotReady, cudaStreamQuery(a));
  gate = true;
  OK(cudaStreamSynchronize(a));
  OK(cudaStreamDestroy(a));
  OK(cudaStreamDestroy(b));
}

static void timing() {
  cudaEvent_t a, b, plain;
  OK(cudaEventCreate(&a));
  OK(cudaEventCreate(&b));
  OK(cudaEventCreateWithFlags(&plain, cudaEventDisableTiming));
  float ms = -1;
  EXPECT_ERROR(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&ms, a, b));
  OK(cudaEventRecord(a));
  OK(cudaLaunchHostFunc(
      nullptr, [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(30)); }, nullptr));
  OK(cudaEventRecord(b));
  OK(cudaEventRecord(plain));
  EXPECT_ERROR(cudaErrorNotReady, cudaEventElapsedTime(&ms, a, b));
  OK(cudaEventSynchronize(b));
  OK(cudaEventElapsedTime(&ms, a, b));
  EXPECT(ms >= 29 && ms < 10000);
  EXPECT_ERROR(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&ms, a, plain));
  OK(cudaEventDestroy(a));
  OK(cudaEventDestroy(b));
  EXPECT_ERROR(cudaErrorInvalidResourceHandle, cudaEventDestroy(b));
}

static void many() {
  cudaStream_t s[8];
  int* counts;
  OK(cudaMallocHost(&counts, sizeof(int) * 8));
  for (int i = 0; i < 8; ++i) {
    OK(cudaStreamCreate(&s[i]));
    counts[i] = 0;
  }
  for (int n = 0; n < 2000; ++n)
    OK(cudaLaunchHostFunc(
        s[n % 8], [](void* p) { ++*static_cast<int*>(p); }, &counts[n % 8]));
  for (cudaStream_t stream : s) OK(cudaStreamDestroy(stream));  // its work is still done
  OK(cudaDeviceSynchronize());
  for (int i = 0; i < 8; ++i) EXPECT_EQ(counts[i], 250);
  OK(cudaFreeHost(counts));
}

static void handles() {
  int least = 1, greatest = 1, priority = 7;
  OK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  EXPECT(least == 0 && greatest < 0);
  cudaStream_t s;
  OK(cudaStreamCreateWithPriority(&s, cudaStreamNonBlocking, greatest));
  OK(cudaStreamGetPriority(s, &priority));
  EXPECT_EQ(priority, greatest);
  OK(cudaStreamDestroy(s));
  EXPECT_ERROR(cudaErrorInvalidResourceHandle, cudaStreamSynchronize(s));
  EXPECT_ERROR(cudaErrorInvalidValue, cudaStreamCreateWithFlags(&s, 77));
}

int main() {
  in_order();
  events();
  legacy();
  callbacks();
  polling();
  independent();
  timing();
  many();
  handles();
  return finish();
}
