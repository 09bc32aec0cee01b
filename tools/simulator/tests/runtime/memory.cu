// Allocation of every kind, what is known of pointers, pools.
#include <cstdint>
#include <cstring>

#include "check.h"

__global__ void fill(int* x, int value, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = value + i;
}

static cudaMemoryType type_of(const void* p) {
  cudaPointerAttributes a{};
  OK(cudaPointerGetAttributes(&a, p));
  return a.type;
}

static void kinds() {
  void *device, *pinned, *managed;
  static int plain[4];
  OK(cudaMalloc(&device, 1000));
  OK(cudaHostAlloc(&pinned, 1000, cudaHostAllocMapped | cudaHostAllocPortable));
  OK(cudaMallocManaged(&managed, 1000));
  EXPECT(reinterpret_cast<std::uintptr_t>(device) % 256 == 0);
  EXPECT(type_of(device) == cudaMemoryTypeDevice && type_of(static_cast<char*>(device) + 999) == cudaMemoryTypeDevice);
  EXPECT(type_of(pinned) == cudaMemoryTypeHost && type_of(managed) == cudaMemoryTypeManaged &&
         type_of(plain) == cudaMemoryTypeUnregistered);
  void* mapped = nullptr;
  OK(cudaHostGetDevicePointer(&mapped, pinned, 0));
  EXPECT(mapped != nullptr);
  unsigned flags = 0;
  OK(cudaHostGetFlags(&flags, pinned));
  EXPECT((flags & cudaHostAllocPortable) != 0);
  EXPECT_ERROR(cudaErrorInvalidValue, cudaHostGetDevicePointer(&mapped, plain, 0));
  EXPECT_ERROR(cudaErrorInvalidValue, cudaHostGetFlags(&flags, plain));
  OK(cudaFree(nullptr));
  OK(cudaFreeHost(nullptr));
  OK(cudaFree(device));
  OK(cudaFreeHost(pinned));
  OK(cudaFree(managed));
  OK(cudaMalloc(&device, 0));
  EXPECT(device == nullptr);
  EXPECT_ERROR(cudaErrorInvalidValue, cudaMalloc(nullptr, 4));
}

/// The host and kernels see the same bytes of mapped, managed and registered memory.
static void shared_with_host() {
  int *mapped, *managed;
  std::vector<int> own(100, -1);
  OK(cudaHostAlloc(&mapped, 400, cudaHostAllocMapped));
  OK(cudaMallocManaged(&managed, 400));
  OK(cudaHostRegister(own.data(), 400, cudaHostRegisterMapped));
  EXPECT_ERROR(cudaErrorHostMemoryAlreadyRegistered, cudaHostRegister(own.data(), 400, 0));
  int* registered = nullptr;
  OK(cudaHostGetDevicePointer(&registered, own.data(), 0));
  fill<<<1, 128>>>(mapped, 10, 100);
  fill<<<1, 128>>>(managed, 20, 100);
  fill<<<1, 128>>>(registered, 30, 100);
  OK(cudaDeviceSynchronize());
  for (int i = 0; i < 100; ++i) EXPECT(mapped[i] == 10 + i && managed[i] == 20 + i && own[i] == 30 + i);
  OK(cudaHostUnregister(own.data()));
  EXPECT_ERROR(cudaErrorHostMemoryNotRegistered, cudaHostUnregister(own.data()));
  cudaMemLocation here{cudaMemLocationTypeDevice, 0};
  OK(cudaMemPrefetchAsync(managed, 400, here, 0, nullptr));
  OK(cudaMemAdvise(managed, 400, cudaMemAdviseSetReadMostly, here));
  OK(cudaFreeHost(mapped));
  OK(cudaFree(managed));
}

static void counted() {
  std::size_t free_before = 0, free_after = 0, total = 0;
  OK(cudaMemGetInfo(&free_before, &total));
  void* p;
  OK(cudaMalloc(&p, 64 << 20));
  OK(cudaMemGetInfo(&free_after, &total));
  EXPECT(free_before - free_after >= (64u << 20) && free_after < total);
  OK(cudaFree(p));
  OK(cudaMemGetInfo(&free_after, &total));
  EXPECT_EQ(free_after, free_before);
  EXPECT_ERROR(cudaErrorMemoryAllocation, cudaMalloc(&p, total + 1));
  EXPECT(p == nullptr);
}

static void pools() {
  cudaStream_t s;
  OK(cudaStreamCreate(&s));
  cudaMemPool_t pool, own;
  OK(cudaDeviceGetDefaultMemPool(&pool, 0));
  std::uint64_t threshold = ~0ull, used = 1;
  OK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
  threshold = 0;
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
  EXPECT_EQ(threshold, ~0ull);
  int* p;
  OK(cudaMallocAsync(&p, 4000, s));
  fill<<<8, 128, 0, s>>>(p, 3, 1000);
  int last = 0;
  OK(cudaMemcpyAsync(&last, p + 999, 4, cudaMemcpyDeviceToHost, s));
  EXPECT_EQ(last, 1002);
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  EXPECT(used >= 4000);
  OK(cudaFreeAsync(p, s));
  OK(cudaStreamSynchronize(s));
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  EXPECT_EQ(used, 0u);
  OK(cudaMemPoolTrimTo(pool, 0));
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location = {cudaMemLocationTypeDevice, 0};
  OK(cudaMemPoolCreate(&own, &properties));
  OK(cudaMallocFromPoolAsync(&p, 100, own, s));
  OK(cudaMemsetAsync(p, 0, 100, s));
  OK(cudaStreamSynchronize(s));
  OK(cudaFree(p));  // may be freed so, too
  OK(cudaDeviceSetMemPool(0, own));
  OK(cudaDeviceGetMemPool(&pool, 0));
  EXPECT(pool == own);
  OK(cudaMemPoolDestroy(own));
  OK(cudaDeviceGetMemPool(&pool, 0));
  EXPECT(pool != own);
  OK(cudaStreamDestroy(s));
}

int main() {
  kinds();
  shared_with_host();
  counted();
  pools();
  return finish();
}
