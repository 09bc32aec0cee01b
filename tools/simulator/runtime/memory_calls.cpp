// Memory: allocation, pinning, attributes of pointers.
#include <cuda_runtime_api.h>

#include <cstring>
#include <unordered_map>

#include "runtime/capture.h"
#include "runtime/copies.h"
#include "runtime/graph_memory.h"
#include "runtime/memory_pool.h"
#include "runtime/work.h"

using namespace sim;
using namespace sim::runtime;

static std::unordered_map<Address, unsigned>& host_flags() {
  static auto* flags = new std::unordered_map<Address, unsigned>;
  return *flags;
}

/// What programs need not be told apart: memory that is gone, and memory that never was.
static void report_free(Address address, const Allocation* a, std::string_view name) {
  const bool twice = a != nullptr && a->base == address && a->freed;
  Finding finding{};
  finding.fault = twice ? Fault::double_free : Fault::invalid_free;
  finding.message = fmt::format(
      "{} of {:#x}, {}", name, address,
      twice          ? "which was freed before"
      : a != nullptr ? fmt::format("which lies {} bytes into an allocation of {}", address - a->base, a->end - a->base)
                     : std::string("which no allocation gave"));
  finding.place.kernel = name;
  Report::instance().add(std::move(finding));
}

static cudaError_t allocate(void** pointer, size_t bytes, MemoryKind kind, int device, size_t alignment = 256) {
  if (pointer == nullptr) return cudaErrorInvalidValue;
  *pointer = nullptr;
  if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
  if (bytes == 0) return cudaSuccess;
  current().used = true;
  const Allocation* a = Memory::instance().allocate(kind, device, bytes, alignment);
  if (a == nullptr) return cudaErrorMemoryAllocation;
  *pointer = reinterpret_cast<void*>(a->base);
  return cudaSuccess;
}

/// Frees wait for the work that may use the memory: for all of the device's.
static cudaError_t free_memory(Process& process, Lock& lock, void* pointer, bool host, std::string_view name) {
  if (pointer == nullptr) return current().failure;
  if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
  const auto address = reinterpret_cast<Address>(pointer);
  const Allocation* a = Memory::instance().find(address);
  const bool fits =
      a != nullptr && (host ? a->kind == MemoryKind::pinned : a->kind == MemoryKind::device || a->kind == MemoryKind::managed);
  if (!fits || a->base != address || a->freed || !a->name.empty()) {
    report_free(address, a, name);
    return cudaErrorInvalidValue;
  }
  const cudaError_t error =
      host ? process.synchronize_device(lock, this_thread().device) : process.synchronize_device(lock, a->device);
  if (is_graph_memory(address)) return release_graph_memory(address), error;
  pool_forget(address);
  if (!Memory::instance().free(address)) return cudaErrorInvalidValue;
  host_flags().erase(address);
  return error;
}

static size_t pitch_of(size_t width) { return (width + 511) / 512 * 512; }

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return call([&](Process&, Lock&) { return allocate(pointer, bytes, MemoryKind::device, this_thread().device); });
}

cudaError_t cudaMallocManaged(void** pointer, size_t bytes, unsigned flags) {
  return call([&](Process&, Lock&) {
    if (flags != cudaMemAttachGlobal && flags != cudaMemAttachHost) return cudaErrorInvalidValue;
    if (bytes == 0) return cudaErrorInvalidValue;
    return allocate(pointer, bytes, MemoryKind::managed, this_thread().device);
  });
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) { return cudaHostAlloc(pointer, bytes, cudaHostAllocDefault); }

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned flags) {
  return call([&](Process&, Lock&) {
    if (flags > (cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined)) return cudaErrorInvalidValue;
    const cudaError_t error = allocate(pointer, bytes, MemoryKind::pinned, this_thread().device);
    if (error == cudaSuccess && *pointer != nullptr)
      host_flags()[reinterpret_cast<Address>(*pointer)] = flags | cudaHostAllocMapped;
    return error;
  });
}

cudaError_t cudaMallocPitch(void** pointer, size_t* pitch, size_t width, size_t height) {
  return call([&](Process&, Lock&) {
    if (pitch == nullptr) return cudaErrorInvalidValue;
    *pitch = pitch_of(width);
    return allocate(pointer, *pitch * height, MemoryKind::device, this_thread().device, 512);
  });
}

cudaError_t cudaMalloc3D(cudaPitchedPtr* pointer, cudaExtent extent) {
  return call([&](Process&, Lock&) {
    if (pointer == nullptr) return cudaErrorInvalidValue;
    *pointer = {nullptr, pitch_of(extent.width), extent.width, extent.height};
    return allocate(&pointer->ptr, pointer->pitch * extent.height * extent.depth, MemoryKind::device, this_thread().device,
                    512);
  });
}

cudaError_t cudaFree(void* pointer) {
  return call([&](Process& process, Lock& lock) { return free_memory(process, lock, pointer, false, "cudaFree"); });
}

cudaError_t cudaFreeHost(void* pointer) {
  return call([&](Process& process, Lock& lock) { return free_memory(process, lock, pointer, true, "cudaFreeHost"); });
}

cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned flags) {
  return call([&](Process&, Lock&) {
    constexpr unsigned known =
        cudaHostRegisterPortable | cudaHostRegisterMapped | cudaHostRegisterIoMemory | cudaHostRegisterReadOnly;
    if (pointer == nullptr || bytes == 0 || (flags & ~known) != 0) return cudaErrorInvalidValue;
    if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
    const auto address = reinterpret_cast<Address>(pointer);
    for (const Address at : {address, address + bytes - 1}) {
      const Allocation* a = Memory::instance().find(at);
      if (a != nullptr && !a->freed) return cudaErrorHostMemoryAlreadyRegistered;
    }
    const Allocation* a = Memory::instance().adopt(pointer, bytes);
    if (a == nullptr) return cudaErrorInvalidValue;
    host_flags()[address] = flags | cudaHostRegisterMapped;
    return cudaSuccess;
  });
}

cudaError_t cudaHostUnregister(void* pointer) {
  return call([&](Process& process, Lock& lock) {
    const auto address = reinterpret_cast<Address>(pointer);
    const Allocation* a = Memory::instance().find(address);
    if (a == nullptr || a->freed || a->kind != MemoryKind::registered || a->base != address)
      return cudaErrorHostMemoryNotRegistered;
    if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
    const cudaError_t error = process.synchronize_device(lock, this_thread().device);
    Memory::instance().free(address);
    host_flags().erase(address);
    return error;
  });
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned flags) {
  return call([&](Process&, Lock&) {
    if (device == nullptr || flags != 0) return cudaErrorInvalidValue;
    const Allocation* a = Memory::instance().find(reinterpret_cast<Address>(host));
    if (a == nullptr || a->freed || (a->kind != MemoryKind::pinned && a->kind != MemoryKind::registered))
      return cudaErrorInvalidValue;
    *device = host;
    return cudaSuccess;
  });
}

cudaError_t cudaHostGetFlags(unsigned* flags, void* host) {
  return call([&](Process&, Lock&) {
    const Allocation* a = Memory::instance().find(reinterpret_cast<Address>(host));
    const auto found = a == nullptr ? host_flags().end() : host_flags().find(a->base);
    if (flags == nullptr || found == host_flags().end()) return cudaErrorInvalidValue;
    *flags = found->second;
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call([&](Process& process, Lock&) {
    if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
    const size_t used = Memory::instance().bytes_in_use(this_thread().device);
    if (total != nullptr) *total = process.model.memory;
    if (free != nullptr) *free = process.model.memory - std::min(used, process.model.memory);
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return call([&](Process&, Lock&) {
    if (attributes == nullptr) return cudaErrorInvalidValue;
    *attributes = {};
    const auto address = reinterpret_cast<Address>(pointer);
    const Allocation* a = Memory::instance().find(address);
    attributes->hostPointer = const_cast<void*>(pointer);
    attributes->device = -2;  // as the real one says of memory that it does not know
    if (a == nullptr || a->freed) return address >= kDeviceBase && address < kHostBase ? cudaErrorInvalidValue : cudaSuccess;
    attributes->device = a->device;
    attributes->devicePointer = const_cast<void*>(pointer);
    switch (a->kind) {
      case MemoryKind::managed:
        attributes->type = cudaMemoryTypeManaged;
        break;
      case MemoryKind::pinned:
      case MemoryKind::registered:
        attributes->type = cudaMemoryTypeHost;
        break;
      default:
        attributes->type = cudaMemoryTypeDevice;
        attributes->hostPointer = nullptr;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemAdvise(const void* pointer, size_t bytes, cudaMemoryAdvise advice, cudaMemLocation) {
  return call([&](Process&, Lock&) {
    const auto address = reinterpret_cast<Address>(pointer);
    const Allocation* a = Memory::instance().find(address);
    if (advice < cudaMemAdviseSetReadMostly || advice > cudaMemAdviseUnsetAccessedBy) return cudaErrorInvalidValue;
    return bytes != 0 && a != nullptr && !a->freed && a->kind == MemoryKind::managed && a->end - address >= bytes
               ? cudaSuccess
               : cudaErrorInvalidValue;
  });
}

cudaError_t cudaMemcpyPeer(void* to, int to_device, const void* from, int from_device, size_t bytes) {
  return call([&](Process& process, Lock& lock) {
    const auto is_device = [&](int d) { return d >= 0 && d < static_cast<int>(process.devices.size()); };
    if (!is_device(to_device) || !is_device(from_device)) return cudaErrorInvalidDevice;
    // It comes after all work of these devices, and all that follows comes after it.
    const CUstream_st& own = current().legacy;
    for (const int d : {to_device, from_device})
      if (d != own.device) (void)process.barrier(own.device, {process.barrier(d)});
    const cudaError_t error = do_copy(lock, process.stream(nullptr), linear_copy(to, from, bytes, cudaMemcpyDefault),
                                      Waiting::blocking, "cudaMemcpyPeer");
    for (const int d : {to_device, from_device})
      if (d != own.device) (void)process.barrier(d, {own.tail});
    return error;
  });
}

cudaError_t cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device, size_t bytes, cudaStream_t stream) {
  return call([&](Process& process, Lock& lock) {
    const auto is_device = [&](int d) { return d >= 0 && d < static_cast<int>(process.devices.size()); };
    if (!is_device(to_device) || !is_device(from_device)) return cudaErrorInvalidDevice;
    return do_copy(lock, process.stream(stream), linear_copy(to, from, bytes, cudaMemcpyDefault), Waiting::asynchronous,
                   "cudaMemcpyPeerAsync");
  });
}
}
