#include <cuda_runtime_api.h>

#include <cstring>

#include "runtime/memory_pool.h"

using namespace sim;
using namespace sim::runtime;

static bool is_device(int device) { return device >= 0 && device < options().devices; }

/// The frame of calls that name a pool.
template <class Body>
static cudaError_t with_pool(cudaMemPool_t pool, Body&& body) {
  return call([&](Process& process, Lock&) { return is_pool(pool) ? body(process, *pool) : cudaErrorInvalidValue; });
}

extern "C" {

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  return call([&](Process&, Lock&) {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    return pool == nullptr ? cudaErrorInvalidValue : (*pool = &default_pool(device), cudaSuccess);
  });
}

cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int device) {
  return call([&](Process&, Lock&) {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    return pool == nullptr ? cudaErrorInvalidValue : (*pool = &current_pool(device), cudaSuccess);
  });
}

cudaError_t cudaDeviceSetMemPool(int device, cudaMemPool_t pool) {
  return with_pool(pool, [&](Process& process, CUmemPoolHandle_st& p) {
    if (!is_device(device) || p.device != device) return cudaErrorInvalidDevice;
    process.devices[device].pool = &p;
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetDefaultMemPool(cudaMemPool_t* pool, cudaMemLocation* location, cudaMemAllocationType type) {
  if (location == nullptr || type != cudaMemAllocationTypePinned || location->type != cudaMemLocationTypeDevice)
    return cudaErrorInvalidValue;
  return cudaDeviceGetDefaultMemPool(pool, location->id);
}

cudaError_t cudaMemGetMemPool(cudaMemPool_t* pool, cudaMemLocation* location, cudaMemAllocationType type) {
  if (location == nullptr || type != cudaMemAllocationTypePinned || location->type != cudaMemLocationTypeDevice)
    return cudaErrorInvalidValue;
  return cudaDeviceGetMemPool(pool, location->id);
}

cudaError_t cudaMemSetMemPool(cudaMemLocation* location, cudaMemAllocationType type, cudaMemPool_t pool) {
  if (location == nullptr || type != cudaMemAllocationTypePinned || location->type != cudaMemLocationTypeDevice)
    return cudaErrorInvalidValue;
  return cudaDeviceSetMemPool(location->id, pool);
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  return call([&](Process&, Lock&) {
    if (pool == nullptr || properties == nullptr || properties->allocType != cudaMemAllocationTypePinned)
      return cudaErrorInvalidValue;
    if (properties->handleTypes != cudaMemHandleTypeNone)
      return cudaErrorNotSupported;  // as memoryPoolSupportedHandleTypes says
    if (properties->location.type != cudaMemLocationTypeDevice)
      throw Error("cudaMemPoolCreate: pools of host memory are not simulated");
    if (!is_device(properties->location.id)) return cudaErrorInvalidDevice;
    *pool = new_pool(properties->location.id, *properties);
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  return with_pool(pool, [](Process& process, CUmemPoolHandle_st& p) {
    if (p.is_default) return cudaErrorInvalidValue;
    for (Device& d : process.devices)
      if (d.pool == &p) d.pool = nullptr;
    forget_pool(&p);
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep) {
  return with_pool(pool, [&](Process&, CUmemPoolHandle_st& p) {
    p.reserved = std::max<std::uint64_t>(p.used, std::min<std::uint64_t>(p.reserved, keep));
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return with_pool(pool, [&](Process&, CUmemPoolHandle_st& p) {
    if (value == nullptr) return cudaErrorInvalidValue;
    switch (attribute) {
      case cudaMemPoolReuseFollowEventDependencies:
      case cudaMemPoolReuseAllowOpportunistic:
      case cudaMemPoolReuseAllowInternalDependencies: {
        int flag = 0;
        std::memcpy(&flag, value, sizeof flag);
        p.attributes[attribute] = static_cast<std::uint64_t>(flag != 0);
        return cudaSuccess;
      }
      case cudaMemPoolAttrReleaseThreshold:
        std::memcpy(&p.attributes[attribute], value, sizeof(std::uint64_t));
        return cudaSuccess;
      case cudaMemPoolAttrReservedMemHigh:
      case cudaMemPoolAttrUsedMemHigh: {
        std::uint64_t high = 0;
        std::memcpy(&high, value, sizeof high);
        if (high != 0) return cudaErrorInvalidValue;  // they can only be reset
        if (attribute == cudaMemPoolAttrUsedMemHigh)
          p.used_high = p.used;
        else
          p.reserved_high = p.reserved;
        return cudaSuccess;
      }
      default:
        return cudaErrorInvalidValue;
    }
  });
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return with_pool(pool, [&](Process&, CUmemPoolHandle_st& p) {
    if (value == nullptr) return cudaErrorInvalidValue;
    const auto give = [&](std::uint64_t v) { return std::memcpy(value, &v, sizeof v), cudaSuccess; };
    switch (attribute) {
      case cudaMemPoolReuseFollowEventDependencies:
      case cudaMemPoolReuseAllowOpportunistic:
      case cudaMemPoolReuseAllowInternalDependencies: {
        const auto found = p.attributes.find(attribute);
        const int flag = found == p.attributes.end() ? 1 : static_cast<int>(found->second);
        return std::memcpy(value, &flag, sizeof flag), cudaSuccess;
      }
      case cudaMemPoolAttrReleaseThreshold:
        return give(p.attributes[attribute]);
      case cudaMemPoolAttrReservedMemCurrent:
        return give(p.reserved);
      case cudaMemPoolAttrReservedMemHigh:
        return give(p.reserved_high);
      case cudaMemPoolAttrUsedMemCurrent:
        return give(p.used);
      case cudaMemPoolAttrUsedMemHigh:
        return give(p.used_high);
      default:
        return cudaErrorInvalidValue;
    }
  });
}

// Access of other devices to a pool's memory: as cudaDeviceEnablePeerAccess, which is what kernels are checked against.
cudaError_t cudaMemPoolSetAccess(cudaMemPool_t pool, const cudaMemAccessDesc* descriptions, size_t count) {
  return with_pool(pool, [&](Process& process, CUmemPoolHandle_st& p) {
    if (count != 0 && descriptions == nullptr) return cudaErrorInvalidValue;
    for (size_t i = 0; i < count; ++i) {
      const cudaMemLocation& l = descriptions[i].location;
      if (l.type != cudaMemLocationTypeDevice || !is_device(l.id)) return cudaErrorInvalidValue;
      if (l.id == p.device && descriptions[i].flags == cudaMemAccessFlagsProtNone) return cudaErrorInvalidValue;
      p.access[l.id] = descriptions[i].flags;
      if (descriptions[i].flags != cudaMemAccessFlagsProtNone && l.id != p.device)
        process.devices[l.id].peers |= 1u << p.device;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolGetAccess(cudaMemAccessFlags* flags, cudaMemPool_t pool, cudaMemLocation* location) {
  return with_pool(pool, [&](Process&, CUmemPoolHandle_st& p) {
    if (flags == nullptr || location == nullptr || location->type != cudaMemLocationTypeDevice || !is_device(location->id))
      return cudaErrorInvalidValue;
    const auto found = p.access.find(location->id);
    *flags = location->id == p.device  ? cudaMemAccessFlagsProtReadWrite
             : found == p.access.end() ? cudaMemAccessFlagsProtNone
                                       : found->second;
    return cudaSuccess;
  });
}
}
