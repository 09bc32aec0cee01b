#include <cuda_runtime_api.h>

#include <cstring>

#include "runtime/capture.h"
#include "runtime/device_functions.h"
#include "runtime/memory_pool.h"
#include "runtime/modules.h"
#include "runtime/properties.h"

using namespace sim;
using namespace sim::runtime;

static constexpr size_t kMostStack = 512 * 1024 - 1024;  // local memory of a thread ends at 512 KiB

static bool is_device(int device) { return device >= 0 && device < options().devices; }

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  return call(State::any, [&](Process& process, Lock&) {
    if (count == nullptr) return cudaErrorInvalidValue;
    *count = static_cast<int>(process.devices.size());
    return cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return call(State::any, [&](Process&, Lock&) {
    if (device == nullptr) return cudaErrorInvalidValue;
    *device = this_thread().device;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return call(State::any, [&](Process& process, Lock&) {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    this_thread().device = device;
    return process.devices[device].failure;
  });
}

cudaError_t cudaInitDevice(int device, unsigned flags, unsigned use_flags) {
  return call(State::any, [&](Process& process, Lock&) {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    if (use_flags == cudaInitDeviceFlagsAreValid) process.devices[device].flags = flags;
    return cudaSuccess;
  });
}

cudaError_t cudaSetValidDevices(int* devices, int count) {
  return call(State::any, [&](Process&, Lock&) {
    for (int i = 0; i < count; ++i)
      if (devices == nullptr || !is_device(devices[i])) return cudaErrorInvalidDevice;
    if (count > 0) this_thread().device = devices[0];
    return cudaSuccess;
  });
}

cudaError_t cudaSetDeviceFlags(unsigned flags) {
  return call(State::any, [&](Process&, Lock&) {
    if ((flags & ~static_cast<unsigned>(cudaDeviceMask)) != 0) return cudaErrorInvalidValue;
    current().flags = flags;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceFlags(unsigned* flags) {
  return call(State::any, [&](Process&, Lock&) {
    if (flags == nullptr) return cudaErrorInvalidValue;
    *flags = current().flags | cudaDeviceMapHost;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call(State::any, [&](Process& process, Lock&) {
    if (properties == nullptr) return cudaErrorInvalidValue;
    if (!is_device(device)) return cudaErrorInvalidDevice;
    fill_properties(*properties, process.model, device);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call(State::any, [&](Process& process, Lock&) {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    return value != nullptr && attribute_of(*value, attribute, process.model, device) ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaChooseDevice(int* device, const cudaDeviceProp* wanted) {
  return call(State::any, [&](Process&, Lock&) {
    if (device == nullptr || wanted == nullptr) return cudaErrorInvalidValue;
    *device = 0;  // all are alike
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetPCIBusId(char* name, int length, int device) {
  return call(State::any, [&](Process&, Lock&) {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    const std::string text = pci_name(device);
    if (name == nullptr || length <= static_cast<int>(text.size())) return cudaErrorInvalidValue;
    std::memcpy(name, text.c_str(), text.size() + 1);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetByPCIBusId(int* device, const char* name) {
  return call(State::any, [&](Process& process, Lock&) {
    if (device == nullptr || name == nullptr) return cudaErrorInvalidValue;
    for (const Device& d : process.devices) {
      if (strcasecmp(pci_name(d.index).c_str(), name) != 0 && strcasecmp(pci_name(d.index).c_str() + 5, name) != 0) continue;
      *device = d.index;
      return cudaSuccess;
    }
    return cudaErrorInvalidValue;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call([](Process& process, Lock& lock) {
    if (const cudaError_t error = check_device_wait(this_thread().device); error != cudaSuccess) return error;
    return process.synchronize_device(lock, this_thread().device);
  });
}

cudaError_t cudaDeviceReset() {
  return call(State::any, [](Process& process, Lock& lock) {
    Device& device = current();
    device.abort = true;  // collectives do not wait for peers any more
    process.scheduler.drain(lock, device.index);
    process.flush_printed(device.index);
    for (CUstream_st* s : std::set<CUstream_st*>(device.streams)) {
      forget_stream(*s);
      process.streams.erase(s);
      device.streams.erase(s);
      delete s;
    }
    report_leaks(device.index);
    reset_heap(device.index);
    for (const Allocation* a : Memory::instance().living())
      if (a->device == device.index && (a->kind == MemoryKind::device || (a->kind == MemoryKind::managed && a->name.empty()))) {
        pool_forget(a->base);
        Memory::instance().free(a->base);
      }
    Modules::instance().reset(device.index);
    device.limits.clear();
    device.peers = 0;
    device.flags = 0;
    device.pool = nullptr;
    device.failure = cudaSuccess;
    device.abort = false;
    this_thread().last_error = cudaSuccess;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSetLimit(cudaLimit limit, size_t value) {
  return call([&](Process& process, Lock& lock) {
    if (limit < cudaLimitStackSize || limit > cudaLimitPersistingL2CacheSize) return cudaErrorUnsupportedLimit;
    if (limit == cudaLimitStackSize) {
      if (value > kMostStack) return cudaErrorInvalidValue;
      // Launches until now have the stack of their time.
      if (const cudaError_t error = process.synchronize_device(lock, this_thread().device); error != cudaSuccess) return error;
    }
    current().limits[limit] = value;
    if (limit == cudaLimitMallocHeapSize) set_heap_limit(this_thread().device, value);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetLimit(size_t* value, cudaLimit limit) {
  return call([&](Process&, Lock&) {
    if (limit < cudaLimitStackSize || limit > cudaLimitPersistingL2CacheSize) return cudaErrorUnsupportedLimit;
    if (value == nullptr) return cudaErrorInvalidValue;
    *value = limit_of(current(), limit);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetCacheConfig(cudaFuncCache* config) {
  return call([&](Process&, Lock&) { return *config = current().cache, cudaSuccess; });
}

cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache config) {
  return call([&](Process&, Lock&) { return current().cache = config, cudaSuccess; });
}

cudaError_t cudaDeviceGetSharedMemConfig(cudaSharedMemConfig* config) {
  return call([&](Process&, Lock&) { return *config = cudaSharedMemBankSizeFourByte, cudaSuccess; });
}

cudaError_t cudaDeviceSetSharedMemConfig(cudaSharedMemConfig) {
  return call([](Process&, Lock&) { return cudaSuccess; });  // has had no effect since Kepler
}

cudaError_t cudaCtxResetPersistingL2Cache() {
  return call([](Process&, Lock&) { return cudaSuccess; });
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  return call(State::any, [&](Process&, Lock&) {
    if (!is_device(device) || !is_device(peer)) return cudaErrorInvalidDevice;
    if (can == nullptr) return cudaErrorInvalidValue;
    *can = device != peer ? 1 : 0;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  return call([&](Process&, Lock&) {
    if (!is_device(peer) || peer == this_thread().device) return cudaErrorInvalidDevice;
    if (flags != 0) return cudaErrorInvalidValue;
    std::uint32_t& peers = current().peers;
    if ((peers >> peer & 1) != 0) return cudaErrorPeerAccessAlreadyEnabled;
    peers |= 1u << peer;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceDisablePeerAccess(int peer) {
  return call([&](Process& process, Lock& lock) {
    if (!is_device(peer)) return cudaErrorInvalidDevice;
    if ((current().peers >> peer & 1) == 0) return cudaErrorPeerAccessNotEnabled;
    const cudaError_t error = process.synchronize_device(lock, this_thread().device);
    current().peers &= ~(1u << peer);
    return error;
  });
}

cudaError_t cudaDeviceGetP2PAttribute(int* value, cudaDeviceP2PAttr attribute, int from, int to) {
  return call(State::any, [&](Process&, Lock&) {
    if (!is_device(from) || !is_device(to) || from == to) return cudaErrorInvalidDevice;
    if (value == nullptr || attribute < cudaDevP2PAttrPerformanceRank || attribute > cudaDevP2PAttrCudaArrayAccessSupported)
      return cudaErrorInvalidValue;
    *value = attribute == cudaDevP2PAttrAccessSupported || attribute == cudaDevP2PAttrNativeAtomicSupported ? 1 : 0;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  if (version == nullptr) return cudaErrorInvalidValue;
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  if (version == nullptr) return cudaErrorInvalidValue;
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaProfilerStart() {
  return call([](Process&, Lock&) { return cudaSuccess; });
}

cudaError_t cudaProfilerStop() {
  return call([](Process&, Lock&) { return cudaSuccess; });
}

cudaChannelFormatDesc cudaCreateChannelDesc(int x, int y, int z, int w, cudaChannelFormatKind kind) {
  return {x, y, z, w, kind};
}
}
